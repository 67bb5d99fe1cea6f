//! A worker as its leader sees it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use hemi_core::clock::{self, Moment};
use hemi_core::io::watch_readable;
use hemi_core::status::Timestamp;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::channel::{self, Receiver, Sender};
use crate::control::{End, Refused};
use crate::journal;
use crate::messages::{Order, Outcome, ToWorker};

use super::{Member, refused};
use crate::systemd;

/// How many of its last lines are kept when it has ended.
const LINES: usize = 20;

/// The first argument of a process that is to be a worker.
pub(crate) const WORKER: &str = "@worker";

/// A process that serves, is to serve, or has served.
pub(super) struct Worker {
    pub(super) pid: u32,
    pub(super) since: Timestamp,
    pub(super) born: Moment,
    pub(super) phase: Cell<Phase>,
    channel: Sender,
    process: AsyncFd<OwnedFd>,
    /// None for one that another leader has started.
    child: RefCell<Option<Child>>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Result<Outcome, Refused>>>>,
    next: Cell<u64>,
    journal: RefCell<Option<File>>,
    pub(super) kin: RefCell<Option<Member>>,
    pub(super) pulse: Pulse,
    end: watch::Sender<Option<End>>,
}

/// What a worker is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Serving,
    Draining { ends_by: Timestamp },
}

/// Whether it shows that it lives.
#[derive(Default)]
pub(super) struct Pulse {
    felt: Cell<bool>,
    /// How often it was looked for in vain since; none before the first.
    missed: Cell<Option<u32>>,
    pub(super) stalled: Cell<bool>,
}

impl Pulse {
    /// It was felt.
    pub(super) fn felt(&self) {
        self.felt.set(true);
    }

    /// Looks for it; returns how often in a row it was missed.
    pub(super) fn missed(&self) -> u32 {
        let missed = match (self.felt.replace(false), self.missed.get()) {
            (true, _) => Some(0),
            (false, missed) => missed.map(|missed| missed + 1),
        };
        self.missed.set(missed);
        missed.unwrap_or(0)
    }
}

impl Worker {
    /// Starts one, of the binary that this process runs, with the arguments that this process has got.
    pub(super) fn spawn(name: &str, args: &[String]) -> io::Result<(Self, Receiver)> {
        let (sender, receiver, stdin) = channel::to_child()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(name).arg(WORKER).args(args).stdin(stdin);
        for name in systemd::VARIABLES {
            command.env_remove(name);
        }
        let child = command.spawn()?;
        Ok((Self::new(child.id(), Some(child), sender)?, receiver))
    }

    /// One that another leader had started.
    pub(super) fn found(pid: u32, sender: Sender) -> io::Result<Self> {
        Self::new(pid, None, sender)
    }

