//! What this process may use.

use rustix::process::{Resource, getrlimit};

use super::{Advice, Machine};

/// Files, and so connections, that may be open.
const FILES: u64 = 65_536;

/// Bytes below which a server of many connections is likely to be killed.
const MEMORY: u64 = 512 << 20;

/// The capability to bind ports below 1024 (capabilities(7)).
const NET_BIND_SERVICE: u32 = 10;

pub(super) fn look(machine: &Machine) -> Vec<Advice> {
    [Some(files()), ports(machine), memory(machine), cores(machine), tasks(machine)]
        .into_iter()
        .flatten()
        .collect()
}

fn files() -> Advice {
    // The soft limit is raised to it when the program starts.
    let most = getrlimit(Resource::Nofile).maximum;
    Advice {
        name: "open files",
        seen: most.map_or("no limit".to_owned(), |most| most.to_string()),
        wanted: format!("{FILES} or more"),
        fine: most.is_none_or(|most| most >= FILES),
        why: "every connection is one, and one more to a backend: `ulimit -Hn`",
        command: "systemctl edit the unit: LimitNOFILE=1048576; or /etc/security/limits.conf: \
                  * hard nofile 1048576"
            .to_owned(),
    }
}

fn ports(machine: &Machine) -> Option<Advice> {
    let first: u64 = machine.sysctl("net.ipv4.ip_unprivileged_port_start")?.parse().ok()?;
    let status = machine.read("proc/self/status")?;
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let held = u64::from_str_radix(held.trim(), 16).ok()?;
    let may = held & (1 << NET_BIND_SERVICE) != 0;
    Some(Advice {
        name: "ports 80 and 443",
        seen: match (may, first) {
            (true, _) => "allowed to this user".to_owned(),
            (false, first) => format!("unprivileged from {first} on"),
        },
        wanted: "allowed".to_owned(),
        fine: may || first <= 80,
        why: "the sockets of a web server; a systemd unit can have them opened, or give the capability",
        command: "sysctl -w net.ipv4.ip_unprivileged_port_start=80".to_owned(),
    })
}

fn memory(machine: &Machine) -> Option<Advice> {
    let most = tightest(machine, "memory.max", |text| text.parse().ok())
        .or_else(|| machine.read("sys/fs/cgroup/memory/memory.limit_in_bytes")?.parse().ok())
        // Of version 1 this much is no limit.
        .filter(|most| *most < 1 << 60)?;
    Some(Advice {
        name: "memory limit",
        seen: format!("{} MiB", most >> 20),
        wanted: format!("{} MiB or more", MEMORY >> 20),
        fine: most >= MEMORY,
        why: "the kernel ends a process that wants more than its group may have",
        command: "systemctl edit the unit: MemoryMax=1G; or the option --memory of your containers"
            .to_owned(),
    })
}

fn cores(machine: &Machine) -> Option<Advice> {
    let hundredths = tightest(machine, "cpu.max", |text| {
        let (quota, period) = text.split_once(' ')?;
        (quota.parse::<u64>().ok()? * 100).checked_div(period.parse().ok()?)
    })?;
    Some(Advice {
        name: "cpu limit",
        seen: format!("{} cores", hundredths as f64 / 100.0),
        wanted: "whole cores".to_owned(),
        fine: hundredths % 100 == 0,
        why: "in the rest of a period whose quota is used up, nobody is answered",
        command: "systemctl edit the unit: CPUQuota=100%; or the option --cpus of your containers"
            .to_owned(),
    })
}

fn tasks(machine: &Machine) -> Option<Advice> {
    let most = tightest(machine, "pids.max", |text| text.parse().ok())?;
    Some(Advice {
        name: "task limit",
        seen: most.to_string(),
        wanted: "512 or more".to_owned(),
        fine: most >= 512,
        why: "threads count: one for each core, and those that wait for disks",
        command:
            "systemctl edit the unit: TasksMax=512; or the option --pids-limit of your containers"
                .to_owned(),
    })
}

/// The least that the control groups around this process say (cgroups(7), version 2).
fn tightest(machine: &Machine, file: &str, parse: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let groups = machine.read("proc/self/cgroup")?;
    let mut group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut least = None;
    loop {
        let here =
            machine.read(&format!("sys/fs/cgroup{group}/{file}")).and_then(|text| parse(&text));
        least = least.into_iter().chain(here).min();
        match group.rsplit_once('/') {
            Some((outer, inner)) if !inner.is_empty() => group = outer,
            _ => return least,
        }
    }
}
