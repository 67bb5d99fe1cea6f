//! Reloads, reworks and upgrades while clients are at it: no request is lost.

use hemi_test::raw::Client;
use hemi_test::{Clients, Load, Signal, eventually};

use super::{LARGE, Served, kill};
use crate::pong::PATIENCE;

/// Begins a download that is read later.
fn download(served: &Served) -> Client {
    let mut client = served.program.connect().unwrap().with_timeout(PATIENCE);
    client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(client.wait(PATIENCE));
    client
}

#[test]
fn no_request_is_lost() {
    let served = Served::start("one");
    let load = Load::start(served.program.addr(), Clients { keep_alive: 4, once: 4 });
    let mut downloads = Vec::new();
    for _ in 0..10 {
        downloads.push(download(&served));
        served.does(&["reload"]);
    }
    for _ in 0..3 {
        downloads.push(download(&served));
        served.does(&["rework"]);
    }
    for mut client in downloads {
        assert_eq!(client.read_response().unwrap().body.len() as u64, LARGE);
    }
    // Refused while others drain.
    let upgrades = || served.ask(&["upgrade"]).code == Some(0);
    assert!(eventually(PATIENCE, upgrades), "{}", served.program.stderr());
    let before = load.seen().answers;
    assert!(eventually(PATIENCE, || load.seen().answers > before + 100));
    let seen = load.finish().unwrap();
    assert_eq!(seen.failed, 0, "{seen:?}");
    assert!(seen.closed > 0, "{seen:?}");
}

#[test]
fn of_a_crash_only_what_was_under_way_is_lost() {
    const CLIENTS: usize = 4;
    let served = Served::start("one");
    let load = Load::start(served.program.addr(), Clients { keep_alive: CLIENTS, once: 0 });
    let mut worker = served.worker();
    for _ in 0..3 {
        let before = load.seen().answers;
        assert!(eventually(PATIENCE, || load.seen().answers > before + 10));
        kill(worker, Signal::KILL);
        worker = served.worker_after(worker);
    }
    // None was refused, and each client has lost one request for each crash, at most.
    let seen = load.finish().unwrap();
    assert!(seen.failed <= 3 * CLIENTS as u64, "{seen:?}");
}
