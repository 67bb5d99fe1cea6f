//! Running a program under test, or a peer, and ending it whatever happens.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use rustix::process::Signal;

use crate::{TempDir, poll, process, raw};

/// How long a program may take until it answers.
const START: Duration = Duration::from_secs(60);

/// How often a start is tried again when another process took the port in between.
const ATTEMPTS: usize = 3;

/// A running program that listens on a TCP port; killed, with all it started, on drop.
#[derive(Debug)]
pub struct Program {
    child: Child,
    addr: SocketAddr,
    stdout: Capture,
    stderr: Capture,
    /// Where its config is.
    _dir: Option<TempDir>,
}

impl Program {
    /// Runs `binary serve --single --config FILE` and waits until it accepts connections.
    ///
    /// `@PORT@` in the config becomes a free port of 127.0.0.1, where it is expected to listen.
    ///
    /// # Errors
    /// When it can't be started, or ends or doesn't listen in time; says what it wrote to stderr.
    pub fn serve(binary: impl AsRef<Path>, config: &str) -> io::Result<Self> {
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            let dir = TempDir::new()?;
            let file = dir.write("test.conf", config.replace("@PORT@", &port.to_string()))?;
            let mut command = Command::new(binary.as_ref());
            command.args(["serve", "--single", "--config"]).arg(file);
            command.args(io_driver().map(|driver| format!("--io={driver}")));
            match Self::start(command, SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
                Ok(mut program) => {
                    program._dir = Some(dir);
                    return Ok(program);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs a command and waits until `addr` accepts connections. Its output is captured.
    ///
    /// # Errors
    /// When it can't be started, or ends or doesn't listen in time; says what it wrote to stderr.
    /// [`io::ErrorKind::AddrInUse`] when that seems to be the reason.
    pub fn start(mut command: Command, addr: SocketAddr) -> io::Result<Self> {
        command.stdin(Stdio::null());
        Self::spawn(command, addr, |_| TcpStream::connect(addr).is_ok().then_some(addr))
    }

    /// Runs a command that listens on a port of 127.0.0.1 of its choice, and writes it as the first line of its
    /// output. Its input ends when this is dropped, or the test with it.
    ///
    /// # Errors
    /// When it can't be started, or ends or names no port in time; says what it wrote to stderr.
    pub fn told(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped());
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::spawn(command, nowhere, |program| {
            let port = program.stdout().split_once('\n')?.0.trim().parse::<u16>().ok()?;
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        })
    }

    /// Runs a command until `listens` tells where it does.
    fn spawn(
        mut command: Command,
        addr: SocketAddr,
        mut listens: impl FnMut(&Self) -> Option<SocketAddr>,
    ) -> io::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        let stdout = Capture::of(child.stdout.take());
        let stderr = Capture::of(child.stderr.take());
        let mut program = Self { child, addr, stdout, stderr, _dir: None };
        let started = poll(START, || match program.child.try_wait() {
            Err(error) => Some(Err(error)),
            Ok(Some(status)) => Some(Err(program.early_end(&name, status))),
            Ok(None) => listens(&program).map(Ok),
        });
        match started {
            Some(Ok(addr)) => {
                program.addr = addr;
                Ok(program)
            }
            Some(Err(error)) => Err(error),
            None => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{name} does not listen on {addr}; it wrote: {}", program.stderr()),
            )),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The id of the process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The ids of the process that was started and of all that it started itself.
    pub fn pids(&self) -> Vec<u32> {
        process::tree(self.pid())
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// When it doesn't accept one.
    pub fn connect(&self) -> io::Result<raw::Client> {
        raw::Client::connect(self.addr)
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has already been waited for.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            // Its id may belong to another process by now.
            return Err(io::Error::new(io::ErrorKind::NotFound, "the program has ended"));
        }
        kill(self.child.id(), signal)
    }

    /// Waits until it has ended and all its output is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when it still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> io::Result<ExitStatus> {
        let status = poll(within, || self.child.try_wait().transpose()).unwrap_or_else(|| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the program still runs"))
        })?;
        self.finish_output();
        Ok(status)
    }

    fn early_end(&mut self, name: &str, status: ExitStatus) -> io::Error {
        self.finish_output();
        let said = format!("{}{}", self.stderr(), self.stdout());
        let in_use = ["in use", "EADDRINUSE"].iter().any(|words| said.contains(words));
        let kind = if in_use { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other };
        io::Error::new(kind, format!("{name} ended early ({status}); it wrote: {said}"))
    }

    fn finish_output(&mut self) {
        self.stdout.finish();
        self.stderr.finish();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Parents first, so that they start no replacements.
            for pid in self.pids() {
                let _ = kill(pid, Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// The driver that tests have connections moved by, if `GOROX_TEST_IO` names one: `epoll` or `uring`.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "how tests are run is asked of the environment")]
pub fn io_driver() -> Option<String> {
    std::env::var("GOROX_TEST_IO").ok()
}

/// A port of 127.0.0.1 that nobody has bound, and nobody else is given: it is none of those that the system chooses
/// from, and this process is not told it twice.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    const FIRST: u16 = 10_240;
    const COUNT: u16 = 22_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run at the same time begin far from each other.
    let begin = (std::process::id() % u32::from(COUNT) * 157 % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (begin + next) % COUNT;
        let at = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Sends a signal to one process.
pub(crate) fn kill(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such process"))?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Collects what comes through a pipe, so that the writer never blocks.
#[derive(Debug, Default)]
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let Some(mut pipe) = pipe else { return Self::default() };
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let shared = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut piece) {
                let mut bytes = shared.lock().unwrap_or_else(PoisonError::into_inner);
                bytes.extend(piece.iter().take(length));
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Waits for the writer's end of the pipe to be closed.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{eventually, peer};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_early_end_is_told_with_its_reason() {
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
        for (reason, kind) in [
            ("no such file", io::ErrorKind::Other),
            ("bind: Address already in use", io::ErrorKind::AddrInUse),
        ] {
            let script = format!("echo {reason} >&2; exit 3");
            let error = Program::start(shell(&script), nobody).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
        let error = Program::start(Command::new("/no/such/binary"), nobody).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/binary"), "{error}");
    }

    /// A program that is up, because the test itself listens in its place.
    fn started(script: &str) -> (Program, TcpListener) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        (Program::start(shell(script), addr).unwrap(), listener)
    }

    #[test]
    fn output_is_captured_and_signals_arrive() {
        let (mut program, _listener) =
            started("trap 'echo bye >&2; exit 7' TERM; echo up; while :; do sleep 0.01; done");
        assert!(eventually(Duration::from_secs(20), || program.stdout() == "up\n"));
        program.signal(Signal::TERM).unwrap();
        assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(7));
        assert_eq!(program.stderr(), "bye\n");
        assert_eq!(program.signal(Signal::TERM).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn nothing_survives_the_drop() {
        let (program, _listener) = started("sleep 60 & sleep 60 & wait");
        assert!(eventually(Duration::from_secs(20), || program.pids().len() == 3));
        let pids = program.pids();
        drop(program);
        let alive = |pid: &u32| {
            // A killed orphan may stay a zombie until somebody reaps it.
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            status.is_ok_and(|status| !status.contains("State:\tZ"))
        };
        assert!(eventually(Duration::from_secs(20), || !pids.iter().any(alive)));
    }

    #[test]
    fn a_program_tells_where_it_listens() {
        let program = Program::told(shell("echo 4711; exec cat")).unwrap();
        assert_eq!(program.addr().port(), 4711);
        let error = Program::told(shell("echo none; exit 3")).unwrap_err();
        assert!(error.to_string().contains("ended early"), "{error}");
    }

    #[test]
    fn a_real_server_is_awaited() {
        let Some(nginx) = peer("nginx") else { return };
        let dir = TempDir::new().unwrap();
        let port = free_port().unwrap();
        let config = format!(
            "daemon off; pid {0}/pid; error_log stderr; events {{}}
             http {{ access_log off; server {{ listen 127.0.0.1:{port}; return 204; }} }}",
            dir.path().display()
        );
        let file = dir.write("nginx.conf", config).unwrap();
        let mut command = Command::new(nginx);
        command.args(["-e", "stderr", "-p"]).arg(dir.path()).arg("-c").arg(file);
        let program = Program::start(command, ([127, 0, 0, 1], port).into()).unwrap();
        let mut client = program.connect().unwrap();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().status, 204);
    }
}
