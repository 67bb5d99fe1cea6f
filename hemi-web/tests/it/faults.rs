//! Faults of handlets, clients and files: each ends alone.

use std::fs::File;

use hemi_test::{Site as Files, eventually};

use crate::site::{PATIENCE, Site, ask};

#[test]
fn a_panic_is_a_500_and_the_connection_goes_on() {
    let site = Site::with("");
    let mut client = site.connect();
    for (panics, path) in ["/panic", "/now/panic"].iter().enumerate() {
        assert_eq!(ask(&mut client, "GET", path).0, 500, "{path}");
        assert_eq!(ask(&mut client, "GET", "/now").1, "now", "{path}");
        assert_eq!(site.counter("panics"), panics as u64 + 1);
    }
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_answers() {
    let site = Site::with(".halfClosedTimeout = 1m");
    for paths in [&["/now"][..], &["/wait/50"], &["/stream/2/3"], &["/now", "/wait/50", "/now"]] {
        let mut client = site.connect();
        for path in paths {
            client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        }
        client.finish().unwrap();
        for path in paths {
            assert_eq!(client.read_response().unwrap().status, 200, "{path}");
        }
        client.expect_close().unwrap();
    }
    site.expect_idle();
}

#[test]
fn answers_that_nobody_waits_for_are_given_up() {
    let site = Site::with("");
    for path in ["/wait/600000", "/never"] {
        let mut client = site.connect();
        // It has arrived when the one before it is answered.
        for path in ["/now", path] {
            client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        }
        assert_eq!(client.read_response().unwrap().text(), "now");
        if path == "/never" {
            assert_eq!(client.read_response_to_head().unwrap().status, 200);
        }
        client.reset().unwrap();
        site.expect_idle();
    }
}

#[test]
fn a_client_that_sends_no_more_is_not_waited_for_long() {
    let site = Site::with(".halfClosedTimeout = 50ms");
    for (path, begins) in [("/wait/600000", ""), ("/never", "HTTP/1.1 200 ")] {
        let mut client = site.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        client.finish().unwrap();
        let got = client.read_to_end().unwrap();
        assert!(got.starts_with(begins.as_bytes()) && got.is_empty() == begins.is_empty());
        site.expect_idle();
    }
    site.expect_counter("half_closed_timeout", 2);
}

#[test]
fn clients_that_reset_their_connections_leave_nothing_behind() {
    let site = Site::with("");
    let requests = [
        "",
        "GET /n",
        "GET /now HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /wait/20 HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /stream/1000/1000 HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc",
    ];
    for request in requests.iter().cycle().take(700) {
        let mut client = site.connect();
        client.send(request).unwrap();
        client.reset().unwrap();
    }
    site.expect_idle();
    site.expect_alive();
}

#[test]
fn a_file_that_becomes_shorter_while_it_is_sent_is_cut_and_not_padded() {
    let site = Site::with("");
    let files = Files::new().unwrap().sparse_file("f", 256 << 20).unwrap();
    let path = files.root().join("f");
    let mut client = site.connect().with_timeout(PATIENCE);
    client.send(format!("GET /file{} HTTP/1.1\r\nhost: x\r\n\r\n", path.display())).unwrap();
    let head = String::from_utf8_lossy(&client.read_exact(200).unwrap()).into_owned();
    assert!(head.contains("content-length: 268435456"), "{head}");
    File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let rest = client.read_to_end().unwrap();
    assert!(rest.len() < 256 << 20, "{} bytes", rest.len());
    site.expect_idle();
    site.expect_alive();
}

#[test]
fn a_busy_client_does_not_keep_others_from_their_turn() {
    let site = Site::with("");
    let addr = site.addr();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = hemi_test::raw::Client::connect(addr).unwrap();
                let batch = "GET /now HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    client.send(&batch).unwrap();
                    for _ in 0..64 {
                        client.read_response().unwrap();
                    }
                }
            });
        }
        for _ in 0..50 {
            site.expect_alive();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let site = Site::with(".maxConns = 4");
    let mut first: Vec<_> = (0..4).map(|_| site.connect()).collect();
    for client in &mut first {
        assert_eq!(ask(client, "GET", "/now").1, "now");
    }
    let mut waiting: Vec<_> = (0..4).map(|_| site.connect().with_timeout(PATIENCE)).collect();
    for client in &mut waiting {
        client.send("GET /now HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    }
    assert!(eventually(PATIENCE, || site.counter("conns_full") > 0));
    // Those within go on.
    for client in &mut first {
        assert_eq!(ask(client, "GET", "/now").1, "now");
    }
    assert_eq!(site.counter("requests"), 8);
    drop(first);
    for client in &mut waiting {
        assert_eq!(client.read_response().unwrap().text(), "now");
    }
}
