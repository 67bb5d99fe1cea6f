//! Running cargo and other programs from the root of the repository.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::Result;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// A program that runs in the root of the repository.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The begin of a command that runs on one core, and ends with this process however that ends.
pub(crate) fn pinned(core: &str) -> Command {
    let mut command = command("setpriv");
    command.args(["--pdeathsig", "TERM", "taskset", "--cpu-list", core]);
    command
}

/// Gorox as it is released.
pub(crate) fn release() -> Result<PathBuf> {
    let mut release = cargo();
    release.args(["build", "--release", "--package", "gorox"]);
    let built = build(&mut release)?;
    let found = built.into_iter().find(|(name, _)| name == "gorox");
    Ok(found.ok_or("gorox is not built")?.1)
}

/// Runs a command with its output on the terminal; an error when it doesn't succeed.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| failed(command, &error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(command, &status.to_string()).into()) }
}

/// Runs a command and returns what it writes to stdout; an error when it doesn't succeed.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let output = output_of(command.stderr(Stdio::inherit()))?;
    if !output.status.success() {
        return Err(failed(command, &output.status.to_string()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a command and returns all that came of it.
pub(crate) fn output_of(command: &mut Command) -> Result<Output> {
    Ok(command.output().map_err(|error| failed(command, &error.to_string()))?)
}

/// Runs `cargo build` as prepared by the caller and returns the executables it made, by name.
pub(crate) fn build(build: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    let messages = stdout_of(build.arg("--message-format=json-render-diagnostics"))?;
    let mut executables = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line)?;
        let name = message.pointer("/target/name").and_then(Value::as_str);
        let path = message.get("executable").and_then(Value::as_str);
        if let (Some(name), Some(path)) = (name, path) {
            executables.push((name.to_owned(), PathBuf::from(path)));
        }
    }
    Ok(executables)
}

/// What kind of machine this is, as rustc names it.
pub(crate) fn host() -> Result<String> {
    Ok(stdout_of(command("rustc").args(["--print", "host-tuple"]))?.trim().to_owned())
}

fn failed(command: &Command, why: &str) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    format!("`{}` failed: {why}", words.join(" "))
}
