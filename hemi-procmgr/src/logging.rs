//! What the program says about itself, on the standard error.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use hemi_core::config::Constants;
use rustix::fs::OFlags;
use rustix::stdio::{dup2_stderr, dup2_stdout};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Call;
use crate::journal::{Journal, Tee};
use crate::recent::Recent;

/// What every line begins with: when it was said, and by which process.
struct Heading(&'static str);

impl FormatTime for Heading {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        SystemTime.format_time(line)?;
        write!(line, " {}[{}]", self.0, std::process::id())
    }
}

/// Begins to log as a process of this role: into a journal too, if there is one. What comes back remembers
/// the last lines.
pub(crate) fn begin(role: &'static str, debug: u8, journal: Option<Arc<Journal>>) -> Recent {
    let level = match debug {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let recent = Recent::default();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(rustix::termios::isatty(std::io::stderr()))
        .with_writer(move || Tee(journal.clone()))
        .with_timer(Heading(role))
        .with_target(false);
    // Whoever has begun before goes on.
    let _ = tracing_subscriber::registry().with(level).with(lines).with(recent.clone()).try_init();
    recent
}

/// What a daemon has as its standard output and error: `NAME.out` and `NAME.err` in `%logDir`.
#[derive(Debug)]
pub(crate) struct Output {
    dir: PathBuf,
    name: &'static str,
}

impl Output {
    /// None if it is that of who has started the program.
    pub(crate) fn of(call: &Call<'_>, constants: &Constants) -> Option<Self> {
        let (dir, name) = (constants.log_dir.clone(), call.program.name);
        call.options.daemon.then_some(Self { dir, name })
    }

    /// Opens both, to append to them.
    pub(crate) fn open(&self) -> Result<[OwnedFd; 2], String> {
        let open = |end| -> io::Result<OwnedFd> {
            fs::create_dir_all(&self.dir)?;
            let mut options = OpenOptions::new();
            // The directory may be a worker's, which must not point elsewhere.
            options.mode(0o640).custom_flags(OFlags::NOFOLLOW.bits() as i32);
            let path = self.dir.join(format!("{}.{end}", self.name));
            Ok(options.append(true).create(true).open(path)?.into())
        };
        let cannot = |e| format!("cannot write to {}: {e}", self.dir.display());
        Ok([open("out").map_err(cannot)?, open("err").map_err(cannot)?])
    }
}

/// Has the standard output and error of this process go there from now on.
pub(crate) fn redirect([stdout, stderr]: &[OwnedFd; 2]) -> io::Result<()> {
    dup2_stdout(stdout)?;
    Ok(dup2_stderr(stderr)?)
}
