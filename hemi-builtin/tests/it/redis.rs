//! A Redis for tests.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hemi_test::{TempDir, eventually, peer};

/// A Redis that keeps nothing on the disk and listens on a Unix socket; ended on drop.
pub(crate) struct RedisServer {
    program: PathBuf,
    dir: TempDir,
    child: Child,
}

impl RedisServer {
    /// None, with a line that says so, if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let program = peer("redis-server")?;
        let dir = TempDir::new().unwrap();
        let child = run(&program, dir.path());
        Some(Self { program, dir, child })
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", socket(self.dir.path()).display())
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.dir.path())
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it anew, with nothing in it.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = run(&self.program, self.dir.path());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("redis.sock")
}

fn run(program: &Path, dir: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
    command.arg(socket(dir)).arg("--dir").arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    assert!(eventually(Duration::from_secs(20), || UnixStream::connect(socket(dir)).is_ok()));
    child
}
