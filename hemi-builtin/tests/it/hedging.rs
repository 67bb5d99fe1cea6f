//! A second node is asked when the first takes long.

use std::sync::mpsc;
use std::time::Duration;

use hemi_core::metrics::{Exposition, Measures};
use hemi_test::eventually;

use crate::server::{Running, site_on};
use crate::upstream::{Act, Upstream, answer};

const PATIENCE: Duration = Duration::from_secs(60);

fn proxy(nodes: &[&Upstream], backend: &str, handlet: &str) -> Running {
    let nodes: String =
        nodes.iter().map(|n| format!("node {{ .address = \"{}\" }} ", n.addr())).collect();
    let stage = format!(
        "http1Backend \"b\" {{ .balancer = \"roundRobin\"  .maxFailures = 0  {backend} {nodes} }}"
    );
    site_on(1, &stage, &format!("rule {{ httpProxy {{ .toBackend = \"b\"  {handlet} }} }}"))
}

fn fast() -> Upstream {
    Upstream::start(|_| answer("200 OK", &[], "fast"))
}

fn silent() -> Upstream {
    Upstream::start(|_| Act::Wait)
}

fn measured(server: &Running, name: &str) -> f64 {
    let text = Measures::of(server.stage()).write(Exposition::Prometheus);
    let of_name = text.lines().filter(|line| line.starts_with(name));
    of_name.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[test]
fn who_answers_first_is_heard() {
    let (silent, fast) = (silent(), fast());
    let server = proxy(&[&silent, &fast], "", ".hedgeAfter = 1ms");
    for _ in 0..20 {
        assert_eq!(server.get("/").text(), "fast");
    }
    // A content that has come whole goes to both.
    let mut client = server.connect();
    for _ in 0..10 {
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").unwrap();
        assert_eq!(client.read_response().unwrap().text(), "fast");
    }
    assert!(silent.requests() > 0 && fast.requests() == 30);
    // Who was too slow is asked no more.
    let is_over =
        || silent.open_connections() == 0 && measured(&server, "hemi_backend_active") == 0.0;
    assert!(eventually(PATIENCE, is_over));
}

#[test]
fn the_first_may_still_win() {
    let (asked, waits) = mpsc::channel();
    let slow = Upstream::start(move |_| {
        waits.recv().unwrap();
        answer("200 OK", &[], "slow")
    });
    let second = Upstream::start(move |_| {
        asked.send(()).unwrap();
        Act::Wait
    });
    let server = proxy(&[&slow, &second], "", ".hedgeAfter = 1ms");
    assert_eq!(server.get("/").text(), "slow");
    assert_eq!((slow.requests(), second.requests()), (1, 1));
}

#[test]
fn one_of_both_may_fail() {
    for first in ["", "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"] {
        let (asked, waits) = mpsc::channel();
        let (failed, follows) = mpsc::channel();
        let fails = Upstream::start(move |_| {
            waits.recv().unwrap();
            failed.send(()).unwrap();
            Act::AnswerAndClose(first.into())
        });
        let second = Upstream::start(move |_| {
            asked.send(()).unwrap();
            follows.recv().unwrap();
            answer("200 OK", &[], "second")
        });
        let retry = ".retryOn = (\"broken\", \"503\")";
        let server = proxy(&[&fails, &second], "", &format!(".hedgeAfter = 1ms  {retry}"));
        assert_eq!(server.get("/").text(), "second");
        assert_eq!((fails.requests(), second.requests()), (1, 1));
    }
}

#[test]
fn what_may_not_be_done_twice_is_not() {
    let (silent, fast) = (silent(), fast());
    let nodes = [&silent, &fast];
    let server = proxy(&nodes, ".answerTimeout = 2s", ".hedgeAfter = 1ms");
    let ask = |method| server.ask(method, "/", &["content-length: 0"]).status;
    let mut statuses = [ask("POST"), ask("POST")];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504]);
    let alone = proxy(&nodes, ".answerTimeout = 2s", ".hedgeAfter = 1ms  .maxTries = 1");
    let mut statuses = [alone.get("/").status, alone.get("/").status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504]);
}

#[test]
fn the_budget_is_that_of_retries() {
    let slow = silent();
    let fast = fast();
    let server =
        proxy(&[&slow, &fast], ".retryBudget = 0  .answerTimeout = 20ms", ".hedgeAfter = 1ms");
    let refused = || {
        let status = server.get("/").status;
        assert!(status == 200 || status == 504, "{status}");
        measured(&server, "hemi_backend_retries_refused") > 0.0
    };
    assert!(eventually(PATIENCE, refused));
    assert!(measured(&server, "hemi_backend_retries_total") >= 100.0);
}
