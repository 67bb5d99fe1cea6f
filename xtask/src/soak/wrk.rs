//! wrk, which asks by connections that it keeps until it is told to end.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use hemi_test::peer;
use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// wrk at work.
pub(super) struct Wrk(Child);

/// What it has seen.
pub(super) struct Done {
    pub(super) answers: u64,
    /// Connections that could not be made, or were broken off, and answers that are not 2xx or 3xx.
    pub(super) errors: u64,
}

impl Wrk {
    /// Begins to ask for `/` by so many connections.
    pub(super) fn start(addr: SocketAddr, connections: usize) -> Result<Self> {
        let mut wrk = Command::new(peer("wrk").ok_or("wrk is not installed")?);
        // It ends when it is told to, and an answer may take as long as one of any other client.
        wrk.args(["--threads=1", "--duration=24h", "--timeout=60s"]);
        wrk.arg(format!("--connections={connections}")).arg(format!("http://{addr}/"));
        Ok(Self(wrk.stdout(Stdio::piped()).spawn()?))
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> Result<Done> {
        let pid = Pid::from_raw(i32::try_from(self.0.id())?).ok_or("wrk has no id")?;
        kill_process(pid, Signal::INT)?;
        let text = std::io::read_to_string(self.0.stdout.take().ok_or("wrk says nothing")?)?;
        Done::read(&text).ok_or_else(|| format!("wrk says: {text}").into())
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Done {
    fn read(text: &str) -> Option<Self> {
        let lines = || text.lines().map(str::trim);
        let answers = lines().find_map(|line| line.split_once(" requests in ")?.0.parse().ok())?;
        let socket = lines().find_map(|line| line.strip_prefix("Socket errors: "));
        let socket = socket.unwrap_or_default().split(", ");
        let socket = socket.filter_map(|error| error.split_once(' ')?.1.parse::<u64>().ok());
        let status = lines().find_map(|line| line.strip_prefix("Non-2xx or 3xx responses: "));
        let status = status.and_then(|status| status.parse().ok()).unwrap_or(0);
        Some(Self { answers, errors: socket.sum::<u64>() + status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_understood() {
        let good = "  Thread Stats   Avg\n  1234 requests in 2.00s, 1.00MB read\n";
        let done = Done::read(good).unwrap();
        assert_eq!((done.answers, done.errors), (1234, 0));
        let bad = "\n  Socket errors: connect 1, read 20, write 3, timeout 4\n  Non-2xx or 3xx responses: 500\n";
        assert_eq!(Done::read(&format!("{good}{bad}")).unwrap().errors, 528);
        assert!(Done::read("unable to connect").is_none());
    }
}
