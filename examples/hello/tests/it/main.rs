//! The program starts, answers and ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, free_port};

#[test]
fn it_greets_until_ctrl_c() {
    let addr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hello"));
    command.arg(format!("{addr}"));
    let mut program = Program::start(command, addr).unwrap();
    let mut client = program.connect().unwrap();
    client.send("GET /world HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "Hello, /world\n");
    drop(client);
    program.signal(Signal::INT).unwrap();
    assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}
