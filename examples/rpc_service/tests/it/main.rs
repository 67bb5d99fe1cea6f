//! The program starts, answers and ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, free_port};

/// `Arith.Mul` of 10 and 20 in MessagePack, as Go asks for it.
const CALL: &[u8] = b"\x08\0\0\x30\0\0\0\0\0\0\0\0\0\0\0\x1f\0\0\0\x05Arith\0\0\0\x03Mul\0\0\0\0\
    \0\0\0\x07\x82\xa1A\x0a\xa1B\x14";
const ANSWER: &[u8] =
    b"\x08\0\x80\x30\0\0\0\0\0\0\0\0\0\0\0\x1d\0\0\0\x05Arith\0\0\0\x03Mul\0\0\0\0\
    \0\0\0\x05\x81\xa1C\xcc\xc8";

#[test]
fn it_multiplies_until_ctrl_c() {
    let addr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rpc_service"));
    command.args(["server", &format!("{addr}")]);
    let mut program = Program::start(command, addr).unwrap();
    let mut caller = program.connect().unwrap();
    caller.send(CALL).unwrap();
    assert_eq!(caller.read_exact(ANSWER.len()).unwrap(), ANSWER);
    drop(caller);
    let mut client = Command::new(env!("CARGO_BIN_EXE_rpc_service"));
    let output = client.args(["client", &format!("{addr}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "10 * 20 = 200\n");
    program.signal(Signal::INT).unwrap();
    assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}
