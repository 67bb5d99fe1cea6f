//! Answers: how their end is told, and what is left out.

use hemi_test::raw::Client;
use hemi_test::{Reply, Site as Files};

use crate::site::{Site, ask};

fn get(client: &mut Client, path: &str) -> Reply {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
    client.read_response().unwrap()
}

fn head(client: &mut Client, path: &str) -> Reply {
    client.send(format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
    client.read_response_to_head().unwrap()
}

/// Path, status, content-length, transfer-encoding, content.
type Row = (&'static str, u16, Option<&'static str>, Option<&'static str>, &'static str);

#[test]
fn lengths_and_codings() {
    let site = Site::with("");
    let mut client = site.connect();
    #[rustfmt::skip]
    let rows: &[Row] = &[
        ("/now", 200, Some("3"), None, "now"),
        ("/stream/2/3", 200, None, Some("chunked"), "xxxxxx"),
        ("/stream/0/0", 200, None, Some("chunked"), ""),
        ("/status/204", 204, None, None, ""),
        ("/status/304", 304, Some("4"), None, ""),
        ("/status/205", 205, Some("0"), None, ""),
        ("/status/599", 599, Some("4"), None, "text"),
        ("/length", 200, Some("0"), None, ""),
        ("/empty", 200, Some("0"), None, ""),
    ];
    for &(path, status, length, coding, content) in rows {
        let reply = get(&mut client, path);
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.header("content-length"), length, "{path}");
        assert_eq!(reply.header("transfer-encoding"), coding, "{path}");
        assert_eq!(reply.text(), content, "{path}");
        assert_eq!(reply.header_values("date").count(), 1, "{path}");
    }
}

#[test]
fn answers_to_head_have_no_content() {
    let site = Site::with("");
    let file = Files::new().unwrap().file("f", vec![b'x'; 100_000]).unwrap();
    let file = format!("/file{}/f", file.root().display());
    let mut client = site.connect();
    #[rustfmt::skip]
    let rows: &[(&str, u16, Option<&str>, Option<&str>)] = &[
        ("/now", 200, Some("3"), None),
        ("/big", 200, Some("67108864"), None),
        ("/length", 200, Some("1234"), None),
        ("/stream/2/3", 200, None, Some("chunked")),
        ("/empty", 200, None, None),
        ("/nothing", 404, None, None),
        (&file, 200, Some("100000"), None),
    ];
    for &(path, status, length, coding) in rows {
        let reply = head(&mut client, path);
        assert_eq!(reply.status, status, "{path}");
        if status == 200 {
            assert_eq!(reply.header("content-length"), length, "{path}");
        }
        assert_eq!(reply.header("transfer-encoding"), coding, "{path}");
    }
    // Had one of them had content, it would be here.
    assert_eq!(ask(&mut client, "GET", "/now"), (200, "now".to_owned()));
    client.send("HEAD /../x HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(client.read_response_to_head().unwrap().status, 400);
    client.expect_close().unwrap();
}

#[test]
fn trailers_come_behind_the_content() {
    let site = Site::with("");
    let mut client = site.connect();
    let reply = get(&mut client, "/trailers");
    assert_eq!(reply.text(), "xxxxxx");
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "6".to_owned())]);
    // To HTTP/1.0 they can't be sent.
    client.send("GET /trailers HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "xxxxxx");
}

#[test]
fn large_answers_come_whole() {
    let site = Site::with("");
    let content: Vec<u8> = (0..5_000_000_u32).flat_map(|n| (n as u8).to_ne_bytes()).collect();
    let files = Files::new().unwrap().file("f", &content).unwrap();
    let mut client = site.connect();
    let file = get(&mut client, &format!("/file{}/f", files.root().display()));
    assert!(file.body == content, "{} bytes, or others", file.body.len());
    assert_eq!(get(&mut client, "/big").body.len(), 64 << 20);
    assert_eq!(get(&mut client, "/stream/100/100000").body.len(), 10_000_000);
    assert_eq!(get(&mut client, "/now").text(), "now");
}

#[test]
fn an_answer_that_can_not_be_completed_never_looks_complete() {
    let site = Site::with("");
    for path in ["/fails", "/short", "/long", "/panic/streaming"] {
        for version in ["1.1", "1.0"] {
            let mut client = site.connect();
            client.send(format!("GET {path} HTTP/{version}\r\nhost: x\r\n\r\n")).unwrap();
            let reply = client.read_response();
            assert!(reply.is_err(), "{path} in {version}: {reply:?}");
        }
    }
    site.expect_counter("panics", 2);
    site.expect_idle();
    site.expect_alive();
}

#[test]
fn a_connection_serves_as_many_requests_as_it_may() {
    let site = Site::with(".maxRequestsPerConn = 3");
    let mut client = site.connect();
    // The client does not know of the limit and sends more.
    client.send("GET /now HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000_000)).unwrap();
    for last in [None, None, Some("close")] {
        assert_eq!(client.read_response().unwrap().header("connection"), last);
    }
    client.expect_close().unwrap();
    assert_eq!(site.counter("requests"), 3);
    assert_eq!(site.counter("requests_per_conn"), 1);
    // Of an answer that was prepared the limit is counted once too, and not if the client ends it.
    for (client_ends, count) in [("", 1), ("connection: close\r\n", 0)] {
        let site = Site::of(
            r#"stage {
                webapp "w" { .hostnames = ("*")  rule { .returnCode = 200  .returnText = "ok" } }
                httpxServer "main" {
                    .address = "127.0.0.1:0"  .webapps = ("w")  .maxRequestsPerConn = 1
                }
            }"#,
        );
        let mut client = site.connect();
        client.send(format!("GET / HTTP/1.1\r\nhost: x\r\n{client_ends}\r\n")).unwrap();
        assert_eq!(client.read_response().unwrap().header("connection"), Some("close"));
        client.expect_close().unwrap();
        assert_eq!(site.counter("requests_per_conn"), count);
    }
}

#[test]
fn a_connection_that_is_too_old_ends_with_an_answer() {
    let site = Site::with(".maxConnAge = 50ms");
    let mut client = site.connect();
    let mut closed = false;
    for _ in 0..100_000 {
        if get(&mut client, "/now").header("connection") == Some("close") {
            closed = true;
            break;
        }
    }
    assert!(closed);
    client.expect_close().unwrap();
    assert_eq!(site.counter("conn_age"), 1);
}
