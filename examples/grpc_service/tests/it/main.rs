//! The program starts, answers and ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, free_port};

#[test]
fn it_greets_until_ctrl_c() {
    let addr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let mut command = Command::new(env!("CARGO_BIN_EXE_grpc_service"));
    command.args(["server", &format!("{addr}")]);
    let mut program = Program::start(command, addr).unwrap();
    let mut client = Command::new(env!("CARGO_BIN_EXE_grpc_service"));
    let output = client.args(["client", &format!("{addr}")]).output().unwrap();
    let greetings = "Hello, world\nHello, Ada\nHello, Grace\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), greetings);
    // By Connect any client of HTTP may call.
    let mut caller = program.connect().unwrap();
    let call = r#"{"name": "you"}"#;
    caller
        .send(format!(
            "POST /greeter.Greeter/Hello HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{call}",
            call.len()
        ))
        .unwrap();
    assert_eq!(caller.read_response().unwrap().text(), r#"{"text":"Hello, you"}"#);
    program.signal(Signal::INT).unwrap();
    assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}
