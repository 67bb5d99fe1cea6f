//! Content of requests: read, not read, too long, expected, and sent back.

use std::thread;
use std::time::Duration;

use hemi_test::raw::Client;

use crate::site::{PATIENCE, Site, ask};

const CHUNKED: &str = "HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn content_and_trailers_reach_the_handlet() {
    let site = Site::with("");
    let mut client = site.connect();
    #[rustfmt::skip]
    let rows: &[(String, &str)] = &[
        ("HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc".to_owned(), "3 bytes"),
        ("HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_owned(), "0 bytes"),
        ("HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "0 bytes"),
        (format!("{CHUNKED}0\r\n\r\n"), "0 bytes"),
        (format!("{CHUNKED}3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n"), "13 bytes"),
        (format!("{CHUNKED}3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n"), "3 bytes, {\"x-sum\": \"6\"}"),
    ];
    for (rest, text) in rows {
        client.send(format!("POST /read {rest}")).unwrap();
        assert_eq!(client.read_response().unwrap().text(), *text, "{rest:?}");
        // Byte by byte it is the same.
        for byte in format!("POST /read {rest}").bytes() {
            client.send([byte]).unwrap();
        }
        assert_eq!(client.read_response().unwrap().text(), *text, "{rest:?}");
    }
}

#[test]
fn content_that_nobody_reads() {
    let site = Site::with("");
    let small = format!("content-length: 1000\r\n\r\n{}", "x".repeat(1000));
    let chunked = "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned();
    let large = format!("content-length: 200000\r\n\r\n{}", "x".repeat(200_000));
    for path in ["/ignore", "/nothing", "/stream/2/3"] {
        for content in [&small, &chunked] {
            let mut client = site.connect();
            client.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\n{content}")).unwrap();
            assert_eq!(client.read_response().unwrap().header("connection"), None, "{path}");
            assert_eq!(ask(&mut client, "GET", "/now").1, "now", "{path}");
        }
        // What is long is not worth the reading, but the answer arrives.
        let mut client = site.connect();
        client.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\n{large}")).unwrap();
        assert_eq!(client.read_response().unwrap().header("connection"), Some("close"), "{path}");
        client.expect_close().unwrap();
    }
}

#[test]
fn content_that_comes_after_the_answer_is_dropped() {
    let site = Site::with("");
    let mut client = site.connect();
    client.send("POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "ignored");
    client.send("x".repeat(1000)).unwrap();
    assert_eq!(ask(&mut client, "GET", "/now").1, "now");
    client.send(format!("POST /ignore {CHUNKED}")).unwrap();
    assert_eq!(client.read_response().unwrap().text(), "ignored");
    client.send("3\r\nabc\r\n0\r\n\r\n").unwrap();
    assert_eq!(ask(&mut client, "GET", "/now").1, "now");
}

#[test]
fn chunks_after_the_answer_that_are_none_or_too_many_end_the_connection() {
    let site = Site::with("");
    let many = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(32);
    for chunks in ["5\nabcde", &many] {
        let mut client = site.connect();
        client.send(format!("POST /ignore {CHUNKED}")).unwrap();
        assert_eq!(client.read_response().unwrap().text(), "ignored");
        client.send(format!("{chunks}0\r\n\r\nGET /now HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        client.expect_close().unwrap();
    }
    assert_eq!(site.counter("requests"), 2);
}

#[test]
fn an_expected_100_is_sent_when_the_content_is_asked_for() {
    let site = Site::with("");
    let head = "HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let mut client = site.connect();
    client.send(format!("POST /read {head}")).unwrap();
    assert_eq!(client.read_response().unwrap().status, 100);
    client.send("abc").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "3 bytes");
    // Who does not wait needs none.
    client.send(format!("POST /read {head}abc")).unwrap();
    assert_eq!(client.read_response().unwrap().text(), "3 bytes");
    // Where it is not asked for, whether it comes is not known.
    client.send(format!("POST /ignore {head}")).unwrap();
    let reply = client.read_response().unwrap();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    client.expect_close().unwrap();
    // HTTP/1.0 knows of no 100.
    let mut client = site.connect();
    client.send(format!("POST /read {}", head.replace("1.1", "1.0"))).unwrap();
    client.send("abc").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "3 bytes");
}

/// A site whose webapp takes 100,000 bytes at most.
fn narrow() -> Site {
    Site::of(
        r#"stage {
            webapp "narrow" { .hostnames = ("*")  .maxBodySize = 100000  rule { probe {} } }
            httpxServer "main" { .address = "127.0.0.1:0"  .webapps = ("narrow") }
        }"#,
    )
}

#[test]
fn content_that_is_too_long_is_refused_and_the_client_can_read_why() {
    let site = narrow();
    let piece = vec![b'x'; 1 << 20];
    for head in ["content-length: 33554432", "transfer-encoding: chunked"] {
        let mut client = site.connect().with_timeout(PATIENCE);
        client.send(format!("POST /read HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n")).unwrap();
        // The client sends all of it before it looks.
        for _ in 0..32 {
            if head.starts_with('t') {
                client.send("100000\r\n").unwrap();
            }
            client.send(&piece).unwrap();
            if head.starts_with('t') {
                client.send("\r\n").unwrap();
            }
        }
        let reply = client.read_response().unwrap();
        assert_eq!((reply.status, reply.header("connection")), (413, Some("close")), "{head}");
        client.expect_close().unwrap();
    }
    assert_eq!(site.counter("body_size"), 2);
    // A 100 would only make it send.
    let mut client = site.connect();
    let head = "content-length: 100001\r\nexpect: 100-continue";
    client.send(format!("POST /read HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n")).unwrap();
    assert_eq!(client.read_response().unwrap().status, 413);
}

#[test]
fn content_of_just_the_limit_is_taken() {
    let site = narrow();
    let mut client = site.connect();
    let content = "x".repeat(100_000);
    for rest in [
        format!("content-length: 100000\r\n\r\n{content}"),
        format!("transfer-encoding: chunked\r\n\r\n186a0\r\n{content}\r\n0\r\n\r\n"),
    ] {
        client.send(format!("POST /read HTTP/1.1\r\nhost: x\r\n{rest}")).unwrap();
        assert_eq!(client.read_response().unwrap().text(), "100000 bytes");
    }
}

#[test]
fn content_is_sent_back_as_it_comes_and_the_connection_goes_on() {
    let site = Site::with("");
    for size in [1, 100, 20_000, 1_000_000] {
        let content: Vec<u8> = (0..size).map(|n: u32| n as u8).collect();
        let mut client = site.connect();
        let mut sized = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n")
            .into_bytes();
        sized.extend_from_slice(&content);
        let mut chunked = format!("POST /echo {CHUNKED}{size:x}\r\n").into_bytes();
        chunked.extend_from_slice(&content);
        chunked.extend_from_slice(b"\r\n0\r\nx-sum: 7\r\n\r\n");
        for (request, length) in [(sized, true), (chunked, false)] {
            client.send(request).unwrap();
            let reply = client.read_response().unwrap();
            assert!(reply.body == content, "{size}: {} bytes, or others", reply.body.len());
            assert_eq!(reply.header("content-length").is_some(), length, "{size}");
            assert_eq!(reply.trailers.len(), usize::from(!length), "{size}");
            assert_eq!(reply.header("connection"), None, "{size}");
        }
        assert_eq!(ask(&mut client, "GET", "/now").1, "now", "{size}");
    }
}

#[test]
fn back_pressure_bounds_what_is_held_in_memory() {
    let site = Site::with("");
    let mut client = site.connect().with_timeout(Duration::from_millis(500));
    client.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 67108864\r\n\r\n").unwrap();
    // Nobody reads the answer: when the system's own buffers are full, nothing more is taken.
    let piece = vec![b'x'; 64 << 10];
    let sent = (0..1024).take_while(|_| client.send(&piece).is_ok()).count();
    assert!(sent < 512, "{} MiB were taken", sent / 16);
    site.expect_alive();
}

#[test]
fn uploads_of_many_clients_do_not_mix() {
    let site = Site::with("");
    let addr = site.addr();
    let clients: Vec<_> = (0..16_u8)
        .map(|id| {
            thread::spawn(move || {
                let mut client = Client::connect(addr).unwrap().with_timeout(PATIENCE);
                let content = vec![id; 300_000];
                for _ in 0..5 {
                    let head = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n";
                    client.send(head).unwrap();
                    client.send(&content).unwrap();
                    assert!(client.read_response().unwrap().body == content);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}
