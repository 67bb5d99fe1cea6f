//! Who a client is and where it wanted to go, when that is known from a proxy in front, and told to nodes.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use hemi_test::eventually;
use hemi_test::raw::Client;

use super::{config, counter, echo, start, talk};

/// A backend with these properties.
fn told(properties: &str, node: SocketAddr) -> String {
    format!("tcpxBackend \"b\" {{ {properties}  node {{ .address = \"{node}\" }} }}")
}

const PASS: &str = "case { tcpxProxy { .toBackend = \"b\" } }";

#[test]
fn cases_go_by_what_a_proxy_in_front_says() {
    let echo = echo();
    let cases = r#".proxyProtocolFrom = ("127.0.0.1")
        case $srcHost == "192.0.2.1" && $srcPort == "4000" && $dstHost == "198.51.100.2" && $dstPort == "443" {
            tcpxProxy { .toBackend = "b" }
        }"#;
    let router = start(&config(&told("", echo.addr()), cases));
    let mut client = router.connect();
    client.send("PROXY TCP4 192.0.2.1 198.51.100.2 4000 443\r\nfirst").unwrap();
    assert_eq!(client.read_exact(5).unwrap(), b"first");
    talk(&mut client, b"then");
    let mut other = router.connect();
    other.send("PROXY TCP4 192.0.2.1 198.51.100.3 4000 443\r\n").unwrap();
    let _ = other.expect_close();
    assert_eq!(counter(&router, "conns_unmatched"), 1);
}

#[test]
fn nodes_are_told_of_both_ends() {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = told(".proxyProtocol = \"v1\"", node.local_addr().unwrap());
    let router = start(&config(&backend, PASS));
    let ip = IpAddr::from([127, 0, 0, 9]);
    let mut client = Client::connect_from(ip, router.addr()).unwrap();
    client.send("ping\n").unwrap();
    let (stream, _) = node.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let line = lines.next().unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[..4], ["PROXY", "TCP4", "127.0.0.9", "127.0.0.1"], "{line}");
    assert_eq!(words[5], router.addr().port().to_string());
    assert_eq!(lines.next().unwrap(), "ping");
    // From router to router: the second one knows the client.
    let echo = echo();
    let cases = format!(
        ".proxyProtocolFrom = (\"127.0.0.1\")  case $srcHost == \"127.0.0.9\" && $dstPort != \"{}\" {{ tcpxProxy {{ .toBackend = \"b\" }} }}",
        router.addr().port()
    );
    let second = start(&config(&told("", echo.addr()), &cases));
    let first = start(&config(&told(".proxyProtocol = \"v2\"", second.addr()), PASS));
    talk(&mut Client::connect_from(ip, first.addr()).unwrap(), b"ping");
}

#[test]
fn connections_go_where_they_were_meant_to_go_and_not_round_in_circles() {
    let echo = echo();
    let properties = ".proxyProtocolFrom = (\"127.0.0.1\")";
    let router =
        start(&config("", &format!("{properties} case {{ tcpxProxy {{ .toOriginal = true }} }}")));
    let header = |to: SocketAddr| format!("PROXY TCP4 192.0.2.1 127.0.0.1 4000 {}\r\n", to.port());
    let mut client = router.connect();
    client.send(header(echo.addr())).unwrap();
    talk(&mut client, b"ping");
    let mut circle = router.connect();
    circle.send(header(router.addr())).unwrap();
    assert!(circle.read_some().map_or(true, |bytes| bytes.is_empty()));
    assert_eq!(counter(&router, "conns_accepted"), 2);
}

#[test]
fn a_proxy_has_one_place_to_pass_connections_to() {
    for proxy in ["", ".toBackend = \"b\"  .toOriginal = true"] {
        let backend = told("", "127.0.0.1:9".parse().unwrap());
        let stage = config(&backend, &format!("case {{ tcpxProxy {{ {proxy} }} }}"));
        let refused = crate::server::load(1, &format!("stage {{ {stage} }}")).err().unwrap();
        assert!(refused.to_string().contains("need one place to go to"), "{refused}");
    }
}

#[test]
fn ends_that_are_silent_are_asked_whether_they_are_there() {
    // That the kernel is told so, the system shows; what it makes of that takes longer than a test.
    let echo = echo();
    let backend = told(".keepAlive = 30s", echo.addr());
    let router = start(&config(&backend, &format!(".keepAlive = 20s  {PASS}")));
    let mut client = router.connect();
    talk(&mut client, b"ping");
    // A line of a connection: its number, both ends, its state, queues, and the timer, of which 2 is this one.
    let is_asked = |at: usize, port: u16| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().any(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            words.get(at).is_some_and(|end| end.ends_with(&format!(":{port:04X}")))
                && words.get(5).is_some_and(|timer| timer.starts_with("02:"))
        })
    };
    let soon = Duration::from_secs(30);
    assert!(eventually(soon, || is_asked(1, router.addr().port())), "of the client");
    assert!(eventually(soon, || is_asked(2, echo.addr().port())), "of the node");
}
