//! Running gorox to its end.

use std::process::Command;

pub(crate) const GOROX: &str = env!("CARGO_BIN_EXE_gorox");

/// What a run that ended by itself left behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn gorox(args: &[&str]) -> Ended {
    let mut command = Command::new(GOROX);
    command.args(args);
    run(command)
}

pub(crate) fn run(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
