//! The program starts, answers and ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, free_port};

#[test]
fn it_shouts_until_ctrl_c() {
    let addr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcp_server"));
    command.arg(format!("{addr}"));
    let mut program = Program::start(command, addr).unwrap();
    let mut client = program.connect().unwrap();
    client.send("hello").unwrap();
    assert_eq!(client.read_exact(5).unwrap(), b"HELLO");
    // Who is silent does not keep it from ending.
    let mut all = program.connect().unwrap();
    all.send("all of it").unwrap();
    all.finish().unwrap();
    assert_eq!(all.read_to_end().unwrap(), b"ALL OF IT");
    program.signal(Signal::INT).unwrap();
    client.expect_close().unwrap();
    assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}
