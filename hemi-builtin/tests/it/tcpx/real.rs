//! Programs that speak through a router as they would without one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use hemi_test::{Program, TempDir, eventually, free_port, peer};

use super::{config, router_to, start};
use crate::databases::{Database, succeed};
use crate::redis::RedisServer;
use crate::server::Running;

/// A router to a node at this socket, of what its clients say first.
fn router(protocol: &str, socket: &Path) -> Running {
    let backend = format!("tcpxBackend \"b\" {{ node {{ .address = \"{}\" }} }}", socket.display());
    let cases = format!(
        ".peekTimeout = 500ms  case $protocol == \"{protocol}\" {{ tcpxProxy {{ .toBackend = \"b\" }} }}"
    );
    start(&config(&backend, &cases))
}

fn client(program: &Path, router: &Running, options: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(options).arg(router.addr().port().to_string());
    command
}

#[test]
fn redis_benchmark_is_served() {
    let (Some(redis), Some(benchmark)) = (RedisServer::start(), peer("redis-benchmark")) else {
        return;
    };
    let router = router("redis", &redis.socket());
    let mut command = client(&benchmark, &router, &["-h", "127.0.0.1", "-p"]);
    command.args(["-n", "2000", "-c", "20", "-P", "8", "-d", "3000", "-q", "-t", "set,get,lpush"]);
    let said = succeed(command).replace('\r', "\n");
    for test in ["SET:", "GET:", "LPUSH:"] {
        assert!(said.contains(test), "{said}");
    }
}

#[test]
fn pgbench_is_served() {
    let (Some(postgres), Some(pgbench)) = (Database::postgres(), peer("pgbench")) else { return };
    let router = router("pgsql", postgres.socket());
    let connect = ["-h", "127.0.0.1", "-U", "mia", "-p"];
    let mut begin = client(&pgbench, &router, &connect);
    begin.args(["-i", "-q", "postgres"]);
    succeed(begin);
    let mut run = client(&pgbench, &router, &connect);
    run.args(["-n", "-c", "4", "-t", "25", "-C", "postgres"]);
    let said = succeed(run);
    assert!(said.contains("transactions actually processed: 100/100"), "{said}");
}

#[test]
fn a_client_of_mysql_is_served() {
    let (Some(mariadb), Some(mysql)) = (Database::mariadb(), peer("mariadb")) else { return };
    // The server speaks first: who says nothing is for it.
    let router = router("mysql", mariadb.socket());
    let mut command =
        client(&mysql, &router, &["--no-defaults", "-h", "127.0.0.1", "-u", "root", "-P"]);
    command.args(["-N", "-e", "select 6 * 7; select repeat('x', 100000)"]);
    let said = succeed(command);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[1].len()), ("42", 100_000));
}

#[test]
fn files_come_by_sftp() {
    let programs = ["sshd", "sftp", "ssh-keygen"].map(peer);
    let [Some(sshd), Some(sftp), Some(keygen)] = programs else { return };
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["host", "user"] {
        let mut make = Command::new(&keygen);
        make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(name));
        succeed(make);
    }
    let file: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(path("file"), &file).unwrap();
    if rustix::process::geteuid().is_root() {
        // It insists on a directory that the system's own makes when it starts.
        let _ = std::fs::create_dir_all("/run/sshd");
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let router = router_to(listener.local_addr().unwrap(), ".idleTimeout = 60s");
    let server = thread::spawn({
        let (host, keys, log) = (path("host"), path("user.pub"), path("log"));
        move || {
            let (stream, _) = listener.accept().unwrap();
            let mut serve = Command::new(sshd);
            serve.args(["-i", "-f", "/dev/null", "-o", "UsePAM=no", "-o", "StrictModes=no"]);
            serve.args(["-o", "Subsystem=sftp internal-sftp", "-o", "PermitRootLogin=yes"]);
            serve.args(["-o", &format!("AuthorizedKeysFile={}", keys.display())]);
            serve.arg("-h").arg(host).arg("-E").arg(log);
            let socket = || Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
            serve.stdin(socket()).stdout(socket()).stderr(Stdio::null()).spawn().unwrap()
        }
    });
    let user = succeed({
        let mut id = Command::new("id");
        id.arg("-un");
        id
    });
    let mut get = client(&sftp, &router, &["-q", "-b", "-", "-F", "none", "-P"]);
    get.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i"]);
    get.arg(path("user")).arg(format!("{}@127.0.0.1", user.trim()));
    let batch = dir.write("batch", format!("get {0} {0}.copy\n", path("file").display())).unwrap();
    get.stdin(std::fs::File::open(batch).unwrap()).stdout(Stdio::null()).stderr(Stdio::piped());
    let done = get.output().unwrap();
    let log = std::fs::read_to_string(path("log")).unwrap_or_default();
    assert!(done.status.success(), "{}{log}", String::from_utf8_lossy(&done.stderr));
    assert!(std::fs::read(path("file.copy")).unwrap() == file, "another file");
    drop(router);
    server.join().unwrap().wait().unwrap();
}

/// An iperf3 that waits for clients.
pub(crate) fn iperf_server() -> Option<Program> {
    let iperf = peer("iperf3")?;
    let start = || {
        let port = free_port()?;
        let mut command = Command::new(&iperf);
        command.args(["-s", "-B", "127.0.0.1", "-p"]).arg(port.to_string());
        Program::start(command, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    // Another program may have taken the port.
    Some(start().or_else(|_| start()).or_else(|_| start()).unwrap())
}

/// What iperf3 writes about its run, which is done again where its server is still busy with the one before: it hangs up.
pub(crate) fn iperf(mut run: Command) -> String {
    run.stdin(Stdio::null());
    let mut said = String::new();
    let done = eventually(Duration::from_secs(120), || {
        let done = run.output().unwrap();
        said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        said.contains("iperf Done.")
    });
    assert!(done, "{said}");
    said
}

#[test]
fn iperf_moves_bytes_both_ways() {
    let (Some(server), Some(program)) = (iperf_server(), peer("iperf3")) else { return };
    let router = router_to(server.addr(), "");
    for ways in [&["-P", "2"][..], &["-R"]] {
        let mut run = client(&program, &router, &["-c", "127.0.0.1", "-p"]);
        run.args(["-n", "50M"]).args(ways);
        iperf(run);
    }
}
