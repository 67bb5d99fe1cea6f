//! The servers `echoServer` and `discardServer`.

use std::thread;
use std::time::Duration;

use hemi_test::TempDir;
use hemi_test::raw::Client;

use crate::server::{Running, load};

fn echo(address: &str) -> Running {
    small("echoServer", address)
}

fn small(sign: &str, address: &str) -> Running {
    let config = format!("stage {{ {sign} \"main\" {{ .address = \"{address}\" }} }}");
    load(2, &config).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn bytes_come_back() {
    let server = echo("127.0.0.1:0");
    let mut client = server.connect();
    for piece in ["a", "hello\0\n", &"x".repeat(100_000)] {
        client.send(piece).unwrap();
        assert_eq!(client.read_exact(piece.len()).unwrap(), piece.as_bytes());
    }
}

#[test]
fn all_that_was_sent_before_a_half_close_comes_back() {
    let server = echo("127.0.0.1:0");
    let mut client = server.connect();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    client.send(&bytes).unwrap();
    client.finish().unwrap();
    assert!(client.read_to_end().unwrap() == bytes, "other bytes");
}

#[test]
fn a_unix_socket_serves_the_same_and_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("echo.sock");
    let server = echo(path.to_str().unwrap());
    let mut client = Client::connect_unix(&path).unwrap();
    client.send("ping").unwrap();
    client.finish().unwrap();
    assert_eq!(client.read_to_end().unwrap(), b"ping");
    server.quit();
    assert!(!path.exists());
}

#[test]
fn a_drain_ends_who_is_silent() {
    let server = echo("127.0.0.1:0");
    let mut silent = server.connect();
    silent.send("ping").unwrap();
    assert_eq!(silent.read_exact(4).unwrap(), b"ping");
    // Longer than the test waits for the client, and shorter than the drain may take.
    let mut silent = silent.with_timeout(Duration::from_secs(60));
    let closed = thread::spawn(move || silent.expect_close());
    server.quit();
    closed.join().unwrap().unwrap();
}

#[test]
fn silence_ends_after_the_idle_timeout() {
    let config = r#"stage { echoServer "main" { .address = "127.0.0.1:0"  .idleTimeout = 20ms } }"#;
    let server = load(1, config).unwrap();
    server.connect().expect_close().unwrap();
}

#[test]
fn what_is_discarded_is_taken_and_nothing_is_said() {
    let server = small("discardServer", "127.0.0.1:0");
    let mut client = server.connect().with_timeout(Duration::from_secs(60));
    // More than the system would keep.
    client.send(vec![b'x'; 40 << 20]).unwrap();
    client.finish().unwrap();
    assert!(client.read_to_end().unwrap().is_empty());
    let mut silent = server.connect();
    silent.send("ping").unwrap();
    let silent = silent.with_timeout(Duration::from_secs(60));
    let closed = thread::spawn(move || {
        let mut silent = silent;
        silent.expect_close()
    });
    server.quit();
    closed.join().unwrap().unwrap();
}
