//! What is asked for while another leader is about to take over, and what that goes on with.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use hemi_test::raw::Client;
use hemi_test::{Signal, eventually};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::{Served, command, config, kill, lives};
use crate::cli::GOROX;
use crate::pong::PATIENCE;

impl Served {
    /// Begins an upgrade that takes its time.
    fn upgrading(&self, args: &[&str]) -> Child {
        let mut command = command(self.dir.path());
        command.arg("upgrade").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Begins one, and waits until the worker of the successor loads its config: it goes on with that when the
    /// file is dropped.
    fn upgrading_to_a_load(&self) -> (Child, File) {
        let gate = self.dir.path().join("gate.conf");
        mknodat(CWD, &gate, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let text = config(self.dir.path(), self.program.addr().port(), "two");
        let text = text.replacen("stage {", "stage { <gate.conf>", 1);
        self.dir.write("gorox.conf", text).unwrap();
        let upgrade = self.upgrading(&[]);
        (upgrade, opened(&gate))
    }

    /// Has it be asked at some port of this address, and comes back with both.
    fn placed(&self, action: &str, ip: &str) -> String {
        let said = self.does(&[action, &format!("{ip}:0")]);
        said.split(&[' ', ','][..]).nth(3).unwrap().to_owned()
    }
}

/// Opens a pipe to write once somebody reads it.
fn opened(pipe: &Path) -> File {
    let mut opened = None;
    let open = || {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        opened = options.open(pipe).ok();
        opened.is_some()
    };
    assert!(eventually(PATIENCE, open), "nobody reads {}", pipe.display());
    opened.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_never_takes_over_gets_nothing_and_ends_with_the_program() {
    for action in ["quit", "stop", ""] {
        let mut served = Served::start("one");
        let (slow, gate) = (served.dir.path().join("slow"), served.dir.path().join("gate"));
        mknodat(CWD, &gate, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let script = format!("#!/bin/sh\nread go < {}\nexec {GOROX} \"$@\"\n", gate.display());
        served.dir.write("slow.sh", script).unwrap();
        let mut install = Command::new("install");
        install.arg("-m755").arg(served.dir.path().join("slow.sh")).arg(&slow);
        assert!(install.status().unwrap().success());
        let upgrade = served.upgrading(&["--binary", slow.to_str().unwrap()]);
        let held = opened(&gate);
        for (other, why) in [("reload", "an upgrade is under way"), ("rework", "another change")] {
            let ended = served.ask(&[other]);
            assert_eq!(ended.code, Some(1), "{other}: {}", ended.stdout);
            assert!(ended.stderr.contains(why), "{other}: {}", ended.stderr);
        }
        match action {
            "" => served.program.signal(Signal::TERM).unwrap(),
            action => drop(served.does(&[action])),
        }
        assert_eq!(served.program.wait(PATIENCE).unwrap().code(), Some(0), "{action}");
        assert!(eventually(PATIENCE, || served.processes().is_empty()), "{action}");
        let output = upgrade.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{action}: {}", said(&output));
        drop(held);
    }
}

#[test]
fn who_is_about_to_take_over_ends_with_the_program() {
    // While its worker loads the config.
    for action in ["quit", "stop"] {
        let mut served = Served::start("one");
        let (upgrade, gate) = served.upgrading_to_a_load();
        served.does(&[action]);
        assert_eq!(served.program.wait(PATIENCE).unwrap().code(), Some(0), "{action}");
        assert!(eventually(PATIENCE, || served.processes().is_empty()), "{action}");
        let output = upgrade.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{action}: {}", said(&output));
        drop(gate);
    }
}

/// Waits until the successor of a leader that is stopped has a worker that serves.
fn serves_behind_a_stopped_leader(served: &Served) -> Child {
    let (upgrade, gate) = served.upgrading_to_a_load();
    kill(served.program.pid(), Signal::STOP);
    drop(gate);
    let serving = || served.program.stderr().matches("worker is serving").count() == 2;
    assert!(eventually(PATIENCE, serving), "{}", served.program.stderr());
    upgrade
}

#[test]
fn who_serves_already_and_does_not_lead_yet_ends_with_the_program() {
    for signal in [Signal::TERM, Signal::QUIT] {
        let mut served = Served::start("one");
        let upgrade = serves_behind_a_stopped_leader(&served);
        served.program.signal(signal).unwrap();
        served.program.signal(Signal::CONT).unwrap();
        served.program.wait(PATIENCE).unwrap();
        // If it has just taken over, it is told the same.
        assert!(eventually(PATIENCE, || served.processes().is_empty()));
        drop(upgrade.wait_with_output());
    }
}

#[test]
fn who_does_not_lead_yet_gives_up_when_the_leader_dies() {
    let mut served = Served::start("one");
    let worker = served.worker();
    let upgrade = serves_behind_a_stopped_leader(&served);
    served.program.signal(Signal::KILL).unwrap();
    assert!(eventually(PATIENCE, || served.processes() == [worker]));
    assert_eq!(served.text(), "one");
    drop(upgrade.wait_with_output());
}

#[test]
fn an_upgrade_takes_over_the_ports_to_ask_it_at() {
    let served = Served::start("one");
    let (cmdui, webui) = (served.placed("recmd", "127.0.0.1"), served.placed("reweb", "127.0.0.2"));
    let own = served.dir.path().join("own.sock");
    for _ in 0..3 {
        let leader = served.leader();
        served.does(&["upgrade"]);
        for (address, status) in [(&cmdui, 401), (&webui, 303)] {
            let mut client = Client::connect(&**address).unwrap().with_timeout(PATIENCE);
            client.send(format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n")).unwrap();
            assert_eq!(client.read_response().unwrap().status, status);
        }
        assert_ne!(served.leader(), leader);
        assert!(eventually(PATIENCE, || !lives(leader)), "{}", served.program.stderr());
    }
    assert!(!served.program.stderr().contains("cannot listen"), "{}", served.program.stderr());
    // A port that is closed stays closed, and a socket where it was put.
    served.does(&["reweb"]);
    served.does(&["recmd", own.to_str().unwrap()]);
    let ask = |method: &str, target: &str| {
        let mut client = Client::connect_unix(&own).unwrap().with_timeout(PATIENCE);
        let fields = "host: x\r\ncontent-type: application/json\r\ncontent-length: 0\r\n";
        client.send(format!("{method} {target} HTTP/1.1\r\n{fields}\r\n")).unwrap();
        client.read_response().unwrap()
    };
    let status = || serde_json::from_str::<serde_json::Value>(&ask("GET", "/v1/status").text());
    let leader = status().unwrap()["leader"]["pid"].clone();
    assert_eq!(ask("POST", "/v1/upgrade").status, 200);
    assert_ne!(status().unwrap()["leader"]["pid"], leader);
    assert!(Client::connect(&*webui).is_err());
}
