//! The logger `simpleLogger`: lines, appended to a file that may be rotated.
//!
//! ```gorox
//! stage {
//! 	simpleLogger "access" {
//! 		.target = %logDir + "/access.log"
//! 		.rotateEvery = "day"
//! 		.rotateSize = 1G
//! 		.keep = 30
//! 		.compress = true
//! 	}
//! 	webapp "site" { .hostnames = ("*")  .useLogger = "access"  rule { .returnCode = 200 } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Lines are gathered per core and written by a thread of their own: a request never waits for a disk.
//! What the target does not take within a second is dropped, and counted; of a line that it took the
//! beginning of, the rest is kept. A file that was moved away or removed is begun anew at the next write.
//! The target may be a named pipe; nobody waits for its reader either.
//!
//! To rotate means that the file is renamed, to `access.log.20261121T130509.123Z`, the time in UTC, and
//! begun anew. No line is lost or torn by it. Of the old files only those are removed or compressed that
//! are so named.

mod output;
mod rotation;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hemi_core::config::{ConfigType, Diagnostic};
use hemi_core::logger::{Level, LogConfig, LogSpec, Logger};
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run};
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::warn;

use self::output::Output;
pub use self::rotation::{Every, RotationConfig};
use self::rotation::{Tidy, When};
use super::gather::{GatherConfig, Gathered, Trouble, count};

/// Appends lines to a file.
#[derive(Debug, Deserialize, Explain)]
pub struct SimpleLoggerConfig {
    /// The file, whose directory is made if it is not there; `"stdout"` or `"stderr"` for what the
    /// program was started with.
    pub target: Target,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "PathBuf")]
pub enum Target {
    /// `"stdout"`
    Stdout,
    /// `"stderr"`
    Stderr,
    /// Anything else.
    File(PathBuf),
}

impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        match path.to_str() {
            Some("stdout") => Self::Stdout,
            Some("stderr") => Self::Stderr,
            _ => Self::File(path),
        }
    }
}

impl ConfigType for Target {
    fn kind() -> Cow<'static, str> {
        PathBuf::kind()
    }

    fn show(&self) -> String {
        self.to_string().show()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// The logger.
#[derive(Debug)]
pub struct SimpleLogger {
    spec: LogSpec,
    /// None if files are never rotated.
    tidy: Option<Tidy>,
    writer: Arc<Writer>,
}

/// What the cores and the threads that write share.
#[derive(Debug)]
struct Writer {
    target: Target,
    when: When,
    gathered: Gathered,
    open: OnceLock<Mutex<Open>>,
    /// The file is to be opened anew, though it is still in its place.
    reopen: AtomicBool,
    /// Told when there is one more old file.
    rotated: Notify,
}

/// What the thread that writes works with.
#[derive(Debug)]
struct Open {
    output: Output,
    trouble: Trouble,
    /// Memory for the lines it takes.
    spare: Vec<u8>,
}

impl Component for SimpleLogger {
    const SIGN: &'static str = "simpleLogger";
    type Config = (SimpleLoggerConfig, RotationConfig, GatherConfig, LogConfig);

    fn create((own, rotation, gather, log): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let target = match own.target {
            Target::File(path) => Target::File(cx.written(path)),
            stream if rotation.is_off() => stream,
            stream => {
                let message = format!("{stream} can't be rotated");
                let help =
                    "leave out `.rotateSize` and `.rotateEvery`, or write the path of a file";
                return Err(Diagnostic::new(cx.span(), message).help(help).into());
            }
        };
        let writer = Writer {
            target,
            when: When::new(&rotation),
            gathered: Gathered::new(&gather, cx),
            open: OnceLock::new(),
            reopen: AtomicBool::new(false),
            rotated: Notify::new(),
        };
        let tidy = (!rotation.is_off()).then(|| Tidy::new(&rotation));
        Ok(Self { spec: LogSpec::new(log, cx)?, tidy, writer: Arc::new(writer) })
    }
}

impl Lifecycle for SimpleLogger {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        let output = Output::open(&self.writer.target, self.writer.when).map_err(|e| {
            Error::env(format!("cannot open the log file {}", self.writer.target), e)
        })?;
        let trouble = Trouble::new(&self.writer.gathered);
        let open = Open { output, trouble, spare: Vec::new() };
        let _ = self.writer.open.set(Mutex::new(open));
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        tokio::join!(self.write_lines(cx), self.tidy(cx));
    }

    fn measure(&self, out: &mut Measures) {
        self.writer.gathered.measure(out);
    }
}

impl SimpleLogger {
    async fn write_lines(&self, cx: &Run) {
        let mut over = false;
        while !over {
            tokio::select! {
                () = cx.shut().cancelled() => over = true,
                () = self.writer.gathered.due() => {}
            }
            let writer = self.writer.clone();
            if let Err(e) = tokio::task::spawn_blocking(move || writer.write()).await {
                warn!("log writer failed: {e}");
            }
        }
    }

    /// Removes and compresses old files, first those that an earlier run has left.
    async fn tidy(&self, cx: &Run) {
        let (Target::File(path), Some(tidy)) = (&self.writer.target, &self.tidy) else { return };
        loop {
            let (tidy, log, shut) = (tidy.clone(), path.clone(), cx.shut().clone());
            let tidied = tokio::task::spawn_blocking(move || tidy.tidy(&log, &shut)).await;
            if let Err(e) = tidied.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
                warn!(file = %path.display(), "old logs can't be tidied: {e}");
            }
            tokio::select! {
                () = cx.shut().cancelled() => return,
                () = self.writer.rotated.notified() => {}
            }
        }
    }
}

impl Logger for SimpleLogger {
    fn spec(&self) -> &LogSpec {
        &self.spec
    }

    fn log(&self, _: Level, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.writer.gathered.add(write);
    }

    fn dropped(&self) -> u64 {
        self.writer.gathered.dropped()
    }

    fn reopen(&self) {
        self.writer.reopen.store(true, Ordering::Relaxed);
        self.writer.gathered.hurry();
    }
}

impl Writer {
    /// Writes what was gathered.
    fn write(&self) {
        let Some(open) = self.open.get() else { return };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { output, trouble, spare } = &mut *open;
        let rotations = output.rotations();
        output.begin(self.reopen.swap(false, Ordering::Relaxed));
        self.gathered.take(spare, |lines| {
            let result = output.append(lines);
            let lost = result.as_ref().err().map_or(0, |(_, lost)| *lost);
            self.gathered.count_written(count(lines) - lost);
            self.gathered.count_dropped(lost);
            if result.is_err() {
                self.gathered.count_failure();
            }
            trouble.hear(&self.target, result.map_err(|(e, _)| e), self.gathered.dropped());
        });
        if output.rotations() != rotations {
            self.rotated.notify_one();
        }
    }
}