    fn new(pid: u32, child: Option<Child>, channel: Sender) -> io::Result<Self> {
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let id = id.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self {
            pid,
            since: Timestamp::now(),
            born: clock::now(),
            phase: Cell::new(Phase::Starting),
            channel,
            process: watch_readable(pidfd_open(id, PidfdFlags::empty())?)?,
            child: RefCell::new(child),
            waiting: RefCell::default(),
            next: Cell::new(1),
            journal: RefCell::default(),
            kin: RefCell::default(),
            pulse: Pulse::default(),
            end: watch::Sender::default(),
        })
    }

    /// Has it do something, and waits until it has.
    pub(super) async fn order(&self, order: Order) -> Result<Outcome, Refused> {
        self.order_with(order, Vec::new()).await
    }

    /// The same with what it needs for that.
    pub(super) async fn order_with(
        &self,
        order: Order,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Outcome, Refused> {
        let id = self.next.replace(self.next.get() + 1);
        let (done, outcome) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, done);
        let ended = |_| refused("the worker has ended");
        self.tell(&ToWorker::Do { id, order }, descriptors).await.map_err(ended)?;
        match outcome.await {
            Ok(outcome) => outcome,
            Err(_) => {
                let reason = self.ended().await.reason;
                Err(refused(format!("the worker has ended: {reason}")))
            }
        }
    }

    /// What it was told to do is done.
    pub(super) fn done(&self, id: u64, outcome: Result<Outcome, Refused>) {
        if let Some(waiter) = self.waiting.borrow_mut().remove(&id) {
            let _ = waiter.send(outcome);
        }
    }

    pub(super) async fn tell(&self, message: &ToWorker, sockets: Vec<OwnedFd>) -> io::Result<()> {
        self.channel.send(message, sockets).await
    }

    /// Has it end at once, if it listens.
    pub(super) fn tell_to_stop(&self) {
        let stop = ToWorker::Do { id: 0, order: Order::Stop };
        let _ = self.channel.try_send(&stop, vec![]);
    }

    /// Where it writes its last lines.
    pub(super) fn journal(&self, journal: Option<OwnedFd>) {
        *self.journal.borrow_mut() = journal.map(File::from);
    }

    pub(super) fn signal(&self, signal: Signal) {
        // If it has ended, all the better.
        let _ = pidfd_send_signal(self.process.get_ref(), signal);
    }

    /// Waits for its end and keeps what there is to say about it.
    pub(super) async fn watch(&self) -> End {
        // The system has no reason to refuse; if it does, the process is not known to have ended.
        while self.process.readable().await.is_err() {}
        let status = self.child.borrow_mut().as_mut().and_then(|child| child.try_wait().ok()?);
        let last_lines = match &*self.journal.borrow() {
            Some(journal) => journal::last_lines(journal, LINES),
            None => Vec::new(),
        };
        let mut reason = status.map_or("ended; another leader had started it".to_owned(), reason);
        if self.pulse.stalled.get() {
            reason += ", for it did not answer any more";
        }
        let end = End { pid: self.pid, at: Timestamp::now(), reason, last_lines };
        self.end.send_replace(Some(end.clone()));
        // Nobody answers them any more.
        self.waiting.borrow_mut().clear();
        end
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> End {
        let mut end = self.end.subscribe();
        loop {
            if let Some(end) = &*end.borrow_and_update() {
                return end.clone();
            }
            // It is this worker itself that would send it.
            let _ = end.changed().await;
        }
    }

    /// The same, but waits no longer than this before it kills.
    pub(super) async fn ends_within(&self, patience: Duration) {
        if timeout(patience, self.ended()).await.is_err() {
            self.signal(Signal::KILL);
            self.ended().await;
        }
    }

    pub(super) fn drains(&self) -> bool {
        matches!(self.phase.get(), Phase::Draining { .. })
    }
}

fn reason(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by {}", signal_name(signal)),
        (None, Some(code)) => format!("ended with status {code}"),
        (None, None) => status.to_string(),
    }
}

fn signal_name(number: i32) -> String {
    let names = [
        (Signal::ABORT, "SIGABRT"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::BUS, "SIGBUS"),
        (Signal::ILL, "SIGILL"),
        (Signal::FPE, "SIGFPE"),
        (Signal::SYS, "SIGSYS"),
        (Signal::TERM, "SIGTERM"),
    ];
    let name = names.iter().find(|(signal, _)| signal.as_raw() == number);
    name.map_or(format!("signal {number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_counts_from_the_first_that_was_felt() {
        let pulse = Pulse::default();
        assert_eq!([pulse.missed(), pulse.missed()], [0, 0]);
        pulse.felt();
        assert_eq!([pulse.missed(), pulse.missed(), pulse.missed()], [0, 1, 2]);
        pulse.felt();
        assert_eq!([pulse.missed(), pulse.missed()], [0, 1]);
    }

    #[test]
    fn ends_have_names() {
        assert_eq!(reason(ExitStatus::from_raw(9)), "killed by SIGKILL");
        assert_eq!(reason(ExitStatus::from_raw(6 | 0x80)), "killed by SIGABRT");
        assert_eq!(reason(ExitStatus::from_raw(3 << 8)), "ended with status 3");
    }
}
