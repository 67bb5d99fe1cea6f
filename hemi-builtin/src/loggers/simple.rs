//! The logger `simpleLogger`: lines in the common log format, appended to a file.
//!
//! ```gorox
//! stage {
//! 	simpleLogger "access" { .target = %logDir + "/access.log" }
//! 	webapp "site" { .hostnames = ("*")  .useLogger = "access"  rule { .returnCode = 200 } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Lines are gathered per core and written by a thread of their own: a request never waits for a disk.
//! What the disk does not take is dropped, and counted.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hemi_core::config::Size;
use hemi_core::cores::PerCore;
use hemi_core::logger::{Logger, Record};
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run};
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::warn;

/// Appends lines in the common log format to a file.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct SimpleLoggerConfig {
    /// The file; its directory is made if it is not there.
    pub target: PathBuf,
    /// Bytes gathered on each core, at most; lines beyond are dropped.
    #[serde(default = "one_mebibyte")]
    pub buf_size: Size,
    /// How long a line waits before it is written.
    #[serde(default = "two_hundred_millis")]
    pub delay: Duration,
}

fn one_mebibyte() -> Size {
    Size(1 << 20)
}

fn two_hundred_millis() -> Duration {
    Duration::from_millis(200)
}

/// Appends lines to a file.
#[derive(Debug)]
pub struct SimpleLogger {
    delay: Duration,
    lines: Arc<Lines>,
}

/// What the cores and the writer share.
#[derive(Debug)]
struct Lines {
    target: PathBuf,
    most: usize,
    gathered: PerCore<Vec<u8>>,
    dropped: AtomicU64,
    /// Something was gathered since the writer last looked.
    fresh: AtomicBool,
    wake: Notify,
    file: OnceLock<Mutex<Target>>,
}

#[derive(Debug)]
struct Target {
    file: File,
    /// The last write ended within a line.
    torn: bool,
}

impl Component for SimpleLogger {
    const SIGN: &'static str = "simpleLogger";
    type Config = SimpleLoggerConfig;

    fn create(config: SimpleLoggerConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let lines = Lines {
            target: cx.path(&config.target),
            most: usize::try_from(config.buf_size.0).unwrap_or(usize::MAX),
            gathered: PerCore::new(cx.cores(), Vec::new),
            dropped: AtomicU64::new(0),
            fresh: AtomicBool::new(false),
            wake: Notify::new(),
            file: OnceLock::new(),
        };
        Ok(Self { delay: config.delay, lines: Arc::new(lines) })
    }
}

impl Lifecycle for SimpleLogger {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        let target = &self.lines.target;
        let refused = |e| Error::env(format!("cannot open the log file {}", target.display()), e);
        if let Some(directory) = target.parent() {
            std::fs::create_dir_all(directory).map_err(refused)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(target).map_err(refused)?;
        let _ = self.lines.file.set(Mutex::new(Target { file, torn: false }));
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        loop {
            let over = tokio::select! {
                () = cx.shut().cancelled() => true,
                () = self.lines.wake.notified() => {
                    tokio::time::sleep(self.delay).await;
                    false
                }
            };
            let lines = self.lines.clone();
            if let Err(e) = tokio::task::spawn_blocking(move || lines.write()).await {
                warn!("log writer failed: {e}");
            }
            if over {
                return;
            }
        }
    }
}

impl Logger for SimpleLogger {
    fn log(&self, record: &dyn Record) {
        let lines = &*self.lines;
        let mut gathered = lines.gathered.mine();
        if gathered.len() >= lines.most {
            lines.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        record.common(&mut gathered);
        gathered.push(b'\n');
        drop(gathered);
        if !lines.fresh.load(Ordering::Relaxed) && !lines.fresh.swap(true, Ordering::AcqRel) {
            lines.wake.notify_one();
        }
    }

    fn dropped(&self) -> u64 {
        self.lines.dropped.load(Ordering::Relaxed)
    }
}

impl Lines {
    /// Writes what was gathered.
    fn write(&self) {
        let Some(target) = self.file.get() else { return };
        let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
        self.fresh.store(false, Ordering::Release);
        let mut batch = Vec::new();
        let mut lost = 0;
        for mut gathered in self.gathered.each() {
            std::mem::swap(&mut batch, &mut *gathered);
            drop(gathered);
            lost += target.append(&batch);
            batch.clear();
        }
        if lost > 0 {
            self.dropped.fetch_add(lost, Ordering::Relaxed);
            warn!(file = %self.target.display(), "{lost} log lines could not be written");
        }
    }
}

impl Target {
    /// Writes whole lines; returns how many of them were lost.
    fn append(&mut self, lines: &[u8]) -> u64 {
        if self.torn && !lines.is_empty() {
            if self.file.write_all(b"\n").is_err() {
                return count(lines);
            }
            self.torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(written) if written > 0 => {
                    self.torn = rest.get(written - 1) != Some(&b'\n');
                    rest = rest.get(written..).unwrap_or_default();
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return count(rest),
            }
        }
        0
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}
