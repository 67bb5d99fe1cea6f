//! The router `tcpxRouter` with its dealets.

mod ends;
mod faults;
pub(crate) mod real;
mod tls;

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use hemi_core::clock;
use hemi_test::raw::Client;
use hemi_test::{TempDir, eventually};

use crate::server::{Running, load};

/// A server that sends back what it gets.
fn echo() -> Running {
    start(r#"echoServer "main" { .address = "127.0.0.1:0" }"#)
}

fn start(stage: &str) -> Running {
    load(2, &format!("stage {{ {stage} }}")).unwrap_or_else(|e| panic!("{e}"))
}

/// A backend of this name with a node.
fn backend(name: &str, node: SocketAddr) -> String {
    format!("tcpxBackend \"{name}\" {{ node {{ .address = \"{node}\" }} }}\n")
}

/// A router with these backends, properties and cases.
fn config(backends: &str, router: &str) -> String {
    format!("{backends} tcpxRouter \"main\" {{ .address = \"127.0.0.1:0\"  {router} }}")
}

/// One that passes all on to this node.
fn router_to(node: SocketAddr, proxy: &str) -> Running {
    let case = format!("case {{ tcpxProxy {{ .toBackend = \"b\"  {proxy} }} }}");
    start(&config(&backend("b", node), &case))
}

/// Sends this, and expects it back.
fn talk(client: &mut Client, bytes: &[u8]) {
    client.send(bytes).unwrap();
    assert!(client.read_exact(bytes.len()).unwrap() == bytes, "other bytes");
}

fn counter(server: &Running, name: &str) -> u64 {
    let counters = server.server().counters();
    counters.iter().find(|(known, _)| *known == name).map(|(_, count)| *count).unwrap()
}

#[test]
fn bytes_pass_both_ways_whatever_their_number() {
    let echo = echo();
    let router = router_to(echo.addr(), "");
    let mut client = router.connect();
    let bytes: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    for len in [1, 12, 4096, 5000, 100_000, 12] {
        talk(&mut client, &bytes[..len]);
    }
    // As much as goes from socket to socket, and little after that.
    let mut sender = TcpStream::connect(router.addr()).unwrap();
    let mut reader = sender.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.write_all(&bytes).unwrap();
            sender.write_all(b"last").unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert!(got.strip_suffix(b"last") == Some(&bytes[..]), "other bytes");
    });
    talk(&mut client, b"last");
}

#[test]
fn an_end_is_passed_on_and_the_other_way_goes_on() {
    let router = router_to(echo().addr(), "");
    // The node is gone: nobody is there to be connected to.
    router.connect().expect_close().unwrap_or_default();
    let echo = echo();
    let router = router_to(echo.addr(), "");
    let mut client = router.connect();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    client.send(&bytes).unwrap();
    client.finish().unwrap();
    assert!(client.read_to_end().unwrap() == bytes, "other bytes");
    assert!(eventually(Duration::from_secs(10), || router.server().active() == 0));
    assert_eq!(counter(&router, "bytes_received"), 200_000);
    assert_eq!(counter(&router, "bytes_sent"), 200_000);
}

#[test]
fn unix_sockets_are_ends_like_others() {
    let dir = TempDir::new().unwrap();
    let [up, down] = ["up.sock", "down.sock"].map(|name| dir.path().join(name));
    let _echo = start(&format!("echoServer \"main\" {{ .address = \"{}\" }}", up.display()));
    let _router = start(&format!(
        r#"tcpxBackend "b" {{ node {{ .address = "{}" }} }}
        tcpxRouter "main" {{ .address = "{}"
            case "none" $srcHost == "127.0.0.1" {{}}
            case {{ accessDealet {{ .allow = ("unix") }}  tcpxProxy {{ .toBackend = "b" }} }}
        }}"#,
        up.display(),
        down.display()
    ));
    let mut client = Client::connect_unix(&down).unwrap();
    talk(&mut client, &[b'x'; 50_000]);
}

#[test]
fn cases_go_by_addresses() {
    let echo = echo();
    let cases = r#"case $srcHost == "127.0.0.9" && $dstHost == "127.0.0.1" && $dstPort != "1" {
        tcpxProxy { .toBackend = "b" }
    }"#;
    let router = start(&config(&backend("b", echo.addr()), cases));
    let from = |last| IpAddr::from([127, 0, 0, last]);
    talk(&mut Client::connect_from(from(9), router.addr()).unwrap(), b"ping");
    assert!(Client::connect_from(from(8), router.addr()).unwrap().expect_close().is_ok());
    assert_eq!(counter(&router, "conns_unmatched"), 1);
}

#[test]
fn cases_go_by_what_is_said_first() {
    let nodes = ["http", "ssh", "redis", "pgsql", "mysql", "other"];
    let greeters: Vec<_> = nodes.iter().map(|_| echo()).collect();
    let mut stage = String::new();
    let mut cases = String::new();
    for (name, echo) in nodes.iter().zip(&greeters) {
        stage += &backend(name, echo.addr());
        let name_in_condition = if *name == "other" { "" } else { name };
        cases += &format!(
            "case \"{name}\" $protocol == \"{name_in_condition}\" {{ tcpxProxy {{ .toBackend = \"{name}\" }} }}\n"
        );
    }
    let router = start(&config(&stage, &format!(".peekTimeout = 300ms {cases}")));
    let accepted = |at: usize| counter(&greeters[at], "conns_accepted");
    for (at, first) in [
        (0, &b"GET / HTTP/1.1\r\n\r\n"[..]),
        (1, b"SSH-2.0-x\r\n"),
        (2, b"*1\r\n$4\r\nPING\r\n"),
        (3, b"\0\0\0\x08\x04\xd2\x16\x2f"),
        (5, b"EHLO x\r\n"),
    ] {
        let mut client = router.connect();
        // However slowly it comes.
        client.send(&first[..1]).unwrap();
        client.send(&first[1..]).unwrap();
        assert_eq!(client.read_exact(first.len()).unwrap(), first);
        assert_eq!(accepted(at), 1, "{}", nodes[at]);
    }
    // Who says nothing waits for the server.
    let silent = router.connect();
    assert!(eventually(Duration::from_secs(10), || accepted(4) == 1));
    drop(silent);
}

