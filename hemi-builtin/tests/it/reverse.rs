//! Reverse tunnels: `reverseTunnel` at the outer end, `reverseServer` at the inner one.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use hemi_core::server::ServerKind;
use hemi_test::raw::Client;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{TempDir, eventually};

use crate::server::{Running, load, load_by};

const LONG: Duration = Duration::from_secs(30);

const TOKEN: &str = "correct horse battery staple";

fn start(config: &str) -> Running {
    load(2, config).unwrap_or_else(|e| panic!("{e}\n{config}"))
}

/// Where the outer end listens, if it is at no port.
fn edge(dir: &TempDir) -> String {
    dir.path().join("edge.sock").display().to_string()
}

fn exposed(dir: &TempDir) -> PathBuf {
    dir.path().join("exposed.sock")
}

/// A site that is served through tunnels, with these properties of the socklet, the webapp and the server.
fn outer_config(dir: &TempDir, [tunnel, webapp, server]: [&str; 3]) -> String {
    let exposed = exposed(dir);
    format!(
        r#"stage {{
            http1Backend "inner" {{ node {{ .address = "{0}" }} }}
            webapp "site" {{ .hostnames = ("*")  {webapp}
                rule $path == "/metrics" {{ metrics {{}} }}
                rule $path == "/tunnel" {{ reverseTunnel "t" {{ .expose = "{0}"  {tunnel} }} }}
                rule {{ httpProxy {{ .toBackend = "inner" }} }} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site")  {server} }}
        }}"#,
        exposed.display()
    )
}

fn outer(dir: &TempDir, tunnel: &str) -> Running {
    let tunnel =
        format!(".tokens = (\"another token that is long enough\", \"{TOKEN}\")  {tunnel}");
    start(&outer_config(dir, [&tunnel, "", ""]))
}

/// A site with this page that nobody connects to, with these properties of the server that connects.
fn inner(dir: &TempDir, page: &str, properties: &str) -> Running {
    let socket = dir.path().join(format!("{page}.sock"));
    start(&format!(
        r#"stage {{
            webapp "w" {{ .hostnames = ("*")
                rule {{ .returnCode = 200  .returnText = "{page}" }} }}
            httpxServer "main" {{ .address = "{0}"  .webapps = ("w") }}
            tcpxBackend "local" {{ node {{ .address = "{0}" }} }}
            reverseServer "edge" {{ .toBackend = "local"  {properties} }}
        }}"#,
        socket.display()
    ))
}

fn to(outer: SocketAddr) -> String {
    format!(".toServer = \"http://{outer}/tunnel\"  .token = \"{TOKEN}\"  .retryDelay = 50ms")
}

