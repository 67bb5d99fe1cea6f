//! The cronjob `statCronjob`: writes to the log of the program how this is doing.
//!
//! ```gorox
//! stage {
//! 	statCronjob "minutely" { .every = 1m }
//! }
//! ```
//!
//! The line has these fields: `conns`, the connections that the servers of the stage serve now; `rss`,
//! the resident memory in bytes; `open_files` and `threads`; `cpu_ms`, the CPU time used so far in
//! milliseconds, and `cpu_percent`, that since the last line in percent of one core. What the system does
//! not tell is left out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hemi_core::clock::{self, Moment};
use hemi_core::cronjob::Cronjob;
use hemi_core::server::{Server, ServerKind};
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use tracing::info;

/// Writes to the log of the program how this is doing.
#[derive(Debug, Deserialize, Explain)]
pub struct StatConfig {}

/// Writes to the log of the program how this is doing.
pub struct StatCronjob {
    servers: Vec<Arc<dyn Server>>,
    last: Arc<Mutex<Option<Used>>>,
}

/// The CPU time used up to a moment.
#[derive(Clone, Copy)]
struct Used {
    at: Moment,
    cpu: Duration,
}

impl Component for StatCronjob {
    const SIGN: &'static str = "statCronjob";
    type Config = StatConfig;

    fn create(_: StatConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let servers = cx.all::<ServerKind>().into_iter().map(|(_, server)| server).collect();
        Ok(Self { servers, last: cx.keep(Mutex::default) })
    }
}

impl Lifecycle for StatCronjob {}

impl Cronjob for StatCronjob {
    async fn work(&self) -> Result<()> {
        let of_system = tokio::task::spawn_blocking(OfSystem::read).await;
        let OfSystem { rss, threads, open_files } =
            of_system.map_err(|e| Error::other(e.to_string()))?;
        let conns: usize = self.servers.iter().map(|server| server.active()).sum();
        let used = Used::now();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(used);
        let cpu_percent = last.and_then(|last| used.percent_since(last));
        let cpu_ms = used.cpu.as_millis() as u64;
        info!(conns, rss, open_files, threads, cpu_ms, cpu_percent, "statistics");
        Ok(())
    }
}

impl Used {
    fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec as u32);
        Self { at: clock::now(), cpu }
    }

    fn percent_since(self, last: Self) -> Option<u64> {
        let passed = self.at.since(last.at).as_micros();
        let cpu = self.cpu.saturating_sub(last.cpu).as_micros() * 100;
        cpu.checked_div(passed).map(|percent| percent as u64)
    }
}

/// What proc(5) says.
struct OfSystem {
    rss: Option<u64>,
    threads: Option<u64>,
    open_files: Option<u64>,
}

impl OfSystem {
    fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        let files = std::fs::read_dir("/proc/self/fd");
        Self {
            rss: number("VmRSS:").map(|kib| kib * 1024),
            threads: number("Threads:"),
            // The directory that is read is one of them.
            open_files: files.map(|files| (files.count() as u64).saturating_sub(1)).ok(),
        }
    }
}
