//! What the figures were measured on, and what else that machine did meanwhile.

use std::fmt;
use std::fs;
use std::time::Duration;

use hemi_test::process::reaped_children_time;

use crate::Result;
use crate::cargo::{command, stdout_of};

/// Processor, cores, kernel.
pub(super) fn description() -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("processor of unknown model", |(_, model)| model);
    let cores = std::thread::available_parallelism()?;
    let kernel = stdout_of(command("uname").arg("-sr"))?;
    Ok(format!("{model}, {cores} cores, {}", kernel.trim()))
}

/// Now, in UTC.
pub(super) fn date() -> Result<String> {
    Ok(stdout_of(command("date").args(["-u", "+%Y-%m-%d %H:%M"]))?.trim().to_owned())
}

/// What the machine's cores did besides the bench, as parts of their time.
#[derive(Clone, Copy, Default)]
pub(super) struct Share {
    /// Taken by the host for other machines.
    steal: f64,
    /// Used by other processes here.
    others: f64,
}

/// The state at the begin of a measurement.
pub(super) struct Noise {
    cores: Cores,
    children: Duration,
}

impl Noise {
    pub(super) fn begin() -> Result<Self> {
        Ok(Self { cores: Cores::now()?, children: reaped_children_time() })
    }

    /// What others did since then; `servers` is the CPU time that the servers used.
    pub(super) fn end(self, servers: Duration) -> Result<Share> {
        let now = Cores::now()?;
        let client = reaped_children_time().saturating_sub(self.children);
        let total = (now.total - self.cores.total).max(1) as f64;
        let busy = (now.busy - self.cores.busy) as f64;
        // A clock tick is 10 ms.
        let bench = (servers + client).as_secs_f64() * 100.0;
        Ok(Share {
            steal: (now.steal - self.cores.steal) as f64 / total,
            others: (busy - bench).max(0.0) / total,
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "steal {:.1} %, others {:.1} %", self.steal * 100.0, self.others * 100.0)
    }
}

/// The times of all cores since the start of the machine, in clock ticks.
struct Cores {
    total: u64,
    busy: u64,
    steal: u64,
}

impl Cores {
    fn now() -> Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/stat")?).ok_or("/proc/stat has no cpu line")?)
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let mut fields = line.split_ascii_whitespace().map_while(|field| field.parse::<u64>().ok());
        let [user, nice, system, idle, iowait, irq, softirq, steal] =
            std::array::from_fn(|_| fields.next());
        let busy = user? + nice? + system? + irq? + softirq?;
        Some(Self { total: busy + idle? + iowait? + steal?, busy, steal: steal? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_line_is_added_up() {
        let cores = Cores::parse("cpu  1 2 3 100 50 4 5 7 0 0\ncpu0 9 9 9\n").unwrap();
        assert_eq!((cores.total, cores.busy, cores.steal), (172, 15, 7));
        assert!(Cores::parse("cpu  1 2 3\n").is_none());
        assert!(Cores::parse("").is_none());
    }
}
