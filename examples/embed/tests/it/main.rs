//! The program starts, answers and ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, free_port};

#[test]
fn it_counts_until_ctrl_c() {
    let addr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let mut command = Command::new(env!("CARGO_BIN_EXE_embed"));
    command.arg(format!("{addr}"));
    let mut program = Program::start(command, addr).unwrap();
    let mut client = program.connect().unwrap();
    for number in 1..=3 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().text(), format!("request {number}\n"));
    }
    drop(client);
    program.signal(Signal::INT).unwrap();
    assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}

#[test]
fn an_address_that_is_none_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embed"));
    let output = command.arg("nowhere").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere"));
}