/// How many tunnels the outer end has.
fn tunnels(outer: &Running) -> u64 {
    let text = outer.get("/metrics").text();
    let lines = text.lines().filter(|line| line.starts_with("hemi_reverse_tunnels"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn lost(inner: &Running) -> u64 {
    let counters = inner.find::<ServerKind>("edge").counters();
    counters.iter().find(|(name, _)| *name == "tunnels_lost").unwrap().1
}

#[test]
fn a_hundred_requests_at_once_go_by_one_connection() {
    let dir = TempDir::new().unwrap();
    let outer = outer(&dir, "");
    let _inner = inner(&dir, "one", &to(outer.addr()));
    assert!(eventually(LONG, || tunnels(&outer) >= 1));
    assert_eq!(outer.get("/").text(), "one");
    thread::scope(|scope| {
        let asked: Vec<_> = (0..100).map(|_| scope.spawn(|| outer.get("/").text())).collect();
        asked.into_iter().for_each(|asked| assert_eq!(asked.join().unwrap(), "one"));
    });
    assert_eq!(tunnels(&outer), 1);
}

#[test]
fn several_servers_have_their_shares() {
    let dir = TempDir::new().unwrap();
    let outer = outer(&dir, "");
    let _one = inner(&dir, "one", &to(outer.addr()));
    let _two = inner(&dir, "two", &format!("{}  .tunnels = 2", to(outer.addr())));
    assert!(eventually(LONG, || tunnels(&outer) == 3));
    let mut clients: Vec<_> =
        (0..12).map(|_| Client::connect_unix(exposed(&dir)).unwrap()).collect();
    let pages = clients.iter_mut().map(|client| {
        client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").unwrap();
        client.read_response().unwrap().text()
    });
    let pages: Vec<_> = pages.collect();
    let count = |page: &str| pages.iter().filter(|other| *other == page).count();
    assert_eq!((count("one"), count("two")), (4, 8));
}

#[test]
fn who_has_no_token_is_refused() {
    let dir = TempDir::new().unwrap();
    let outer = outer(&dir, ".waitTimeout = 100ms");
    for login in ["", "  .token = \"correct horse battery stable\""] {
        let to =
            format!(".toServer = \"http://{}/tunnel\"  .retryDelay = 20ms{login}", outer.addr());
        let inner = inner(&dir, "one", &to);
        // It tries again and again.
        assert!(eventually(LONG, || lost(&inner) >= 3));
    }
    assert_eq!((tunnels(&outer), outer.get("/").status), (0, 502));
    let error = load(1, &outer_config(&dir, [".tokens = (\"short\")", "", ""])).err().unwrap();
    assert!(error.to_string().contains("a token is too short"), "{error}");
}

#[test]
fn certificates_are_as_good_as_tokens() {
    let (dir, ca) = (TempDir::new().unwrap(), Authority::new("ca"));
    let identity = ca.server(&["localhost"], KeyKind::Ecdsa);
    let demands = format!(
        "{}  .tlsClientAuth = \"optional\"  .tlsClientCa = \"{}\"",
        identity.properties(),
        ca.certificate().display()
    );
    let outer = start(&outer_config(&dir, ["", &demands, ".tlsMode = true"]));
    let to = format!(
        ".toServer = \"https://localhost:{}/tunnel\"  .tlsTrustedCa = \"{}\"  .retryDelay = 20ms",
        outer.addr().port(),
        ca.certificate().display(),
    );
    let stranger = inner(&dir, "stranger", &to);
    assert!(eventually(LONG, || lost(&stranger) >= 2));
    let client = ca.client("inner", "spiffe://test/inner");
    let (certificate, key) = (client.certificate.display(), client.key.display());
    let known = format!("{to}  .tlsIdentity = \"{certificate}\"  .tlsIdentityKey = \"{key}\"");
    let _inner = inner(&dir, "one", &known);
    let mut client = Client::connect_unix(exposed(&dir)).unwrap().with_timeout(LONG);
    client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "one");
}

#[test]
fn who_starts_anew_is_waited_for() {
    let dir = TempDir::new().unwrap();
    let outer = outer(&dir, "");
    let first = inner(&dir, "one", &to(outer.addr()));
    assert!(eventually(LONG, || tunnels(&outer) >= 1));
    assert_eq!(outer.get("/").text(), "one");
    first.quit();
    assert!(eventually(LONG, || tunnels(&outer) == 0));
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut client = outer.connect().with_timeout(LONG);
            client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").unwrap();
            client.read_response().unwrap().text()
        });
        let _second = inner(&dir, "two", &to(outer.addr()));
        assert_eq!(asked.join().unwrap(), "two");
    });
}

