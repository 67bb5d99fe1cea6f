//! What there is to tell of the process, under the names that are usual for that.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::Measures;

pub(super) fn measure(out: &mut Measures) {
    out.info("hemi_build", "What runs.", &[("version", env!("CARGO_PKG_VERSION"))]);
    let cpu = seconds(clock_gettime(ClockId::ProcessCPUTime));
    out.counter("process_cpu_seconds", "CPU time used, in user and system mode.", &[], cpu);
    if let Some(bytes) = resident_bytes() {
        out.gauge("process_resident_memory_bytes", "Memory in use, resident.", &[], bytes);
    }
    if let Some(files) = open_files() {
        out.gauge("process_open_fds", "Open file descriptors.", &[], files);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        out.gauge("process_max_fds", "File descriptors that may be open, at most.", &[], most);
    }
    if let Some(start) = start_seconds() {
        let help = "When the process began, in seconds since 1970.";
        out.gauge("process_start_time_seconds", help, &[], start);
    }
}

fn seconds(time: Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn open_files() -> Option<u64> {
    // Since Linux 6.2 the size of the directory says it.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        files => Some(files),
    }
}

/// When the process began: `/proc` tells it in ticks since the machine did (proc(5)).
fn start_seconds() -> Option<f64> {
    /// USER_HZ is 100 on every Linux that Rust supports.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    let boot = SystemTime::now().checked_sub(since_boot)?;
    let boot = boot.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // No more digits than are known, so that it is the same whenever it is asked for.
    Some(((boot.as_secs_f64() * TICKS) + ticks).round() / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Exposition;

    #[test]
    fn all_is_told_of_this_process() {
        let mut out = Measures::default();
        measure(&mut out);
        let text = out.write(Exposition::Prometheus);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{text}"))
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-1.0..3600.0 * 24.0).contains(&age), "{age}");
    }
}
