//! The program starts, answers and ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, free_port};

#[test]
fn the_router_answers_with_its_middleware() {
    let addr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let mut command = Command::new(env!("CARGO_BIN_EXE_axum_inside"));
    command.arg(format!("{addr}"));
    let mut program = Program::start(command, addr).unwrap();
    let mut client = program.connect().unwrap();
    for (path, status, text) in [
        ("/hello/world", 200, "Hello, world\n"),
        ("/hello/a%20b", 200, "Hello, a b\n"),
        ("/whoami", 200, "127.0.0.1\n"),
        ("/nothing", 404, ""),
    ] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).unwrap();
        let reply = client.read_response().unwrap();
        assert_eq!((reply.status, &*reply.text()), (status, text), "{path}");
        assert_eq!(reply.header("x-made-by"), Some("axum"));
    }
    drop(client);
    program.signal(Signal::TERM).unwrap();
    assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}
