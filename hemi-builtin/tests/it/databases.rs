//! Databases for tests: each in a directory of its own, at a Unix socket, ended on drop.

mod checks;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hemi_test::tls::Authority;
use hemi_test::{TempDir, eventually, peer};

use crate::server::{Running, load};

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
        // Several that begin at the same time take each other's tables away, elsewhere.
        begin.env("TMPDIR", dir.path());
        let mut serve = Command::new(server);
        serve.env("TMPDIR", dir.path());
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

/// A router of what these cases say, with these properties, to the backend `b` at this socket, and `gone`, where nobody is.
pub(crate) fn router(socket: &Path, properties: &str, cases: &str) -> Running {
    let nodes = [("b", socket), ("gone", Path::new("/nonexistent/socket"))];
    let used = nodes.iter().filter(|(name, _)| cases.contains(&format!("\"{name}\"")));
    let backend = |(name, socket): &(&str, &Path)| {
        format!("tcpxBackend \"{name}\" {{ node {{ .address = \"{}\" }} }}", socket.display())
    };
    let text = format!(
        r#"stage {{
            {}
            tcpxRouter "main" {{ .address = "127.0.0.1:0"  {properties}  {cases} }}
        }}"#,
        used.map(backend).collect::<String>()
    );
    load(2, &text).unwrap_or_else(|e| panic!("{e}"))
}

/// One that takes connections in the clear, and passes them on to another one of `db.test` over TLS.
pub(crate) fn in_front_of(router: &Running, ca: &Authority, dealet: &str) -> Running {
    let text = format!(
        r#"stage {{
            tcpxBackend "b" {{ .tlsMode = true  .tlsTrustedCa = "{}"  .tlsPeerName = "db.test"
                node {{ .address = "{}" }} }}
            tcpxRouter "main" {{ .address = "127.0.0.1:0"  case {{ {dealet} {{ .toBackend = "b" }} }} }}
        }}"#,
        ca.certificate().display(),
        router.addr()
    );
    load(1, &text).unwrap_or_else(|e| panic!("{e}"))
}

/// All that is answered to these bytes, until the connection is closed or reset.
pub(crate) fn answer_to(router: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(router.addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    answer
}

/// What a client says, and whether that is good.
pub(crate) fn said(mut client: Command) -> (bool, String) {
    let done = client.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.success(), said)
}

/// Runs a command to its end, which is to be a good one; what it wrote.
pub(crate) fn succeed(command: Command) -> String {
    let program = command.get_program().to_owned();
    let (good, wrote) = said(command);
    assert!(good, "{program:?}: {wrote}");
    wrote
}
