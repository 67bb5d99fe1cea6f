//! Processes that die, stall or are spoken to in riddles.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use hemi_test::raw::Client;
use hemi_test::{Program, Signal, eventually};

use super::{Served, command, kill, lives};
use crate::pong::PATIENCE;

/// What a leader says that finds a worker with another config.
const OTHER_CONFIG: &str = "serves the config it had";

#[test]
fn a_worker_that_dies_is_replaced_and_nobody_is_refused() {
    let served = Served::start("one");
    let mut worker = served.worker();
    for _ in 0..3 {
        kill(worker, Signal::KILL);
        // Who comes meanwhile waits in the queue.
        assert_eq!(served.text(), "one");
        worker = served.worker_after(worker);
    }
    let status = served.status();
    assert_eq!(status["restarts"]["signal"], 3);
    let end = &status["lastEnd"];
    assert!(end["reason"].as_str().unwrap().contains("SIGKILL"), "{end}");
    assert!(end["lastLines"].to_string().contains("stage is serving"), "{end}");
}

#[test]
fn a_worker_serves_on_without_its_leader_and_the_next_one_finds_it() {
    let served = Served::start("one");
    let (leader, worker) = (served.leader(), served.worker());
    kill(leader, Signal::KILL);
    assert!(eventually(PATIENCE, || served.ask(&["status"]).code == Some(3)));
    let rescue = served.dir.path().join("var/gorox.rescue");
    assert!(eventually(PATIENCE, || rescue.exists()));
    assert_eq!((served.text(), lives(worker)), ("one".to_owned(), true));
    let said = served.ask(&["status"]).stderr;
    assert!(said.contains("A worker serves on without its leader"), "{said}");
    let serve = || {
        let mut command = command(served.dir.path());
        command.arg("serve");
        let next = Program::start(command, served.program.addr()).unwrap();
        assert!(eventually(PATIENCE, || served.ask(&["status"]).code == Some(0)));
        assert_eq!((served.leader(), served.worker()), (next.pid(), worker));
        next
    };
    let mut next = serve();
    // If the config is another by then, this is told: here it is not.
    next.signal(Signal::KILL).unwrap();
    assert!(eventually(PATIENCE, || rescue.exists()));
    assert!(!next.stderr().contains(OTHER_CONFIG), "{}", next.stderr());
    served.configure("one and a half");
    let next = serve();
    assert!(eventually(PATIENCE, || next.stderr().contains(OTHER_CONFIG)), "{}", next.stderr());
    assert_eq!(served.text(), "one");
    // It does what the config says once it is told to, as is any other.
    served.does(&["reload"]);
    assert_eq!(served.text(), "one and a half");
    // It has the sockets, and sees when the worker ends.
    kill(worker, Signal::KILL);
    assert_eq!(served.text(), "one and a half");
    let worker = served.worker_after(worker);
    served.configure("two");
    served.does(&["reload"]);
    assert_eq!((served.text(), served.worker()), ("two".to_owned(), worker));
}

#[test]
fn a_worker_without_a_leader_ends_when_it_is_told() {
    let served = Served::start("one");
    let worker = served.worker();
    // While there is a leader, a terminal's signals are its business.
    kill(worker, Signal::INT);
    assert_eq!(served.text(), "one");
    kill(served.leader(), Signal::KILL);
    let rescue = served.dir.path().join("var/gorox.rescue");
    assert!(eventually(PATIENCE, || rescue.exists()));
    kill(worker, Signal::TERM);
    assert!(eventually(PATIENCE, || !lives(worker)));
    let said = served.ask(&["status"]).stderr;
    assert!(!said.contains("A worker serves on"), "{said}");
}

#[test]
fn a_worker_that_stalls_is_replaced() {
    let served = Served::start("one");
    let worker = served.worker();
    kill(worker, Signal::STOP);
    let another = served.worker_after(worker);
    assert_eq!(served.text(), "one");
    let status = served.status();
    assert_eq!(status["restarts"]["stall"], 1, "{status}");
    assert!(!lives(worker) && lives(another));
}

#[test]
fn two_crashes_after_a_reload_bring_the_last_good_config_back() {
    let served = Served::start("good");
    served.configure("bad");
    served.does(&["reload"]);
    assert_eq!(served.text(), "bad");
    let mut worker = served.worker();
    for _ in 0..2 {
        kill(worker, Signal::KILL);
        worker = served.worker_after(worker);
    }
    assert_eq!(served.text(), "good");
    let status = served.does(&["status"]);
    assert!(status.contains("the last good one is served again"), "{status}");
    assert!(served.program.stderr().contains("back to the last good config"));
    // What lies there is left alone, and can be loaded again.
    served.configure("better");
    served.does(&["reload"]);
    assert_eq!(served.text(), "better");
}

#[test]
fn a_crash_while_the_config_is_being_edited_costs_nothing() {
    let served = Served::start("one");
    served.dir.write("gorox.conf", "stage {").unwrap();
    let worker = served.worker();
    kill(worker, Signal::KILL);
    assert_eq!(served.text(), "one");
    served.worker_after(worker);
}

#[test]
fn garbage_harms_nothing() {
    let served = Served::start("one");
    let socket = served.dir.path().join("var/gorox.sock");
    let mut random = vec![0; 1 << 20];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    let packet = [0, 1, 0, 0, 0x80, 0, 0, 5, 0, 0x80, 0, 0, 0];
    let mut silent = Vec::new();
    for bytes in [&random[..], &packet, b"GET /v1/status\r\n", b"POST /v1/stop HTTP/1.1\r\n\r\n"] {
        silent.push(UnixStream::connect(&socket).unwrap());
        let mut stream = UnixStream::connect(&socket).unwrap();
        // It is cut off as soon as it makes no sense.
        let _ = stream.write_all(bytes);
        silent.push(stream);
    }
    let mut client = Client::connect_unix(&socket).unwrap();
    let fields = "host: x\r\ncontent-type: application/json\r\ncontent-length: 0\r\n";
    client.send(format!("POST /v1/nonsense HTTP/1.1\r\n{fields}\r\n")).unwrap();
    assert_eq!(client.read_response().unwrap().status, 404);
    let (leader, worker) = (served.leader(), served.worker());
    served.does(&["reload"]);
    assert_eq!(
        (served.text(), served.leader(), served.worker()),
        ("one".to_owned(), leader, worker)
    );
}
