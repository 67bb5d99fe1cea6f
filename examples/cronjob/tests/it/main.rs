//! The program calls until it is ended.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, eventually};

fn calls(arguments: &[&str], call: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cronjob"));
    command.args(arguments);
    // It listens nowhere: what it is waited for is there already.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = Program::start(command, listener.local_addr().unwrap()).unwrap();
    let called = || program.stdout().lines().filter(|line| *line == call).count() >= 3;
    assert!(eventually(Duration::from_secs(20), called), "{}", program.stdout());
    program.signal(Signal::INT).unwrap();
    assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}

#[test]
fn a_config_schedules_it() {
    calls(&[], "cuckoo");
}

#[test]
fn code_schedules_it() {
    calls(&["code"], "cuckoo from code");
}
