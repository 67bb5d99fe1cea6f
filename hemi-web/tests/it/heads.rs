//! Heads of requests: versions, targets, hosts, methods, limits.

use std::time::Duration;

use crate::site::{Site, ask};

/// What happens to the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Open,
    Closed,
}
use Then::{Closed, Open};

#[rustfmt::skip]
const REQUESTS: &[(&str, u16, &str, Then)] = &[
    // request, status, content ("" is not looked at), connection
    // versions and persistence
    ("GET /now HTTP/1.1\r\nhost: x\r\n\r\n", 200, "now", Open),
    ("GET /now HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200, "now", Closed),
    ("GET /now HTTP/1.1\r\nhost: x\r\nconnection: foo, Close\r\n\r\n", 200, "now", Closed),
    ("GET /now HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n", 200, "now", Open),
    ("GET /now HTTP/1.0\r\n\r\n", 200, "now", Closed),
    ("GET /now HTTP/1.0\r\nhost: x\r\n\r\n", 200, "now", Closed),
    ("GET /now HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", 200, "now", Open),
    ("GET /now HTTP/1.0\r\nconnection: close, keep-alive\r\n\r\n", 200, "now", Closed),
    ("POST /read HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nab", 200, "2 bytes", Open),
    ("POST /read HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.2\r\nhost: x\r\n\r\n", 505, "", Closed),
    ("GET /now HTTP/2.0\r\nhost: x\r\n\r\n", 505, "", Closed),
    ("GET /now HTTP/0.9\r\nhost: x\r\n\r\n", 505, "", Closed),
    ("GET /now http/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /now\r\n\r\n", 400, "", Closed),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "", Closed),
    // request lines
    ("\r\n\r\nGET /now HTTP/1.1\r\nhost: x\r\n\r\n", 200, "now", Open),
    ("\r\n\r\n\r\nGET /now HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET  /now HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    (" GET /now HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET\t/now HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1 \r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\nhost: x\n\n", 400, "", Closed),
    ("GET /n\x00w HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400, "", Closed),
    // targets
    ("GET http://y:81/host HTTP/1.1\r\nhost: x\r\n\r\n", 200, "y:81", Open),
    ("GET HTTP://Y/host HTTP/1.1\r\nhost: x\r\n\r\n", 200, "y", Open),
    ("GET http:///host HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET http://a@y/host HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET ftp://y/host HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET now HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET * HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /now#part HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /n%6fw HTTP/1.1\r\nhost: x\r\n\r\n", 200, "now", Open),
    ("GET /a/../now HTTP/1.1\r\nhost: x\r\n\r\n", 200, "now", Open),
    ("GET /../now HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /%2e%2e/now HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /n%zzw HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /n%00w HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /n%ffw HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", 200, "", Open),
    // hosts
    ("GET /now HTTP/1.1\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\r\nhost:\r\n\r\n", 200, "now", Open),
    ("GET /host HTTP/1.1\r\nhost: X.Test:8080\r\n\r\n", 200, "x.test:8080", Open),
    ("GET /host HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", 200, "[::1]:80", Open),
    ("GET /now HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\r\nhost: x, y\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\r\nhost: x y\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\r\nhost: a@x\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\r\nhost: x/y\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\r\nhost: x:99999\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\r\nhost: x:8a\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\r\nhost: [::1\r\n\r\n", 400, "", Closed),
    ("GET /now HTTP/1.1\r\nhost: http://x\r\n\r\n", 400, "", Closed),
    // methods
    ("BREW /now HTTP/1.1\r\nhost: x\r\n\r\n", 200, "now", Open),
    ("get /now HTTP/1.1\r\nhost: x\r\n\r\n", 200, "now", Open),
    ("G(T /now HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("TRACE /nothing HTTP/1.1\r\nhost: x\r\n\r\n", 404, "", Open),
    ("CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n", 501, "", Closed),
    ("CONNECT /now HTTP/1.1\r\nhost: x\r\n\r\n", 400, "", Closed),
    ("CONNECT x:443 HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", 400, "", Closed),
    // a status that is no answer
    ("GET /status/103 HTTP/1.1\r\nhost: x\r\n\r\n", 500, "", Open),
    ("GET /status/101 HTTP/1.1\r\nhost: x\r\n\r\n", 500, "", Open),
];

#[test]
fn requests_and_their_answers() {
    let site = Site::with("");
    for &(request, status, content, then) in REQUESTS {
        let mut client = site.connect();
        client.send(request).unwrap();
        let reply = client.read_response().unwrap_or_else(|e| panic!("{request:?}: {e}"));
        assert_eq!(reply.status, status, "{request:?}");
        if !content.is_empty() {
            assert_eq!(reply.text(), content, "{request:?}");
        }
        assert_eq!(reply.header("connection") == Some("close"), then == Closed, "{request:?}");
        match then {
            Open => assert_eq!(ask(&mut client, "GET", "/now").0, 200, "{request:?}"),
            Closed => client.expect_close().unwrap_or_else(|e| panic!("{request:?}: {e}")),
        }
    }
}

/// What is asked of the server as such, no rule answers (RFC 9110, 9.3.7).
#[test]
fn what_the_server_can_do_is_asked_of_itself() {
    let rule = "rule { .returnCode = 404 }";
    let webapp = format!("webapp \"a\" {{ .hostnames = (\"a.test\")  {rule} }}");
    let server = "httpxServer \"main\" { .address = \"127.0.0.1:0\"  .webapps = (\"a\") }";
    let site = Site::of(&format!("stage {{ {webapp} {server} }}"));
    let mut client = site.connect();
    for host in ["a.test", "b.test"] {
        client.send(format!("OPTIONS * HTTP/1.1\r\nhost: {host}\r\n\r\n")).unwrap();
        let reply = client.read_response().unwrap();
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("0")), "{host}");
        assert_eq!(ask(&mut client, "OPTIONS", "/").0, 404);
    }
}

#[test]
fn a_client_of_http_1_0_is_told_when_it_may_go_on() {
    let site = Site::with("");
    let mut client = site.connect();
    client.send("GET /now HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().header("connection"), Some("keep-alive"));
    // An answer of unknown length ends with the connection.
    client.send("GET /stream/2/3 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").unwrap();
    let reply = client.read_response().unwrap();
    assert_eq!((reply.text().as_str(), reply.closed), ("xxxxxx", true));
    assert_eq!(reply.header("transfer-encoding"), None);
    assert_eq!(reply.header("connection"), Some("close"));
}

#[test]
fn limits_on_heads() {
    let site = Site::with(".maxHeadSize = 4K  .maxTargetSize = 1K  .maxFields = 10");
    let long = "a".repeat(2000);
    let huge = "a".repeat(1 << 20);
    let many: String = (0..11).map(|n| format!("x-{n}: y\r\n")).collect();
    let requests = [
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), 414),
        (format!("GET /{huge} HTTP/1.1\r\nhost: x\r\n\r\n"), 414),
        (format!("GET /{huge}"), 414),
        (format!("GET /now HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431),
        (
            format!("GET /now HTTP/1.1\r\nhost: x\r\na: {long}\r\nb: {long}\r\nc: {long}\r\n\r\n"),
            431,
        ),
        (format!("GET /now HTTP/1.1\r\nhost: x\r\na: {huge}\r\n\r\n"), 431),
        (format!("GET /now HTTP/1.1\r\nhost: x\r\n{huge}: a\r\n\r\n"), 431),
        (format!("{} /now HTTP/1.1\r\nhost: x\r\n\r\n", "M".repeat(100)), 501),
        ("\r\n".repeat(100_000), 400),
        ("GET /now HTTP/1.1\r\nhost: x\r\n".to_owned() + &"a: b\r\n".repeat(100_000), 431),
        ("\u{1}".repeat(1 << 20), 400),
    ];
    for (request, status) in &requests {
        let start = &request[..request.len().min(40)];
        let mut client = site.connect();
        client.send(request).unwrap_or_else(|e| panic!("{start:?}: {e}"));
        let reply = client.read_response().unwrap_or_else(|e| panic!("{start:?}: {e}"));
        assert_eq!(reply.status, *status, "{start:?}");
        client.expect_close().unwrap_or_else(|e| panic!("{start:?}: {e}"));
    }
    let counted = ["target_size", "fields", "head_size", "bad_head"].map(|n| site.counter(n));
    assert_eq!(counted, [3, 2, 3, 3]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = Site::with("");
    let mut client = site.connect();
    let paths = ["/now", "/wait/1", "/stream/2/2", "/status/404", "/now", "/echo", "/now"];
    let requests = paths.map(|path| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).concat();
    client.send(requests).unwrap();
    for text in ["now", "waited", "xxxx", "text", "now", "", "now"] {
        assert_eq!(client.read_response().unwrap().text(), text);
    }
}

#[test]
fn the_answers_of_a_batch_leave_together() {
    let site = Site::with("");
    let mut client = site.connect();
    client.send("GET /now HTTP/1.1\r\nhost: x\r\n\r\n".repeat(16)).unwrap();
    let answers = String::from_utf8(client.read_some().unwrap()).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 16, "{answers}");
}

#[test]
fn an_answer_does_not_wait_for_a_later_one() {
    let site = Site::with("");
    let mut client = site.connect();
    client.send("GET /now HTTP/1.1\r\nhost: x\r\n\r\nPOST /read HTTP/1.1\r\nhost: x\r\n").unwrap();
    client.send("content-length: 3\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "now");
    client.send("abcGET /wait/600000 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "3 bytes");
}

#[test]
fn pipelined_requests_whose_answers_are_not_read_are_held_back() {
    let site = Site::with(".maxRequestsPerConn = 1000000000");
    let mut client = site.connect().with_timeout(Duration::from_millis(500));
    let batch = "GET /host HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    // The system's own buffers take some; then the server does not read on.
    let sent = (0..2000).take_while(|_| client.send(&batch).is_ok()).count();
    assert!(sent < 2000, "all was taken");
    site.expect_alive();
}

#[test]
fn a_limit_beyond_all_memory_is_no_harm() {
    let huge = i64::MAX;
    let site =
        Site::with(&format!(".maxHeadSize = {huge}  .maxTargetSize = {huge}  .maxFields = {huge}"));
    assert_eq!(ask(&mut site.connect(), "GET", "/now").1, "now");
}
