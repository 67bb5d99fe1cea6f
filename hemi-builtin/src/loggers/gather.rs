//! Lines that cores gather until a writer takes them: what loggers have in common.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hemi_core::clock::{self, Moment};
use hemi_core::config::Size;
use hemi_core::cores::PerCore;
use hemi_core::metrics::Measures;
use hemi_core::{CreateCx, Explain};
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::warn;

/// Properties of loggers that gather lines.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct GatherConfig {
    /// Bytes gathered on each core, at most; lines beyond are dropped.
    pub buf_size: Size,
    /// How long a line waits before it is written, at most.
    pub delay: Duration,
}

impl Default for GatherConfig {
    fn default() -> Self {
        Self { buf_size: Size(4 << 20), delay: Duration::from_millis(200) }
    }
}

/// Lines that wait for their writer.
#[derive(Debug)]
pub(super) struct Gathered {
    most: usize,
    delay: Duration,
    cores: PerCore<Vec<u8>>,
    counters: Arc<LogCounters>,
    /// Something was gathered since the writer last looked.
    fresh: AtomicBool,
    wake: Notify,
    /// Told when lines should wait no longer: a core has gathered half of what it may.
    urgent: Notify,
}

/// Numbers of a logger. They outlive reloads.
#[derive(Debug, Default)]
pub(super) struct LogCounters {
    /// Lines that have come to where they were to go.
    written: AtomicU64,
    dropped: AtomicU64,
    /// Times that writing failed.
    failures: AtomicU64,
}

impl Gathered {
    pub(super) fn new(config: &GatherConfig, cx: &mut CreateCx<'_>) -> Self {
        Self {
            most: usize::try_from(config.buf_size.0).unwrap_or(usize::MAX),
            delay: config.delay,
            cores: PerCore::new(cx.cores(), Vec::new),
            counters: cx.keep(LogCounters::default),
            fresh: AtomicBool::new(false),
            wake: Notify::new(),
            urgent: Notify::new(),
        }
    }

    /// Adds the line that `write` appends.
    pub(super) fn add(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut gathered = self.cores.mine();
        let before = gathered.len();
        if before >= self.most {
            self.count_dropped(1);
            return;
        }
        write(&mut gathered);
        gathered.push(b'\n');
        let after = gathered.len();
        drop(gathered);
        if before < self.most / 2 && after >= self.most / 2 {
            self.urgent.notify_one();
        }
        if !self.fresh.load(Ordering::Relaxed) && !self.fresh.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Waits until lines are to be written.
    pub(super) async fn due(&self) {
        self.wake.notified().await;
        let _ = tokio::time::timeout(self.delay, self.urgent.notified()).await;
    }

    /// Has [`Gathered::due`] return now.
    pub(super) fn hurry(&self) {
        self.wake.notify_one();
        self.urgent.notify_one();
    }

    /// Takes what was gathered, core by core; `spare` is memory for it.
    pub(super) fn take(&self, spare: &mut Vec<u8>, mut lines: impl FnMut(&[u8])) {
        self.fresh.store(false, Ordering::Release);
        for mut gathered in self.cores.each() {
            std::mem::swap(spare, &mut *gathered);
            drop(gathered);
            if !spare.is_empty() {
                lines(spare);
                spare.clear();
            }
        }
    }

    pub(super) fn count_written(&self, lines: u64) {
        self.counters.written.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn count_dropped(&self, lines: u64) {
        self.counters.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn measure(&self, out: &mut Measures) {
        let LogCounters { written, dropped, failures } = &*self.counters;
        for (name, help, n) in [
            (
                "hemi_logger_lines_written",
                "Lines that have come to where they were to go.",
                written,
            ),
            ("hemi_logger_lines_dropped", "Lines that were dropped.", dropped),
            ("hemi_logger_failures", "Times that lines could not be written.", failures),
        ] {
            out.counter(name, help, &[], n.load(Ordering::Relaxed));
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.counters.dropped.load(Ordering::Relaxed)
    }
}

/// How many lines there are in it.
pub(super) fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// How long it is not said again that there is no room for lines.
const SILENCE: Duration = Duration::from_secs(60);

/// Says when trouble begins and when it is over, and nothing in between; and how many lines were dropped.
#[derive(Debug)]
pub(super) struct Trouble {
    /// What went wrong first, until it is over.
    why: Option<String>,
    /// Dropped lines that need not be told of anymore.
    told: u64,
    /// Until then it is not said again that there was no room.
    silent: Option<Moment>,
}

impl Trouble {
    pub(super) fn new(gathered: &Gathered) -> Self {
        Self { why: None, told: gathered.dropped(), silent: None }
    }

    /// Hears how it went with what is written to `target`, and how many lines were ever dropped.
    pub(super) fn hear<E: fmt::Display>(
        &mut self,
        target: &impl fmt::Display,
        result: Result<(), E>,
        dropped: u64,
    ) {
        let lost = dropped - self.told;
        match (self.why.take(), result) {
            (None, Err(e)) => {
                let why = e.to_string();
                warn!(%target, "log lines can't be written: {why}");
                self.why = Some(why);
            }
            (Some(why), Err(_)) => self.why = Some(why),
            (Some(why), Ok(())) => {
                warn!(%target, "the log is written again; {lost} lines were dropped: {why}");
                self.told = dropped;
            }
            (None, Ok(())) if lost > 0 && self.silent.is_none_or(|end| end <= clock::now()) => {
                warn!(%target, "{lost} log lines were dropped: there was no room for them");
                (self.told, self.silent) = (dropped, Some(clock::now().after(SILENCE)));
            }
            (None, Ok(())) => {}
        }
    }
}
