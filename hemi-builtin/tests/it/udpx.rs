//! The router `udpxRouter` with its dealets.

pub(crate) mod quic;
mod unix;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hemi_core::listen::Address;
use hemi_test::{TempDir, eventually, peer};

use crate::server::{Running, load};
use crate::tcpx::real::{iperf, iperf_server};

pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A server that sends back what it gets, until it is told to end.
struct Echo {
    address: SocketAddr,
    thread: Option<JoinHandle<usize>>,
}

impl Echo {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (mut buf, mut count) = (vec![0; 64 << 10], 0);
            loop {
                let (len, from) = socket.recv_from(&mut buf).unwrap();
                match &buf[..len] {
                    b"end of test" => return count,
                    b"no answer" => {}
                    bytes => drop(socket.send_to(bytes, from)),
                }
                count += 1;
            }
        });
        Self { address, thread: Some(thread) }
    }

    /// How many datagrams it has got.
    fn end(mut self) -> usize {
        self.stop().unwrap()
    }

    fn stop(&mut self) -> Option<usize> {
        let thread = self.thread.take()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(b"end of test", self.address).unwrap();
        thread.join().ok()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop();
    }
}

fn config(nodes: &[SocketAddr], router: &str, cases: &str) -> String {
    let nodes: String = nodes.iter().map(|at| format!("node {{ .address = \"{at}\" }} ")).collect();
    format!(
        r#"stage {{
            udpxBackend "b" {{ {nodes} }}
            udpxRouter "main" {{ .address = "127.0.0.1:0"  {router}  {cases} }}
        }}"#
    )
}

const PASS: &str = "case { udpxProxy { .toBackend = \"b\" } }";

fn start(config: &str) -> Running {
    load(2, config).unwrap_or_else(|e| panic!("{e}"))
}

fn client(router: &Running) -> UdpSocket {
    client_from([127, 0, 0, 1].into(), router)
}

fn client_from(ip: Ipv4Addr, router: &Running) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.connect(router.addr()).unwrap();
    socket
}

/// Sends this until it comes back: datagrams may be lost, on a machine that has much to do.
fn talk(client: &UdpSocket, bytes: &[u8]) {
    assert!(talks(client, bytes, LONG), "no answer");
}

fn talks(client: &UdpSocket, bytes: &[u8], within: Duration) -> bool {
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut buf = vec![0; 64 << 10];
    eventually(within, || {
        let _ = client.send(bytes);
        // What is left of an earlier try may come first.
        while let Ok(len) = client.recv(&mut buf) {
            if buf[..len] == *bytes {
                return true;
            }
        }
        false
    })
}

pub(crate) fn counter(server: &Running, name: &str) -> u64 {
    let counters = server.server().counters();
    counters.iter().find(|(known, _)| *known == name).map(|(_, count)| *count).unwrap()
}

#[test]
fn datagrams_go_and_come() {
    let echo = Echo::start();
    let router = start(&config(&[echo.address], "", PASS));
    let clients: Vec<_> = (0..20).map(|_| client(&router)).collect();
    for size in [1, 0, 1200, 60_000] {
        for (n, client) in clients.iter().enumerate() {
            talk(client, &vec![n as u8; size]);
        }
    }
    assert_eq!(counter(&router, "sessions_opened"), 20);
    assert_eq!(router.server().active(), 20);
    assert!(eventually(LONG, || counter(&router, "datagrams_sent") >= 80));
    // Where no stage follows that would receive for them, sessions are not waited for.
    router.quit();
}

#[test]
fn cases_go_by_addresses_and_what_none_takes_is_dropped() {
    let (one, other) = (Echo::start(), Echo::start());
    let text = format!(
        r#"stage {{
            udpxBackend "one" {{ node {{ .address = "{}" }} }}
            udpxBackend "other" {{ node {{ .address = "{}" }} }}
            udpxRouter "main" {{ .address = "127.0.0.1:0"
                case $srcHost == "127.0.0.7" && $dstHost == "127.0.0.1" {{ udpxProxy {{ .toBackend = "one" }} }}
                case $srcHost == ("127.0.0.8", "127.0.0.9") {{
                    accessDealet {{ .deny = ("127.0.0.9") }}
                    udpxProxy {{ .toBackend = "other" }}
                }}
            }}
        }}"#,
        one.address, other.address
    );
    let router = start(&text);
    talk(&client_from([127, 0, 0, 7].into(), &router), b"one");
    talk(&client_from([127, 0, 0, 8].into(), &router), b"other");
    client_from([127, 0, 0, 9].into(), &router).send(b"denied").unwrap();
    client(&router).send(b"nobody's").unwrap();
    assert!(eventually(LONG, || counter(&router, "datagrams_unmatched") == 1));
    assert!(eventually(LONG, || counter(&router, "datagrams_dropped") == 1));
    assert!(one.end() >= 1 && other.end() >= 1);
    assert_eq!(router.server().active(), 2);
}

