//! Databases for tests: each in a directory of its own, at a Unix socket, ended on drop.

use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hemi_test::{TempDir, eventually, peer};

/// Beginning one may take that long on a machine with much else to do.
const START: Duration = Duration::from_secs(120);

/// Who runs what refuses to run as root.
const NOBODY: u32 = 65_534;

/// A database.
pub(crate) struct Database {
    socket: PathBuf,
    child: Child,
    dir: TempDir,
}

impl Database {
    /// A PostgreSQL with the superuser `mia`, without passwords. None, with a line that says so, if it is not
    /// installed.
    pub(crate) fn postgres() -> Option<Self> {
        let (initdb, postgres) = (peer("initdb")?, peer("postgres")?);
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        let as_other = |program: PathBuf| {
            let mut command = Command::new(program);
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command.current_dir("/").env("LC_ALL", "C");
            command
        };
        if is_root {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut begin = as_other(initdb);
        begin.args(["--no-sync", "-U", "mia", "-A", "trust", "-E", "UTF8", "-D"]).arg(&data);
        succeed(begin);
        let mut serve = as_other(postgres);
        serve.args(["-h", "", "-F", "-c", "max_connections=40", "-D"]).arg(&data);
        serve.arg("-k").arg(dir.path());
        let socket = dir.path().join(".s.PGSQL.5432");
        Some(Self::run(serve, socket, dir))
    }

    /// A MariaDB with the user `root`, who has no password. None, with a line that says so, if it is not installed.
    pub(crate) fn mariadb() -> Option<Self> {
        let (install, server) = (peer("mariadb-install-db")?, peer("mariadbd")?);
        let dir = TempDir::new().unwrap();
        let data = format!("--datadir={}", dir.path().join("data").display());
        let mut begin = Command::new(install);
        begin.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        begin.arg(&data).args(["--innodb-log-file-size=4M", "--innodb-fast-shutdown=0"]);
        let mut serve = Command::new(server);
        let socket = dir.path().join("mysql.sock");
        serve.args(["--no-defaults", "--skip-networking", "--innodb-log-file-size=4M"]).arg(&data);
        serve.arg(format!("--socket={}", socket.display()));
        serve.arg(format!("--pid-file={}", dir.path().join("pid").display()));
        if rustix::process::geteuid().is_root() {
            begin.arg("--user=root");
            serve.arg("--user=root");
        }
        succeed(begin);
        Some(Self::run(serve, socket, dir))
    }

    fn run(mut serve: Command, socket: PathBuf, dir: TempDir) -> Self {
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        serve.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = serve.spawn().unwrap();
        let database = Self { socket, child, dir };
        let listens = eventually(START, || UnixStream::connect(&database.socket).is_ok());
        assert!(listens, "{}", database.log());
        database
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // PostgreSQL has children, who end with it only if it is asked to: at once (SIGQUIT). MariaDB has none.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        if !eventually(Duration::from_secs(10), || matches!(self.child.try_wait(), Ok(Some(_)))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a command to its end, which is to be a good one; what it wrote.
pub(crate) fn succeed(mut command: Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let wrote = [done.stdout, done.stderr].concat();
    let wrote = String::from_utf8_lossy(&wrote).into_owned();
    assert!(done.status.success(), "{:?}: {wrote}", command.get_program());
    wrote
}