#[test]
fn reloads_of_either_end_lose_nothing() {
    let dir = TempDir::new().unwrap();
    let text = |idle: u32| {
        let tunnel = format!(".tokens = (\"{TOKEN}\")  .idleTimeout = {idle}s");
        outer_config(&dir, [&tunnel, "", ""]).replace("127.0.0.1:0", "127.0.0.1:@")
    };
    // Somebody else may take the port in between.
    let (port, mut outer) = (0..20)
        .find_map(|_| {
            let port = hemi_test::free_port().unwrap();
            Some((port, load(2, &text(60).replace('@', &port.to_string())).ok()?))
        })
        .unwrap();
    let _inner = inner(&dir, "one", &to(outer.addr()));
    assert!(eventually(LONG, || tunnels(&outer) >= 1));
    assert_eq!(outer.get("/").text(), "one");
    for idle in 61..65 {
        outer.reload(&text(idle).replace('@', &port.to_string()));
        for _ in 0..10 {
            assert_eq!(outer.get("/").text(), "one", "{idle}");
        }
    }
    // The last of the tunnels is the only one, in the end.
    assert!(eventually(LONG, || tunnels(&outer) == 1));
    assert_eq!(outer.get("/").text(), "one");
}

#[test]
fn what_is_idle_does_not_hold_the_stage_before_a_reload() {
    let dir = TempDir::new().unwrap();
    let text = |idle: u32| {
        let tunnel = format!(".tokens = (\"{TOKEN}\")  .idleTimeout = {idle}h");
        outer_config(&dir, [&tunnel, "", ""]).replace("127.0.0.1:0", &edge(&dir))
    };
    // As long as it likes.
    let hours = Duration::from_secs(36_000);
    let mut outer = load_by(2, &text(1), |engine| engine.grace(hours)).unwrap();
    let to = format!(".toServer = \"unix:{}:/tunnel\"  .token = \"{TOKEN}\"", edge(&dir));
    let _inner = inner(&dir, "one", &format!("{to}  .retryDelay = 50ms"));
    let page = || {
        let mut client = Client::connect_unix(edge(&dir)).unwrap().with_timeout(LONG);
        client.send("GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").unwrap();
        client.read_response().unwrap().text()
    };
    assert_eq!(page(), "one");
    outer.reload(&text(2));
    assert_eq!(page(), "one");
    let stages = || outer.engine().status().stages.len();
    assert!(eventually(Duration::from_secs(120), || stages() == 1), "{}", stages());
    assert_eq!(page(), "one");
}

#[test]
fn a_line_that_is_slow_is_not_taken_for_a_dead_one() {
    let dir = TempDir::new().unwrap();
    let exposed = exposed(&dir);
    let node = UnixListener::bind(dir.path().join("node.sock")).unwrap();
    let outer = start(&format!(
        r#"stage {{
            webapp "site" {{ .hostnames = ("*")
                rule {{ reverseTunnel "t" {{ .expose = "{}"  .tokens = ("{TOKEN}")  .tunnelKeepAlive = 4s }} }} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site") }}
        }}"#,
        exposed.display(),
    ));
    let line = start(&format!(
        r#"stage {{
            tcpxBackend "edge" {{ node {{ .address = "{}" }} }}
            tcpxRouter "main" {{ .address = "127.0.0.1:0"
                case {{ tcpxProxy {{ .toBackend = "edge"  .bandwidth = 256K }} }} }}
        }}"#,
        outer.addr()
    ));
    let _inner = start(&format!(
        r#"stage {{
            tcpxBackend "local" {{ node {{ .address = "{}" }} }}
            reverseServer "main" {{ .toBackend = "local"  .toServer = "http://{}/"  .token = "{TOKEN}"
                .tunnelKeepAlive = 4s }}
        }}"#,
        dir.path().join("node.sock").display(),
        line.addr(),
    ));
    // More than is under way at once, by many connections: answers to whether anybody is there are behind that.
    let (conns, bytes) = (16, vec![b'x'; 256 << 10]);
    thread::scope(|scope| {
        for _ in 0..conns {
            let mut there = UnixStream::connect(&exposed).unwrap();
            let bytes = &bytes;
            scope.spawn(move || {
                there.write_all(bytes).unwrap();
                there.shutdown(Shutdown::Write).unwrap();
                // It ends when all has come.
                assert_eq!(there.read(&mut [0]).unwrap(), 0);
            });
        }
        for _ in 0..conns {
            let (mut here, _) = node.accept().unwrap();
            let bytes = &bytes;
            scope.spawn(move || {
                let mut got = Vec::new();
                here.read_to_end(&mut got).unwrap();
                assert_eq!(got.len(), bytes.len());
            });
        }
    });
}

