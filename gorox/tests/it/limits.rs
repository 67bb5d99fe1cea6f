//! Too many connections: those that are served stay served, the others wait.

use std::time::Duration;

use hemi_test::process::CpuTime;
use hemi_test::raw::Client;
use hemi_test::{Program, eventually};

use crate::pong::{PATIENCE, ping, pong, with_few_files};

fn served(gorox: &Program, count: usize) -> Vec<Client> {
    let connect = || gorox.connect().unwrap().with_timeout(PATIENCE);
    let mut clients: Vec<_> = (0..count).map(|_| connect()).collect();
    clients.iter_mut().for_each(ping);
    clients
}

fn waiting(gorox: &Program, count: usize) -> Vec<Client> {
    let connect = || {
        let mut client = gorox.connect().unwrap().with_timeout(PATIENCE);
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        client
    };
    (0..count).map(|_| connect()).collect()
}

#[test]
fn without_descriptors_others_wait_and_nothing_spins() {
    let (gorox, _dir) = with_few_files(64, &pong(".maxConns = 10000"));
    let mut clients = served(&gorox, 10);
    let mut more = waiting(&gorox, 200);
    let complaint = "cannot accept connections";
    assert!(eventually(PATIENCE, || gorox.stderr().contains(complaint)), "{}", gorox.stderr());
    let before = CpuTime::of(&gorox.pids());
    for _ in 0..10 {
        clients.iter_mut().for_each(ping);
        let _ = eventually(Duration::from_millis(100), || false);
    }
    let used = CpuTime::of(&gorox.pids()).since(before);
    assert!(used < Duration::from_millis(500), "{used:?} of a second");
    let said = gorox.stderr().matches(complaint).count();
    assert!(said <= 4, "{said} lines: {}", gorox.stderr());
    // As some leave, all others get their turn.
    drop(clients);
    let all = eventually(PATIENCE, || {
        more.retain_mut(|client| {
            let answered = client.wait(Duration::from_millis(1));
            if answered {
                assert_eq!(client.read_response().unwrap().text(), "pong");
            }
            !answered
        });
        more.is_empty()
    });
    assert!(all, "{} are left", more.len());
    ping(&mut gorox.connect().unwrap());
}

#[test]
fn the_limit_on_files_limits_the_connections() {
    // A fourth of the files for connections.
    let (gorox, _dir) = with_few_files(64, &pong(""));
    let mut clients = served(&gorox, 16);
    let mut more = waiting(&gorox, 16);
    clients.iter_mut().for_each(ping);
    assert!(!more[0].wait(Duration::from_millis(100)), "served beyond the limit");
    assert!(!gorox.stderr().contains("cannot accept"), "{}", gorox.stderr());
    drop(clients);
    for client in &mut more {
        assert_eq!(client.read_response().unwrap().text(), "pong");
    }
}
