//! The program as its operator sees it: what it prints, how it exits, what it serves.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is tests")]

mod check;
mod explain;
mod fmt;
mod options;
mod serve;

use std::process::Command;

const GOROX: &str = env!("CARGO_BIN_EXE_gorox");

/// What a run that ended by itself left behind.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn gorox(args: &[&str]) -> Ended {
    let mut command = Command::new(GOROX);
    command.args(args);
    run(command)
}

fn run(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