#[test]
fn bytes_pass_as_they_are_both_ways_and_so_do_their_ends() {
    let dir = TempDir::new().unwrap();
    let (exposed, echo) = (exposed(&dir), dir.path().join("echo.sock"));
    let outer = start(&format!(
        r#"stage {{
            tcpxBackend "inner" {{ node {{ .address = "{0}" }} }}
            webapp "site" {{ .hostnames = ("*")
                rule {{ reverseTunnel "t" {{ .expose = "{0}"  .tokens = ("{TOKEN}") }} }} }}
            httpxServer "edge" {{ .address = "{1}"  .webapps = ("site") }}
            tcpxRouter "main" {{ .address = "127.0.0.1:0"  case {{ tcpxProxy {{ .toBackend = "inner" }} }} }}
        }}"#,
        exposed.display(),
        dir.path().join("edge.sock").display(),
    ));
    let _inner = start(&format!(
        r#"stage {{
            echoServer "echo" {{ .address = "{0}" }}
            tcpxBackend "local" {{ node {{ .address = "{0}" }} }}
            reverseServer "main" {{ .toBackend = "local"  .toServer = "unix:{1}:/"  .token = "{TOKEN}" }}
        }}"#,
        echo.display(),
        dir.path().join("edge.sock").display(),
    ));
    let bytes: Vec<u8> = (0..4_000_000_u32).map(|n| (n >> 3) as u8).collect();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let stream = TcpStream::connect(outer.addr()).unwrap();
                let (mut there, mut back) = (stream.try_clone().unwrap(), stream);
                let bytes = &bytes;
                scope.spawn(move || {
                    there.write_all(bytes).unwrap();
                    there.shutdown(Shutdown::Write).unwrap();
                });
                let mut said = Vec::new();
                back.read_to_end(&mut said).unwrap();
                assert!(said == *bytes, "other bytes, or {}", said.len());
            });
        }
    });
}

/// A connection that has said the token, and goes on in the protocol of tunnels.
fn begin(outer: &Running) -> Client {
    let mut client = outer.connect().with_timeout(LONG);
    let lines =
        format!("Connection: upgrade\r\nUpgrade: hemi-reverse\r\nAuthorization: bearer {TOKEN}");
    client.send(format!("GET /tunnel HTTP/1.1\r\nHost: site.test\r\n{lines}\r\n\r\n")).unwrap();
    let head = client.read_response_to_head().unwrap();
    assert_eq!(head.status, 101);
    client
}

#[test]
fn who_is_silent_or_speaks_something_else_is_no_tunnel_for_long() {
    let dir = TempDir::new().unwrap();
    let outer = outer(&dir, ".tunnelKeepAlive = 50ms");
    let mut silent = begin(&outer);
    assert!(eventually(LONG, || tunnels(&outer) == 0));
    let _ = silent.read_to_end();
    let mut other = begin(&outer);
    other
        .send("something else than HTTP/2, and long enough that it can't be a part of it")
        .unwrap();
    let _ = other.read_to_end();
    assert!(eventually(LONG, || tunnels(&outer) == 0));
}

#[test]
fn where_nothing_is_behind_a_tunnel_that_is_told_at_once() {
    let dir = TempDir::new().unwrap();
    let outer = outer(&dir, "");
    let nothing: &Path = &dir.path().join("nothing.sock");
    let _inner = start(&format!(
        r#"stage {{
            tcpxBackend "local" {{ node {{ .address = "{}" }} }}
            reverseServer "main" {{ .toBackend = "local"  {} }}
        }}"#,
        nothing.display(),
        to(outer.addr())
    ));
    assert!(eventually(LONG, || tunnels(&outer) >= 1));
    assert_eq!(outer.get("/").status, 502);
}
