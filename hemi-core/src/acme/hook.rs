//! Runs a program of the operator's: its arguments as they are, never through a shell, and not for too long.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::os::unix::process::CommandExt as _;
use tokio::time::timeout;

use crate::sys;

/// Bytes of what it complains about that are told, at most.
const TOLD: u64 = 1000;

/// A program that runs, and ends with its process group if nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}

/// Runs a program and waits until it ends.
///
/// # Errors
/// Why it has not done what it should, as it says itself: what it writes to its standard error is told.
pub(super) async fn run(
    program: &Path,
    args: impl IntoIterator<Item = String>,
    limit: Duration,
) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.process_group(0);
    let started = super::aside(move || command.spawn()).await.map_err(|e| e.to_string())?;
    let mut running = Running(started.map_err(|e| format!("cannot be run: {e}"))?);
    let status = match timeout(limit, end(&mut running.0)).await {
        Ok(Ok(status)) => status,
        Ok(Err(e)) => return Err(format!("cannot be waited for: {e}")),
        Err(_) => return Err(format!("has not ended within {} seconds", limit.as_secs())),
    };
    if status.success() {
        return Ok(());
    }
    let mut words = Vec::new();
    if let Some(stderr) = running.0.stderr.take() {
        let _ = nonblocking(&stderr).map(|()| stderr.take(TOLD).read_to_end(&mut words));
    }
    let words = String::from_utf8_lossy(&words).replace(char::is_control, " ");
    Err(format!("has failed ({status}): {}", words.trim()))
}

/// What was written to a pipe is read, and not waited for more: others may hold it open.
fn nonblocking(pipe: &impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(pipe, true)?)
}

async fn end(child: &mut Child) -> io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("it has no id"))?;
    let ended = sys::watch_readable(pidfd_open(pid, PidfdFlags::empty())?)?;
    let _ = ended.readable().await?;
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_gets_its_arguments_as_they_are_and_tells_why_it_fails() {
        let run = |script: &str, arg: &str, limit| {
            let args = ["-c", script, "sh", arg].map(str::to_owned);
            run(Path::new("/bin/sh"), args, limit)
        };
        let long = Duration::from_secs(60);
        assert_eq!(run("test \"$1\" = 'a $(b); c'", "a $(b); c", long).await, Ok(()));
        let failed = run("echo no such zone >&2; exit 3", "", long).await.unwrap_err();
        assert_eq!(failed, "has failed (exit status: 3): no such zone");
        let late = run("sleep 100 & wait", "", Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(late, "has not ended within 0 seconds");
        let none = super::run(Path::new("/no/such"), [], long).await.unwrap_err();
        assert!(none.starts_with("cannot be run: "), "{none}");
    }
}
