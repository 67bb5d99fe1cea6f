//! Settings of the kernel.

use super::{Advice, Machine};

/// What a setting should be.
#[derive(Clone, Copy)]
enum Want {
    AtLeast(u64),
    AtMost(u64),
    /// From at most, to at least.
    Range(u64, u64),
}

/// A setting by its name as `sysctl` writes it.
struct Setting {
    name: &'static str,
    want: Want,
    why: &'static str,
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: "net.core.somaxconn",
        want: Want::AtLeast(4096),
        why: "connections that wait to be accepted: beyond it clients are made to try again",
    },
    Setting {
        name: "net.ipv4.tcp_max_syn_backlog",
        want: Want::AtLeast(4096),
        why: "handshakes under way, for each socket: beyond it they are answered by cookies, or not at all",
    },
    Setting {
        name: "net.ipv4.tcp_syncookies",
        want: Want::AtLeast(1),
        why: "a flood of handshakes must not keep honest clients out",
    },
    Setting {
        name: "net.ipv4.tcp_slow_start_after_idle",
        want: Want::AtMost(0),
        why: "else every pause of a keep-alive connection makes its next answer start slowly",
    },
    Setting {
        name: "net.ipv4.tcp_notsent_lowat",
        want: Want::AtMost(131_072),
        why: "bytes of a connection that wait in the kernel unsent: more only delays what is more urgent",
    },
    Setting {
        name: "net.ipv4.tcp_mtu_probing",
        want: Want::AtLeast(1),
        why: "else connections hang where a router drops large packets and does not say so",
    },
    Setting {
        name: "net.ipv4.tcp_tw_reuse",
        want: Want::Range(1, 2),
        why: "a proxy that closes connections to its backends runs out of ports otherwise",
    },
    Setting {
        name: "net.ipv4.ip_local_port_range",
        want: Want::Range(1024, 65_535),
        why: "ports for connections to backends: each address of a backend can be had so many times at once",
    },
    Setting {
        name: "net.core.rmem_max",
        want: Want::AtLeast(7_500_000),
        why: "QUIC: what a UDP socket may hold until it is read, else packets are lost in bursts",
    },
    Setting {
        name: "net.core.wmem_max",
        want: Want::AtLeast(7_500_000),
        why: "QUIC: what a UDP socket may hold until it is sent",
    },
    Setting {
        name: "net.netfilter.nf_conntrack_max",
        want: Want::AtLeast(262_144),
        why: "the firewall follows every connection, and drops packets of those beyond",
    },
    Setting {
        name: "kernel.io_uring_disabled",
        want: Want::AtMost(0),
        why: "connections are served by epoll otherwise, which costs a few percent more CPU",
    },
    Setting {
        name: "fs.file-max",
        want: Want::AtLeast(1_000_000),
        why: "open files of the whole machine: every connection is one",
    },
];

pub(super) fn look(machine: &Machine) -> Vec<Advice> {
    let mut found: Vec<Advice> = SETTINGS.iter().filter_map(|s| s.look(machine)).collect();
    found.extend(
        [congestion(machine), ktls(machine), huge_pages(machine), swap(machine)]
            .into_iter()
            .flatten(),
    );
    found
}

impl Setting {
    fn look(&self, machine: &Machine) -> Option<Advice> {
        let seen = machine.sysctl(self.name)?;
        let number = |text: &str| text.parse::<u64>().ok();
        let (fine, wanted, set) = match self.want {
            Want::AtLeast(least) => {
                (number(&seen)? >= least, format!("{least} or more"), least.to_string())
            }
            Want::AtMost(0) => (number(&seen)? == 0, "0".to_owned(), "0".to_owned()),
            Want::AtMost(most) => {
                (number(&seen)? <= most, format!("{most} or less"), most.to_string())
            }
            Want::Range(low, high) => match seen.split_once(' ') {
                Some((from, to)) => (
                    number(from)? <= low && number(to)? >= high,
                    format!("{low} {high}"),
                    format!("\"{low} {high}\""),
                ),
                None => (
                    (low..=high).contains(&number(&seen)?),
                    format!("{low} or {high}"),
                    low.to_string(),
                ),
            },
        };
        let command = format!("sysctl -w {}={set}", self.name);
        Some(Advice { name: self.name, seen, wanted, fine, why: self.why, command })
    }
}

fn congestion(machine: &Machine) -> Option<Advice> {
    let name = "net.ipv4.tcp_congestion_control";
    let seen = machine.sysctl(name)?;
    Some(Advice {
        name,
        fine: seen == "bbr",
        seen,
        wanted: "bbr".to_owned(),
        why: "to clients far away or on lossy networks it sends several times faster than cubic does",
        command: format!("modprobe tcp_bbr && sysctl -w net.core.default_qdisc=fq {name}=bbr"),
    })
}

fn ktls(machine: &Machine) -> Option<Advice> {
    let seen = if machine.has("sys/module/tls") { "loaded" } else { "not loaded" };
    machine.has("proc/sys/net").then(|| Advice {
        name: "kernel TLS",
        seen: seen.to_owned(),
        wanted: "loaded".to_owned(),
        fine: seen == "loaded",
        why: "files are sent over TLS by the kernel, where a config asks for that; nothing else needs it",
        command: "modprobe tls && echo tls > /etc/modules-load.d/tls.conf".to_owned(),
    })
}

fn huge_pages(machine: &Machine) -> Option<Advice> {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let choices = machine.read(path)?;
    let seen =
        choices.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))?;
    Some(Advice {
        name: "transparent huge pages",
        seen: seen.to_owned(),
        wanted: "madvise or never".to_owned(),
        fine: seen != "always",
        why: "with `always` memory that was given back stays with the process, and stalls come of tidying",
        command: format!("echo madvise > {path}"),
    })
}

fn swap(machine: &Machine) -> Option<Advice> {
    // The first line is a heading.
    let has_swap = machine.read("proc/swaps")?.lines().nth(1).is_some();
    let seen = machine.sysctl("vm.swappiness")?;
    let fine = !has_swap || seen.parse::<u64>().ok()? <= 10;
    Some(Advice {
        name: "vm.swappiness",
        seen: if has_swap { seen } else { format!("{seen}, without swap") },
        wanted: "10 or less".to_owned(),
        fine,
        why: "answers wait for the disk when memory of the server was swapped out to cache files",
        command: "sysctl -w vm.swappiness=10".to_owned(),
    })
}
