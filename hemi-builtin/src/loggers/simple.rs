//! The logger `simpleLogger`: lines, appended to a file.
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
//! What the disk does not take is dropped, and counted; of a line that it took the beginning of, the
//! rest is kept. A file that was moved away or removed is begun anew at the next write. The target may
//! be a named pipe; nobody waits for its reader either.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hemi_core::config::Size;
use hemi_core::cores::PerCore;
use hemi_core::logger::{Level, LogConfig, LogSpec, Logger};
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run};
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::warn;

/// Appends lines to a file.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct SimpleLoggerConfig {
    /// The file; its directory is made if it is not there.
    pub target: PathBuf,
    /// Bytes gathered on each core, at most; lines beyond are dropped.
    #[serde(default = "one_mebibyte")]
    pub buf_size: Size,
    /// How long a line waits before it is written, at most.
    #[serde(default = "two_hundred_millis")]
    pub delay: Duration,
}

fn one_mebibyte() -> Size {
    Size(1 << 20)
}

fn two_hundred_millis() -> Duration {
    Duration::from_millis(200)
}

/// The logger of lines in a file.
#[derive(Debug)]
pub struct SimpleLogger {
    spec: LogSpec,
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
    /// Told when a core has gathered half of what it may: lines should wait no longer.
    urgent: Notify,
    file: OnceLock<Mutex<Target>>,
}

/// The file that is written.
#[derive(Debug)]
struct Target {
    file: File,
    /// The rest of a line that the file has the beginning of.
    begun: Vec<u8>,
    /// Why the last write failed, if it did, and how many lines that has cost so far.
    trouble: Option<(io::Error, u64)>,
}

impl Component for SimpleLogger {
    const SIGN: &'static str = "simpleLogger";
    type Config = (SimpleLoggerConfig, LogConfig);

    fn create((config, log): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let lines = Lines {
            target: cx.path(&config.target),
            most: usize::try_from(config.buf_size.0).unwrap_or(usize::MAX),
            gathered: PerCore::new(cx.cores(), Vec::new),
            dropped: AtomicU64::new(0),
            fresh: AtomicBool::new(false),
            wake: Notify::new(),
            urgent: Notify::new(),
            file: OnceLock::new(),
        };
        Ok(Self { spec: LogSpec::new(log, cx)?, delay: config.delay, lines: Arc::new(lines) })
    }
}

impl Lifecycle for SimpleLogger {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        let target = &self.lines.target;
        let refused = |e| Error::env(format!("cannot open the log file {}", target.display()), e);
        if let Some(directory) = target.parent() {
            std::fs::create_dir_all(directory).map_err(refused)?;
        }
        let file = open(target).map_err(refused)?;
        let _ = self.lines.file.set(Mutex::new(Target { file, begun: Vec::new(), trouble: None }));
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        let mut over = false;
        while !over {
            let due = async {
                self.lines.wake.notified().await;
                let _ = tokio::time::timeout(self.delay, self.lines.urgent.notified()).await;
            };
            tokio::select! {
                () = cx.shut().cancelled() => over = true,
                () = due => {}
            }
            let lines = self.lines.clone();
            if let Err(e) = tokio::task::spawn_blocking(move || lines.write()).await {
                warn!("log writer failed: {e}");
            }
        }
    }
}

impl Logger for SimpleLogger {
    fn spec(&self) -> &LogSpec {
        &self.spec
    }

    fn log(&self, _: Level, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let lines = &*self.lines;
        let mut gathered = lines.gathered.mine();
        if gathered.len() >= lines.most {
            lines.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = gathered.len();
        write(&mut gathered);
        gathered.push(b'\n');
        let after = gathered.len();
        drop(gathered);
        if before < lines.most / 2 && after >= lines.most / 2 {
            lines.urgent.notify_one();
        }
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
        target.follow(&self.target);
        let mut batch = Vec::new();
        for mut gathered in self.gathered.each() {
            std::mem::swap(&mut batch, &mut *gathered);
            drop(gathered);
            if !batch.is_empty() {
                let result = target.append(&batch);
                let lost = result.as_ref().err().map_or(0, |(_, lost)| *lost);
                self.dropped.fetch_add(lost, Ordering::Relaxed);
                target.report(&self.target, result);
                batch.clear();
            }
        }
    }
}

impl Target {
    /// Opens the file anew if another, or none, is in its place.
    fn follow(&mut self, path: &Path) {
        let identity = |meta: io::Result<Metadata>| meta.map(|m| (m.dev(), m.ino())).ok();
        let moved = identity(path.metadata()) != identity(self.file.metadata());
        if moved
            && self.begun.is_empty()
            && let Ok(file) = open(path)
        {
            self.file = file;
        }
    }

    /// Writes whole lines. An error says how many of them were lost.
    fn append(&mut self, lines: &[u8]) -> Result<(), (io::Error, u64)> {
        let begun = std::mem::take(&mut self.begun);
        if let Err((e, written)) = self.write(&begun) {
            self.begun = begun.get(written..).unwrap_or_default().to_vec();
            return Err((e, count(lines)));
        }
        let Err((e, written)) = self.write(lines) else { return Ok(()) };
        let (taken, rest) = lines.split_at(written);
        let mut lost = count(rest);
        if taken.last().is_some_and(|byte| *byte != b'\n') {
            self.begun =
                rest.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
            lost -= 1;
        }
        Err((e, lost))
    }

    /// Writes all; an error says how many bytes were written before it.
    fn write(&mut self, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
        let mut written = 0;
        while let Some(rest @ [_, ..]) = bytes.get(written..) {
            match self.file.write(rest) {
                Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
                Ok(more) => written += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err((e, written)),
            }
        }
        Ok(())
    }

    /// Says when trouble begins and when it is over, and nothing in between.
    fn report(&mut self, path: &Path, result: Result<(), (io::Error, u64)>) {
        self.trouble = match (self.trouble.take(), result) {
            (None, Ok(())) => None,
            (None, Err((e, lost))) => {
                warn!(file = %path.display(), "log lines are dropped: {e}");
                Some((e, lost))
            }
            (Some((_, before)), Err((e, lost))) => Some((e, before + lost)),
            (Some((e, lost)), Ok(())) => {
                warn!(file = %path.display(), "the log is written again; {lost} lines were dropped: {e}");
                None
            }
        };
    }
}

/// Opens the file without ever waiting: of a pipe whose reader is slow, or not there, nobody knows when
/// it takes more.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    match options.open(path) {
        // A pipe without a reader opens for one that is its reader too, and holds lines for those to come.
        Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            options.read(true).open(path)
        }
        opened => opened,
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}