#[test]
fn a_flood_from_many_ports_has_so_many_sessions_and_keeps_nobody_out() {
    let echo = Echo::start();
    let router = start(&config(&[echo.address], ".maxSessions = 40", PASS));
    let good = client(&router);
    talk(&good, b"before");
    // Each core has its half. Some are lost where they come faster than they are received.
    let evicted = || counter(&router, "sessions_evicted");
    let flooded = eventually(LONG, || {
        (0..100).for_each(|_| drop(client(&router).send(b"no answer")));
        evicted() >= 900
    });
    assert!(flooded, "{:?}", router.server().counters());
    assert!(eventually(LONG, || router.server().active() <= 41), "{}", router.server().active());
    talk(&good, b"after");
    talk(&client(&router), b"new");
    assert_eq!(counter(&router, "sessions_refused"), 0);
}

#[test]
fn where_all_sessions_are_in_use_there_is_none_for_more() {
    let echo = Echo::start();
    let router = load(1, &config(&[echo.address], ".maxSessions = 3", PASS)).unwrap();
    let clients: Vec<_> = (0..3).map(|_| client(&router)).collect();
    clients.iter().for_each(|client| talk(client, b"ping"));
    let late = client(&router);
    late.send(b"ping").unwrap();
    assert!(eventually(LONG, || counter(&router, "sessions_refused") == 1));
    assert!(eventually(LONG, || counter(&router, "datagrams_dropped") >= 1));
    clients.iter().for_each(|client| talk(client, b"still"));
}

#[test]
fn clients_have_so_many_sessions() {
    let echo = Echo::start();
    let cases = "case { limitDealet { .concurrent = 2 }  udpxProxy { .toBackend = \"b\"  .idleTimeout = 1s } }";
    let router = start(&config(&[echo.address], "", cases));
    let clients: Vec<_> = (0..2).map(|_| client(&router)).collect();
    clients.iter().for_each(|client| talk(client, b"ping"));
    let late = client(&router);
    late.send(b"ping").unwrap();
    talk(&client_from([127, 0, 0, 2].into(), &router), b"another's");
    // When one of the first two has been idle for long enough, there is room.
    drop(clients);
    talk(&late, b"pong");
}

#[test]
fn sessions_end_when_nothing_passes_or_all_was_answered_and_are_logged() {
    let echo = Echo::start();
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    let text = |proxy: &str| {
        format!(
            r#"stage {{
                simpleLogger "log" {{ .target = "{}" }}
                udpxBackend "b" {{ node {{ .address = "{}" }} }}
                udpxRouter "main" {{ .address = "127.0.0.1:0"  .useLogger = "log"
                    case "all" {{ udpxProxy {{ .toBackend = "b"  {proxy} }} }} }}
            }}"#,
            log.display(),
            echo.address
        )
    };
    for proxy in [".idleTimeout = 300ms", ".answers = 1"] {
        let router = start(&text(proxy));
        talk(&client(&router), b"ping");
        assert!(eventually(LONG, || router.server().active() == 0), "{proxy}");
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        let node = echo.address.to_string();
        assert!(eventually(LONG, || lines().contains(&node)), "{}", lines());
        let lines = lines();
        let words: Vec<&str> = lines.lines().last().unwrap().split(' ').collect();
        assert_eq!((words[0], words[2], words[3]), ("127.0.0.1", "main", "all"), "{lines}");
        // On a slow machine it was sent more than once.
        let bytes = [6, 7].map(|at| words[at].parse::<u64>().unwrap());
        assert!(words[5] == "done" && bytes.iter().all(|bytes| *bytes >= 4), "{lines}");
        router.quit();
    }
}

