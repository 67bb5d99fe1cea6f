//! Which node answers when one of them fails.

use std::time::Duration;

use hemi_test::eventually;

use super::{nowhere, proxy_to};
use crate::server::site;
use crate::upstream::{Act, Upstream, answer};

#[test]
fn another_node_answers_if_the_request_may_be_repeated() {
    let good = Upstream::start(|_| answer("200 OK", &[], ""));
    // Nobody has seen it there.
    let server = proxy_to(&[nowhere(), good.addr()], ".maxFailures = 0", "");
    for method in ["GET", "POST", "GET", "POST"] {
        assert_eq!(server.ask(method, "/", &["content-length: 0"]).status, 200, "{method}");
    }
    // It may have been acted upon.
    let closing = Upstream::start(|_| Act::AnswerAndClose(Vec::new()));
    let server = proxy_to(&[closing.addr(), good.addr()], ".maxFailures = 0", "");
    let statuses = |method: &str| {
        let ask = |_| server.ask(method, "/", &["content-length: 0"]).status;
        let mut all: Vec<_> = (0..4).map(ask).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(statuses("PUT"), [200; 4]);
    assert_eq!(statuses("POST"), [200, 200, 502, 502]);
    let server = proxy_to(&[closing.addr(), closing.addr()], "", ".maxTries = 1");
    assert_eq!(server.get("/").status, 502);
}

#[test]
fn a_node_that_fails_gets_no_requests() {
    let good = Upstream::start(|_| answer("200 OK", &[], ""));
    let closing = Upstream::start(|_| Act::AnswerAndClose(Vec::new()));
    let server = proxy_to(&[closing.addr(), good.addr()], ".maxFailures = 2", "");
    for _ in 0..10 {
        assert_eq!(server.get("/").status, 200);
    }
    assert_eq!(closing.connections(), 2);
}

#[test]
fn a_node_that_is_checked_to_be_down_gets_no_requests() {
    let good = Upstream::start(|_| answer("200 OK", &[], ""));
    let check = "tcpCheck { .interval = 50ms  .fall = 1 }  .maxFailures = 0";
    let server = proxy_to(&[nowhere()], check, "");
    assert!(eventually(Duration::from_secs(10), || server.get("/").status == 503));
    let server = proxy_to(&[good.addr()], check, "");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn content_is_sent_again_as_far_as_it_is_kept() {
    let good = site("", "rule { mirror {} }");
    let closing = Upstream::start(|_| Act::AnswerAndClose(Vec::new()));
    let nodes = [closing.addr(), good.addr()];
    let server = proxy_to(&nodes, ".maxFailures = 0", ".maxReplaySize = 100K");
    let put = |content: &[u8], framing: &str| {
        let mut client = server.connect();
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).unwrap();
        client.send(content).unwrap();
        client.read_response().unwrap()
    };
    for _ in 0..4 {
        let reply = put(&[b'x'; 50_000], "Content-Length: 50000");
        assert_eq!((reply.status, reply.body.len()), (200, 50_000));
        assert_eq!(put(b"3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked").text(), "abc");
    }
}

#[test]
fn another_node_may_answer_better() {
    let good = Upstream::start(|_| answer("200 OK", &[], "good"));
    let busy = Upstream::start(|_| answer("503 Busy", &[], "busy"));
    let server = proxy_to(&[busy.addr(), good.addr()], ".maxFailures = 0", r#".retryOn = ("503")"#);
    for _ in 0..4 {
        assert_eq!(server.get("/").text(), "good");
    }
    let statuses: Vec<_> =
        (0..4).map(|_| server.ask("POST", "/", &["content-length: 0"]).status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    // There is no better one: what it says is passed on.
    let server = proxy_to(&[busy.addr(), busy.addr()], "", r#".retryOn = ("connect", "5xx")"#);
    assert_eq!(server.get("/").text(), "busy");
    let closing = Upstream::start(|_| Act::AnswerAndClose(Vec::new()));
    let nodes = [closing.addr(), good.addr()];
    let server = proxy_to(&nodes, ".maxFailures = 0", r#".retryOn = ("connect")"#);
    let statuses: Vec<_> = (0..4).map(|_| server.get("/").status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&502), "{statuses:?}");
}