#[test]
fn who_is_denied_is_closed_and_lists_are_read_again() {
    let dir = TempDir::new().unwrap();
    let file = dir.write("deny.txt", "127.0.0.8 # no more\n").unwrap();
    let echo = echo();
    let cases = format!(
        "case {{ accessDealet {{ .denyFile = \"{}\" }}  tcpxProxy {{ .toBackend = \"b\" }} }}",
        file.display()
    );
    let router = start(&config(&backend("b", echo.addr()), &cases));
    let passes = |last| {
        let mut client = Client::connect_from([127, 0, 0, last].into(), router.addr()).unwrap();
        client.send("ping").is_ok() && client.read_exact(4).is_ok()
    };
    assert!(passes(7) && !passes(8));
    dir.write("deny.txt", "127.0.0.7\n").unwrap();
    assert!(eventually(Duration::from_secs(20), || !passes(7) && passes(8)));
}

#[test]
fn there_are_no_more_connections_than_there_may_be() {
    let echo = echo();
    let limited = |limit: &str| {
        let case =
            format!("case {{ limitDealet {{ {limit} }}  tcpxProxy {{ .toBackend = \"b\" }} }}");
        start(&config(&backend("b", echo.addr()), &case))
    };
    let connect = |router: &Running, last| {
        let mut client = Client::connect_from([127, 0, 0, last].into(), router.addr()).unwrap();
        let passes = client.send("ping").is_ok() && client.read_exact(4).is_ok();
        passes.then_some(client)
    };
    let router = limited(".concurrent = 2");
    let first = connect(&router, 2).unwrap();
    let _second = connect(&router, 2).unwrap();
    assert!(connect(&router, 2).is_none());
    let _other = connect(&router, 3).unwrap();
    drop(first);
    assert!(eventually(Duration::from_secs(10), || connect(&router, 2).is_some()));

    let router = limited(".total = 2");
    let _both = [connect(&router, 2).unwrap(), connect(&router, 3).unwrap()];
    assert!(connect(&router, 4).is_none());

    let router = limited(".rate = 2  .per = 1h");
    assert!(connect(&router, 2).is_some() && connect(&router, 2).is_some());
    assert!(connect(&router, 2).is_none());
    assert!(connect(&router, 3).is_some());
}

#[test]
fn bandwidth_is_what_there_may_be() {
    let echo = echo();
    let router = router_to(echo.addr(), ".bandwidth = 64K");
    let began = clock::now();
    let mut client = router.connect().with_timeout(Duration::from_secs(60));
    talk(&mut client, &[b'x'; 320 << 10]);
    let took = clock::now().since(began);
    // What may pass at once, and a last piece, do not have to wait.
    assert!(took >= Duration::from_millis(900), "{took:?}");
}

#[test]
fn a_log_has_a_line_for_each_connection() {
    let dir = TempDir::new().unwrap();
    let (file, echo) = (dir.path().join("net.log"), echo());
    let stage = format!(
        r#"simpleLogger "log" {{ .target = "{}"  .format = $router + " " + $case + " " + $srcHost
            + " " + $bytesReceived + " " + $bytesSent + " " + $reason + " " + $node }} {}"#,
        file.display(),
        backend("b", echo.addr())
    );
    let cases = r#".useLogger = "log"
        case "nobody" $srcHost == "127.0.0.8" { accessDealet { .allow = ("127.0.0.1") } }
        case "all" { tcpxProxy { .toBackend = "b" } }"#;
    let router = start(&config(&stage, cases));
    let mut client = router.connect();
    talk(&mut client, b"ping");
    drop(client);
    assert!(eventually(Duration::from_secs(10), || router.server().active() == 0));
    let _ = Client::connect_from([127, 0, 0, 8].into(), router.addr()).unwrap().expect_close();
    router.quit();
    let text = std::fs::read_to_string(file).unwrap();
    // Cores write on their own.
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let passed = format!("main all 127.0.0.1 4 4 done {}", echo.addr());
    assert_eq!(lines, [&*passed, "main nobody 127.0.0.8 0 0 denied -"]);
}

#[test]
fn mistakes_are_found_by_check() {
    let node = "node { .address = \"127.0.0.1:1\" }";
    for (stage, expected) in [
        (config("", "case $serverNam == \"a\" {}"), "did you mean `$serverName`?"),
        (config("", "case $path -f {}"), "cannot test files"),
        (config("", "case { limitDealet {} }"), "limits nothing"),
        (config("", "case { tcpxProxy { .toBackend = \"x\" } }"), "x"),
        (config("", ".tlsMode = true"), "there is no certificate"),
        (format!("tcpxBackend \"b\" {{ {node} }}"), "b"),
    ] {
        let error = load(1, &format!("stage {{ {stage} }}")).err().unwrap().to_string();
        assert!(error.contains(expected), "{stage}: {error}");
    }
}
