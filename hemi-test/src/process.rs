//! What Linux tells about the processes of a server: who they are, their CPU time and memory.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The process `root` and everything it started that still lives, parents first.
pub fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = ids("/proc")
        .filter_map(|pid| Some((pid, stat(&format!("/proc/{pid}/stat"))?.parent)))
        .collect();
    let mut found = vec![root];
    let mut seen = BTreeSet::from([root]);
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        for &(pid, its_parent) in &parents {
            if its_parent == parent && seen.insert(pid) {
                found.push(pid);
            }
        }
        next += 1;
    }
    found
}

/// The CPU time that some processes have used so far, in user and system mode.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// Exact, but without the threads that have ended.
    exact: Duration,
    /// In clock ticks, with the threads that have ended.
    ticks: Duration,
}

/// A clock tick of /proc: USER_HZ is 100 on every Linux that Rust supports.
const TICK: Duration = Duration::from_millis(10);

impl CpuTime {
    /// The time used by these processes; one that has gone counts as nothing.
    pub fn of(pids: &[u32]) -> Self {
        let mut time = Self::default();
        for pid in pids {
            if let Some(stat) = stat(&format!("/proc/{pid}/stat")) {
                time.ticks += TICK * stat.ticks;
            }
            for thread in ids(&format!("/proc/{pid}/task")) {
                time.exact += exact_time(*pid, thread).unwrap_or_default();
            }
        }
        time
    }

    /// What was used between `earlier` and now.
    ///
    /// Exact unless threads have ended in between, or the kernel keeps no exact times: then to
    /// a few clock ticks.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let exact = self.exact.saturating_sub(earlier.exact);
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        if exact + 4 * TICK >= ticks { exact } else { ticks }
    }
}

/// The CPU time of the children that this process has waited for, to a clock tick.
pub fn reaped_children_time() -> Duration {
    stat("/proc/self/stat").map_or(Duration::ZERO, |stat| TICK * stat.children_ticks)
}

/// The resident memory of these processes in bytes.
pub fn resident_bytes(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        })
        .sum()
}

/// Lets this process, and those it starts from now on, have as many open files as the system
/// allows, and returns how many that are.
///
/// # Errors
/// What the system says.
pub fn raise_file_limit() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// What this needs of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    ticks: u32,
    children_ticks: u32,
}

fn stat(path: &str) -> Option<Stat> {
    parse_stat(&fs::read_to_string(path).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name may hold spaces and parentheses: the fields begin behind the last one.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // proc(5) numbers them from 1, and the first one here is the third there.
    let field = |number: usize| fields.get(number - 3)?.parse::<u32>().ok();
    Some(Stat {
        parent: field(4)?,
        ticks: field(14)?.checked_add(field(15)?)?,
        children_ticks: field(16)?.checked_add(field(17)?)?,
    })
}

fn exact_time(pid: u32, thread: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split_ascii_whitespace().next()?.parse().ok()?))
}

/// The entries of a directory that are numbers.
fn ids(dir: &str) -> impl Iterator<Item = u32> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;
    use std::process::Command;

    #[test]
    fn a_stat_line_is_read_behind_the_name() {
        let line = "7 (a) b) (c) S 3 7 7 0 -1 0 10 20 30 40 11 22 5 6 20 0 1 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.parent, stat.ticks, stat.children_ticks), (3, 33, 11));
        assert!(parse_stat("7 (short) S 3").is_none());
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn a_tree_holds_its_root_and_the_children() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let two = eventually(Duration::from_secs(20), || tree(shell.id()).len() == 2);
        let pids = tree(shell.id());
        for pid in &pids {
            crate::program::kill(*pid, crate::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
        assert!(two);
        assert_eq!(pids.first(), Some(&shell.id()));
    }

    #[test]
    fn a_busy_process_uses_time_and_memory() {
        let own = [std::process::id()];
        let before = CpuTime::of(&own);
        let mut sum = 0u64;
        let used = eventually(Duration::from_secs(60), || {
            sum = (0..100_000u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
            CpuTime::of(&own).since(before) > Duration::from_millis(5)
        });
        assert!(used);
        assert!(resident_bytes(&own) > 100_000);
    }

    #[test]
    fn ended_threads_are_not_forgotten() {
        let time = |exact, ticks| CpuTime {
            exact: Duration::from_millis(exact),
            ticks: Duration::from_millis(ticks),
        };
        let spent = |earlier, later: CpuTime| later.since(earlier).as_millis();
        assert_eq!(spent(time(100, 100), time(1_103, 1_110)), 1_003, "exact where nothing ended");
        assert_eq!(spent(time(500, 500), time(100, 1_500)), 1_000, "ticks where threads ended");
    }
}