#[test]
fn a_node_where_nobody_listens_is_left_for_another() {
    // Hears one other only, and keeps its port.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.connect("127.0.0.1:9").unwrap();
    let nobody = deaf.local_addr().unwrap();
    let echo = Echo::start();
    let router = load(1, &config(&[nobody, echo.address], "", PASS)).unwrap();
    // A session with the one ends when that is known, and the next one is with the other.
    for _ in 0..10 {
        talk(&client(&router), b"ping");
    }
    let router = start(&config(&[nobody], "", PASS));
    let client = client(&router);
    assert!(eventually(LONG, || {
        client.send(b"ping").unwrap();
        counter(&router, "sessions_opened") >= 2
    }));
}

#[test]
fn that_nobody_listens_ends_a_session_at_once() {
    // Hears one other only, and keeps its port.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.connect("127.0.0.1:9").unwrap();
    let nobody = deaf.local_addr().unwrap();
    let pass = "case { udpxProxy { .toBackend = \"b\"  .idleTimeout = 1h } }";
    let router = start(&config(&[nobody], "", pass));
    let client = client(&router);
    // On a machine that has much to do it may be lost.
    let opened = || counter(&router, "sessions_opened") > 0;
    assert!(eventually(LONG, || opened() || (client.send(b"ping").unwrap(), false).1));
    assert!(eventually(LONG, || router.server().active() == 0));
}

#[test]
fn a_reload_keeps_sessions_with_their_nodes() {
    let (one, other) = (Echo::start(), Echo::start());
    let mut router = start(&config(&[one.address], "", PASS));
    let address = router.addr();
    let clients: Vec<_> = (0..50).map(|_| client(&router)).collect();
    clients.iter().for_each(|client| talk(client, b"before"));
    router.reload(&config(&[other.address], ".maxSessions = 9999", PASS));
    assert_eq!(router.addr(), address);
    clients.iter().for_each(|client| talk(client, b"after"));
    assert_eq!(router.server().active(), 0, "of the new stage");
    let count = one.end();
    assert!(count >= 100, "{count}");
    talk(&client(&router), b"new");
    assert!(other.end() >= 1);
}

#[test]
fn what_is_for_connections_is_refused() {
    let refused = |cases: &str| {
        let config = config(&["127.0.0.1:9".parse().unwrap()], "", &format!("{PASS} {cases}"));
        load(1, &config).err().unwrap().to_string()
    };
    let tcpx = "tcpxProxy { .toOriginal = true }";
    let error = refused(&format!("case {{ {tcpx} }}"));
    assert!(error.contains("`tcpxProxy` does not deal with datagrams"), "{error}");
    let error = refused("case $database == \"a\" { udpxProxy { .toBackend = \"b\" } }");
    assert!(error.contains("datagrams don't tell what connections do"), "{error}");
    let unix = r#"stage { quixRouter "main" { .address = "/tmp/x.sock" } }"#;
    let error = load(1, unix).err().unwrap().to_string();
    assert!(error.contains("datagrams come by UDP only"), "{error}");
}

#[test]
fn iperf_moves_datagrams_both_ways() {
    let (Some(server), Some(program)) = (iperf_server(), peer("iperf3")) else { return };
    // Its connection and its datagrams go to the same port of the router.
    let text = |port: u16| {
        format!(
            r#"stage {{
                tcpxBackend "t" {{ node {{ .address = "{0}" }} }}
                udpxBackend "u" {{ node {{ .address = "{0}" }} }}
                tcpxRouter "tcp" {{ .address = "127.0.0.1:{port}"  case {{ tcpxProxy {{ .toBackend = "t" }} }} }}
                udpxRouter "main" {{ .address = "127.0.0.1:{port}"  case {{ udpxProxy {{ .toBackend = "u" }} }} }}
            }}"#,
            server.addr()
        )
    };
    // It is free a moment ago; another test may have taken it.
    let router = (0..20).find_map(|_| load(2, &text(hemi_test::free_port().unwrap())).ok());
    let router = router.unwrap();
    let Some(Address::Tcp(at)) = router.server().addresses().first().cloned() else { panic!() };
    for ways in [&["-l", "1200"][..], &["-l", "1200", "-R"], &["-l", "9000", "-P", "2"]] {
        let mut run = Command::new(&program);
        run.args(["-u", "-c", "127.0.0.1", "-p"]).arg(at.port().to_string());
        run.args(["-b", "40M", "-n", "4M"]).args(ways);
        let said = iperf(run);
        assert!(!said.contains("100%)"), "{said}");
    }
    assert!(counter(&router, "datagrams_received") > 500);
}
