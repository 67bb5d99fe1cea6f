//! What of this machine stands in the way of a server, and how to change it. Nothing is changed here.
//!
//! What a kernel is set to is read below a directory, which is `/` but in tests.

mod kernel;
mod limits;

use std::fs;
use std::path::{Path, PathBuf};

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What it is: the name of a setting of the kernel, mostly.
    pub(crate) name: &'static str,
    pub(crate) seen: String,
    pub(crate) wanted: String,
    /// Nothing needs to be done.
    pub(crate) fine: bool,
    pub(crate) why: &'static str,
    /// What changes it, until the next boot if it is one of the kernel's settings.
    pub(crate) command: String,
}

/// Everything that is worth looking at, here.
pub(crate) fn look(machine: &Machine) -> Vec<Advice> {
    let mut found = limits::look(machine);
    found.extend(kernel::look(machine));
    found
}

/// Where to look.
pub(crate) struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The one that this runs on.
    pub(crate) fn this() -> Self {
        Self { root: Path::new("/").to_owned() }
    }

    /// The text of a file, if it is there, without the space around it.
    fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path.trim_start_matches('/'))).ok()?;
        Some(text.trim().to_owned())
    }

    /// A setting of the kernel by its name as `sysctl` writes it; fields are a space apart.
    fn sysctl(&self, name: &str) -> Option<String> {
        let text = self.read(&format!("proc/sys/{}", name.replace('.', "/")))?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path.trim_start_matches('/')).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has only these files.
    fn machine(name: &str, files: &[(&str, &str)]) -> Machine {
        let root = std::env::temp_dir().join(format!("hemi-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Machine { root }
    }

    fn find<'a>(all: &'a [Advice], name: &str) -> &'a Advice {
        all.iter().find(|advice| advice.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    #[test]
    fn what_is_set_low_is_told_with_the_command() {
        let machine = machine(
            "advise",
            &[
                ("proc/sys/net/core/somaxconn", "128\n"),
                ("proc/sys/net/core/rmem_max", "8388608\n"),
                ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
                ("proc/sys/net/ipv4/tcp_congestion_control", "cubic\n"),
                ("proc/sys/kernel/io_uring_disabled", "2\n"),
                ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
                ("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n"),
                ("proc/sys/vm/swappiness", "60\n"),
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/a/memory.max", "268435456\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n"),
            ],
        );
        let all = look(&machine);
        fs::remove_dir_all(&machine.root).unwrap();
        let somaxconn = find(&all, "net.core.somaxconn");
        assert!(!somaxconn.fine);
        assert_eq!((&*somaxconn.seen, &*somaxconn.wanted), ("128", "4096 or more"));
        assert_eq!(somaxconn.command, "sysctl -w net.core.somaxconn=4096");
        assert!(find(&all, "net.core.rmem_max").fine);
        let ports = find(&all, "net.ipv4.ip_local_port_range");
        assert_eq!(ports.command, "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"");
        let bbr = find(&all, "net.ipv4.tcp_congestion_control");
        assert!(!bbr.fine && bbr.command.starts_with("modprobe tcp_bbr"), "{}", bbr.command);
        assert!(!find(&all, "kernel.io_uring_disabled").fine);
        let pages = find(&all, "transparent huge pages");
        assert_eq!((pages.fine, &*pages.seen), (false, "always"));
        assert!(!find(&all, "vm.swappiness").fine);
        // The tightest of all groups around this one counts.
        assert_eq!(find(&all, "memory limit").seen, "256 MiB");
        assert_eq!(find(&all, "cpu limit").seen, "0.5 cores");
        // What the kernel does not have is not talked about.
        assert!(all.iter().all(|advice| advice.name != "net.core.wmem_max"));
    }

    #[test]
    fn every_advice_that_is_not_fine_says_why_and_what_to_do() {
        for advice in look(&Machine::this()) {
            assert!(!advice.why.is_empty() && !advice.command.is_empty(), "{advice:?}");
        }
    }
}
