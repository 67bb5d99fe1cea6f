//! Clients that would like the server to hold much.

use std::time::Duration;

use hemi_test::{Program, process};

use crate::cli::GOROX;
use crate::pong::{PATIENCE, ping, pong};

#[test]
fn answers_that_nobody_reads_are_not_gathered() {
    let gorox = Program::serve(GOROX, &pong(".maxRequestsPerConn = 1000000000")).unwrap();
    ping(&mut gorox.connect().unwrap());
    let before = process::resident_bytes(&gorox.pids());
    let batch = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(10_000);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = gorox.connect().unwrap().with_timeout(Duration::from_millis(100));
            let sent = (0..1000).take_while(|_| client.send(&batch).is_ok()).count();
            assert!(sent < 1000, "all was taken");
            client
        })
        .collect();
    let grown = process::resident_bytes(&gorox.pids()).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    ping(&mut gorox.connect().unwrap().with_timeout(PATIENCE));
    drop(clients);
}

#[test]
fn idle_connections_hold_little() {
    let gorox = Program::serve(GOROX, &pong("")).unwrap();
    let mut clients: Vec<_> = (0..100).map(|_| gorox.connect().unwrap()).collect();
    clients.iter_mut().for_each(ping);
    let before = process::resident_bytes(&gorox.pids());
    clients.extend((0..300).map(|_| gorox.connect().unwrap()));
    clients.iter_mut().for_each(ping);
    let grown = process::resident_bytes(&gorox.pids()).saturating_sub(before);
    assert!(grown < 300 * (8 << 10), "{} bytes each", grown / 300);
}
