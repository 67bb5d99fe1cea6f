//! Clients that are too slow, each cut at its limit and counted, while others are served.

use std::time::Duration;

use hemi_test::raw::Client;
use hemi_test::{Site as Files, eventually};

use crate::site::{PATIENCE, Site, ask};

const SHORT: Duration = Duration::from_millis(50);

/// Sends one piece after the other, with pauses, until the server answers or closes.
fn trickle(client: &mut Client, pieces: impl Iterator<Item = &'static str>) {
    for piece in pieces {
        if client.send(piece).is_err() || client.wait(SHORT) {
            return;
        }
    }
}

#[test]
fn a_silent_client_is_closed_without_an_answer() {
    // With and without the kernel holding it back until it speaks.
    for properties in [".headTimeout = 300ms  .deferAccept = 0s", ".headTimeout = 300ms"] {
        let site = Site::with(properties);
        let clients = [site.connect(), site.connect(), site.connect()];
        site.expect_alive();
        for client in clients {
            client.with_timeout(PATIENCE).expect_close().unwrap();
        }
        site.expect_counter("head_timeout", 3);
        site.expect_idle();
    }
}

#[test]
fn a_head_that_takes_too_long_in_all_gets_a_408() {
    let site = Site::with(".headTimeout = 400ms");
    // First of all, or behind requests of which the last takes a while.
    for first in [None, Some("/now"), Some("/wait/1")] {
        for rest in ["G", "GET /now HTTP/1.1\r\nhost: x\r\nx: ", "\r\n", "\r"] {
            let mut client = site.connect().with_timeout(PATIENCE);
            let before = first.map(|path| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
            client.send(before.unwrap_or_default() + rest).unwrap();
            if first.is_some() {
                assert_eq!(client.read_response().unwrap().status, 200);
            }
            let reply = client.read_response().unwrap_or_else(|e| panic!("{first:?}{rest:?}: {e}"));
            assert_eq!((reply.status, reply.header("connection")), (408, Some("close")));
            client.expect_close().unwrap();
        }
    }
    site.expect_counter("head_timeout", 12);
    // Each byte comes in time, but not all of them.
    let mut client = site.connect().with_timeout(PATIENCE);
    client.send("GET /now HTTP/1.1\r\nhost: x\r\nx: ").unwrap();
    trickle(&mut client, std::iter::repeat("y"));
    assert_eq!(client.read_response().unwrap().status, 408);
    site.expect_counter("head_timeout", 13);
    site.expect_alive();
}

#[test]
fn the_deadline_of_a_head_begins_with_it_and_not_with_an_answer_that_waits() {
    // The second head begins right behind a request that takes a while.
    let site = Site::with(".headTimeout = 600ms");
    for path in ["/wait/900", "/now/streamed"] {
        let mut client = site.connect().with_timeout(PATIENCE);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\nGET /now HT")).unwrap();
        assert_eq!(client.read_response().unwrap().status, 200, "{path}");
        client.send("TP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().text(), "now", "{path}");
        client.send("GET").unwrap();
        assert_eq!(client.read_response().unwrap().status, 408, "{path}");
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let site = Site::with(".idleTimeout = 300ms");
    for path in ["/now", "/wait/1", "/stream/2/3"] {
        let mut client = site.connect().with_timeout(PATIENCE);
        assert_eq!(ask(&mut client, "GET", path).0, 200);
        client.expect_close().unwrap();
    }
    site.expect_counter("idle_timeout", 3);
    site.expect_idle();
}

#[test]
fn content_that_stalls_or_trickles_gets_a_408() {
    let site = Site::with(".bodyTimeout = 400ms  .minRate = 1K  .rateGrace = 600ms");
    let length = "content-length: 100000\r\n\r\n";
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    for (head, piece) in [(length, "abc"), (chunked, "3\r\nabc\r\n"), (chunked, "1")] {
        for pieces in [1, usize::MAX] {
            let mut client = site.connect().with_timeout(PATIENCE);
            client.send(format!("POST /read HTTP/1.1\r\nhost: x\r\n{head}")).unwrap();
            trickle(&mut client, std::iter::repeat_n(piece, pieces));
            let reply = client.read_response();
            let status = reply.map(|reply| reply.status);
            // Sixteen digits of a size are one too many.
            let endless_size = piece == "1" && pieces > 1;
            assert!(
                matches!(status, Ok(408)) || endless_size && matches!(status, Ok(400)),
                "{head}{piece} {pieces}: {status:?}"
            );
            client.expect_close().unwrap();
        }
    }
    assert!(site.counter("body_timeout") >= 5);
    site.expect_alive();
}

#[test]
fn content_at_a_good_rate_may_take_its_time() {
    let site = Site::with(".bodyTimeout = 1s  .minRate = 100  .rateGrace = 300ms");
    let mut client = site.connect().with_timeout(PATIENCE);
    client.send("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n").unwrap();
    for _ in 0..20 {
        client.send("x".repeat(100)).unwrap();
        let _ = eventually(SHORT, || false);
    }
    assert_eq!(client.read_response().unwrap().text(), "2000 bytes");
}

#[test]
fn the_limits_on_content_are_not_limits_on_the_handlet() {
    let site = Site::with(".bodyTimeout = 200ms  .headTimeout = 200ms  .idleTimeout = 200ms");
    let mut client = site.connect().with_timeout(PATIENCE);
    client.send("POST /read/700 HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").unwrap();
    // So that the server has waited for content once.
    let _ = eventually(SHORT, || false);
    client.send("def").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "6 bytes");
    for path in ["/wait/700", "/now/streamed"] {
        let mut client = site.connect().with_timeout(PATIENCE);
        assert_eq!(ask(&mut client, "GET", path).0, 200, "{path}");
    }
}

#[test]
fn a_client_that_does_not_take_its_answer_is_cut() {
    let site = Site::with(".sendTimeout = 400ms");
    let files = Files::new().unwrap().sparse_file("f", 1 << 30).unwrap();
    let file = format!("/file{}/f", files.root().display());
    let paths = ["/big", "/stream/10000/10000", &file];
    let mut clients = paths.map(|path| {
        let mut client = site.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        client
    });
    site.expect_alive();
    site.expect_counter("send_timeout", 3);
    site.expect_idle();
    for client in &mut clients {
        assert!(client.read_response().is_err());
    }
}

#[test]
fn a_client_that_takes_its_answer_in_trickles_is_cut() {
    let site = Site::with(".sendTimeout = 20s  .minRate = 100M  .rateGrace = 400ms");
    let files = Files::new().unwrap().sparse_file("f", 1 << 30).unwrap();
    for path in ["/stream/10000/10000".to_owned(), format!("/file{}/f", files.root().display())] {
        let mut client = site.connect().with_timeout(PATIENCE);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        let cut = eventually(PATIENCE, || client.read_exact(1000).is_err());
        assert!(cut, "{path}");
    }
    site.expect_counter("send_timeout", 2);
    site.expect_alive();
}

#[test]
fn a_file_taken_at_a_good_rate_may_take_its_time() {
    let site = Site::with(".sendTimeout = 5s  .minRate = 1K  .rateGrace = 300ms");
    let files = Files::new().unwrap().sparse_file("f", 40 << 20).unwrap();
    let mut client = site.connect().with_timeout(PATIENCE);
    let path = format!("/file{}/f", files.root().display());
    client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
    for _ in 0..40 {
        client.read_exact(1 << 20).unwrap();
        let _ = eventually(SHORT, || false);
    }
    assert_eq!(site.counter("send_timeout"), 0);
}

#[test]
fn a_request_that_takes_too_long_in_all_is_cut() {
    let site = Site::with(".totalTimeout = 400ms");
    let requests = [
        "GET /wait/600000 HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nab",
        "GET /big HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    for (request, cut) in requests.iter().zip(1..) {
        let mut client = site.connect().with_timeout(PATIENCE);
        client.send(request).unwrap();
        site.expect_counter("total_timeout", cut);
        assert!(client.read_response().is_err(), "{request}");
    }
    site.expect_idle();
    // It begins anew with each request.
    let mut client = site.connect();
    for _ in 0..4 {
        assert_eq!(ask(&mut client, "GET", "/wait/150").1, "waited");
    }
}
