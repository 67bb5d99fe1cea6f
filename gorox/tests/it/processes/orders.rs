//! What operators order, and its exit statuses.

use std::net::TcpListener;

use hemi_test::{Signal, TempDir, eventually};

use super::{Served, command, config, id, kill, lives};
use crate::cli::run;
use crate::pong::PATIENCE;

#[test]
fn who_is_not_there_can_not_be_asked() {
    let dir = TempDir::new().unwrap();
    for action in ["status", "pids", "reload", "reconf", "rework", "upgrade", "quit", "stop"] {
        let mut command = command(dir.path());
        command.arg(action);
        let ended = run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{action}");
        assert!(ended.stderr.contains("gorox is not running here"), "{}", ended.stderr);
    }
}

#[test]
fn it_tells_of_itself() {
    let served = Served::start("one");
    let status = served.status();
    assert_eq!(id(&status["leader"]["pid"]), served.program.pid());
    let (leader, worker) = (served.leader(), served.worker());
    assert_eq!(served.does(&["pids"]), format!("leader {leader}\nworker {worker}\n"));
    assert!(served.does(&["leader"]).starts_with(&format!("leader {leader}: gorox ")));
    let text = served.does(&["status"]);
    assert!(text.contains(&format!("worker {worker}: serves")), "{text}");
    assert!(text.contains("stage 1: serves"), "{text}");
    let pid = std::fs::read_to_string(served.dir.path().join("var/gorox.pid")).unwrap();
    assert_eq!(pid, format!("{leader}\n"));
}

#[test]
fn a_reload_serves_the_new_config_or_changes_nothing() {
    let served = Served::start("one");
    let worker = served.worker();
    // A client that idles delays nothing.
    let mut idle = served.program.connect().unwrap();
    idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    idle.read_response().unwrap();
    served.configure("two");
    assert_eq!(served.does(&["reload"]), format!("stage 2 of worker {worker} serves\n"));
    assert_eq!(served.text(), "two");
    let good = config(served.dir.path(), served.program.addr().port(), "three");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!(
        "httpxServer \"t\" {{ .address = \"{}\"  .webapps = (\"w\") }} }}",
        taken.local_addr().unwrap()
    );
    for (bad, message) in [
        (good.replace("rule {", "rulz {"), "did you mean `rule`?"),
        (good.replace(".returnCode = 200", ".returnCode = \"x\""), "returnCode"),
        (good.replace("stage {", "stage { <gorox.conf>"), "includes itself"),
        (format!("{}{other}", good.trim_end().strip_suffix('}').unwrap()), "cannot listen on"),
        (String::new(), "empty"),
    ] {
        served.dir.write("gorox.conf", &bad).unwrap();
        for action in ["reload", "rework"] {
            let ended = served.ask(&[action]);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{action}: {bad}");
            assert!(ended.stderr.contains(message), "{action}: {}", ended.stderr);
        }
        assert_eq!((served.text(), served.worker()), ("two".to_owned(), worker));
    }
    served.dir.write("gorox.conf", &good).unwrap();
    kill(served.leader(), Signal::HUP);
    assert!(eventually(PATIENCE, || served.text() == "three"));
    assert_eq!(served.worker(), worker);
}

#[test]
fn a_rework_puts_another_worker_in_its_place() {
    let served = Served::start("one");
    let worker = served.worker();
    served.configure("two");
    served.does(&["rework"]);
    assert_eq!(served.text(), "two");
    assert_ne!(served.worker(), worker);
    assert!(eventually(PATIENCE, || !lives(worker)));
}

#[test]
fn an_upgrade_puts_other_processes_in_their_place_or_changes_nothing() {
    let served = Served::start("one");
    let (leader, worker) = (served.leader(), served.worker());
    for (binary, message) in [("/no/such/binary", "cannot run"), ("/bin/true", "does not serve")] {
        let ended = served.ask(&["upgrade", "--binary", binary]);
        assert_eq!(ended.code, Some(1), "{binary}: {}", ended.stdout);
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
        assert_eq!((served.leader(), served.worker()), (leader, worker));
    }
    served.configure("two");
    served.does(&["upgrade"]);
    assert_eq!(served.text(), "two");
    assert!(![leader, worker].contains(&served.leader()));
    assert!(eventually(PATIENCE, || !lives(leader) && !lives(worker)));
    let leader = served.leader();
    // The next one by a signal; and that leader ends as any other.
    kill(leader, Signal::USR2);
    assert!(eventually(PATIENCE, || ![0, leader].contains(&served.leader())));
    assert!(eventually(PATIENCE, || !lives(leader)));
    served.does(&["quit"]);
    assert!(eventually(PATIENCE, || served.processes().is_empty()));
    assert_eq!(served.ask(&["status"]).code, Some(3));
}

#[test]
fn quit_and_stop_end_it() {
    for (action, signal) in [
        (Some("quit"), None),
        (Some("stop"), None),
        (None, Some(Signal::TERM)),
        (None, Some(Signal::QUIT)),
    ] {
        let mut served = Served::start("one");
        let worker = served.worker();
        action.into_iter().for_each(|action| drop(served.does(&[action])));
        signal.into_iter().for_each(|signal| served.program.signal(signal).unwrap());
        assert_eq!(served.program.wait(PATIENCE).unwrap().code(), Some(0));
        assert!(!lives(worker));
        let left: Vec<_> = std::fs::read_dir(served.dir.path().join("var")).unwrap().collect();
        assert!(left.iter().all(|file| file.as_ref().unwrap().file_name() == "gorox.token"));
    }
}

#[test]
fn a_daemon_is_left_alone_once_it_serves() {
    let served = Served::start("one");
    let log = served.dir.path().join("log");
    let mut second = command(served.dir.path());
    second.args(["serve", "--daemon", "--log-dir"]).arg(&log);
    let ended = run(second);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("runs here already"), "{}", ended.stderr);
    served.does(&["stop"]);
    assert!(eventually(PATIENCE, || served.processes().is_empty()));
    let mut daemon = command(served.dir.path());
    daemon.args(["serve", "-daemon", "-logDir"]).arg(&log);
    let ended = run(daemon);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(served.text(), "one");
    let said = std::fs::read_to_string(log.join("gorox.err")).unwrap();
    assert!(said.contains("worker is serving"), "{said}");
    // What both processes say can be moved away.
    std::fs::rename(log.join("gorox.err"), log.join("gorox.err.1")).unwrap();
    served.does(&["reopen"]);
    served.does(&["quit"]);
    assert!(eventually(PATIENCE, || served.processes().is_empty()));
    let said = std::fs::read_to_string(log.join("gorox.err")).unwrap();
    for words in ["log files are opened anew", "stage has ended"] {
        assert!(said.contains(words), "{said}");
    }
}
