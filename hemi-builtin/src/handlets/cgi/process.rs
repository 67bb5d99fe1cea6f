//! The processes of programs: not too many, not for too long, and none that outlives its request.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hemi_core::io::watch_readable;
use http::StatusCode;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::handlets::gateway::variables::Variables;

/// Bytes of a program's complaints about one request that are logged, at most.
const COMPLAINTS: u64 = 16 << 10;

/// Why a program has given no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// For the log.
    pub(super) why: Option<String>,
}

impl Failure {
    pub(super) fn of(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: Some(why.into()) }
    }

    /// That is the client's business alone.
    pub(super) fn silent(status: StatusCode) -> Self {
        Self { status, why: None }
    }

    pub(super) fn late() -> Self {
        Self::of(StatusCode::GATEWAY_TIMEOUT, "the program took too long: it is killed")
    }
}

/// How many processes there may be.
#[derive(Debug)]
pub(super) struct Processes {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

/// Counts who waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Processes {
    pub(super) fn new(most: usize, max_waiting: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { places, waiting: AtomicUsize::new(0), max_waiting }
    }

    /// Waits until another one may run.
    pub(super) async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let full = |why: &str| Failure::of(StatusCode::SERVICE_UNAVAILABLE, why);
        if before >= self.max_waiting {
            return Err(full("too many programs run, and too many requests wait"));
        }
        match timeout_at(deadline, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(full("too many programs run: no other could be begun in time")),
        }
    }
}

/// A program that is to be run.
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) interpreter: Option<PathBuf>,
    pub(super) variables: Variables<'static>,
}

/// A program that runs, and our ends of its streams.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
}

impl Program {
    /// Starts it: beside the core, for that may take a while.
    pub(super) async fn start(
        self,
        place: OwnedSemaphorePermit,
        deadline: Instant,
        request: String,
    ) -> Result<Running, Failure> {
        let failed = |e: io::Error| {
            Failure::of(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot run the program: {e}"))
        };
        let name = self.path.display().to_string();
        let spawned = tokio::task::spawn_blocking(move || self.spawn()).await;
        let mut child = spawned.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(failed)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Process { child: Some(child), _place: place };
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(failed(io::Error::other("it has no streams")));
        };
        let stdin = pipe::Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(failed)?;
        let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout)).map_err(failed)?;
        let stderr = pipe::Receiver::from_owned_fd(OwnedFd::from(stderr)).map_err(failed)?;
        tokio::spawn(timeout_at(deadline, log_complaints(stderr, request, name)));
        Ok(Running { process, stdin, stdout })
    }

    fn spawn(self) -> io::Result<Child> {
        let mut command = match &self.interpreter {
            Some(interpreter) => {
                let mut command = Command::new(interpreter);
                command.arg(&self.path);
                command
            }
            None => {
                check_runs_itself(&self.path)?;
                Command::new(&self.path)
            }
        };
        let variables = self.variables.iter();
        command
            .env_clear()
            .envs(variables.map(|(name, value)| (&**name, OsStr::from_bytes(value))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Of its own, to be killed as one.
            .process_group(0);
        if let Some(dir) = self.path.parent() {
            command.current_dir(dir);
        }
        command.spawn()
    }
}

/// Whether a file is a program by itself: others might be given to a shell.
fn check_runs_itself(path: &std::path::Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::other("the file is not executable"));
    }
    let mut start = Vec::new();
    file.by_ref().take(4).read_to_end(&mut start)?;
    if start.starts_with(b"#!") || start == b"\x7fELF" {
        return Ok(());
    }
    Err(io::Error::other("the file neither begins with `#!` nor is in the machine's own format"))
}

/// Logs what a program writes to its error stream, until it is closed.
async fn log_complaints(mut stderr: pipe::Receiver, request: String, program: String) {
    let mut complaints = Vec::new();
    let _ = (&mut stderr).take(COMPLAINTS).read_to_end(&mut complaints).await;
    for line in String::from_utf8_lossy(&complaints).lines().filter(|line| !line.is_empty()) {
        warn!(request, program, "{line}");
    }
    // It would wait for ever for somebody to read on.
    let mut rest = [0; 4096];
    while stderr.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}

/// A process, killed on drop with all of its group.
#[derive(Debug)]
pub(super) struct Process {
    child: Option<Child>,
    _place: OwnedSemaphorePermit,
}

impl Process {
    /// Lets it end by itself after its answer, until the deadline.
    pub(super) fn finish(self, deadline: Instant) {
        tokio::spawn(async move {
            let pid = self.child.as_ref().map(Pid::from_child);
            let watched = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            if let Some(watched) = watched.and_then(|fd| watch_readable(fd).ok()) {
                let _ = timeout_at(deadline, watched.readable()).await;
            }
            drop(self);
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It was not waited for yet, so that the id is still its own; of its group there may be nobody left.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Killed, it ends in no time; but not within this call.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || child.wait())),
            Err(_) => drop(child.wait()),
        }
    }
}
