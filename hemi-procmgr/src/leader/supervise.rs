//! What a leader does when a worker ends, or does not answer.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use hemi_core::clock;
use rustix::process::Signal;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use super::history::PROBATION;
use super::worker::Worker;
use super::{Leader, Phase};
use crate::control::{End, What};
use crate::worker::PULSE;

/// How often in a row a pulse may be missed.
const MISSED: u32 = 5;

/// A worker that has lived so long has not ended for what made the one before it end.
const SETTLED: Duration = Duration::from_secs(10);

/// The pauses between attempts to start a worker.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];

impl Leader {
    /// A worker has ended.
    pub(super) fn bury(self: &Rc<Self>, worker: &Rc<Worker>, end: End) {
        self.workers.borrow_mut().retain(|other| !Rc::ptr_eq(other, worker));
        self.sockets.forget(worker.pid);
        let pid = end.pid;
        self.current.borrow_mut().take_if(|current| Rc::ptr_eq(current, worker));
        match worker.phase.get() {
            // Who has started it tells why it does not serve.
            Phase::Starting => {}
            Phase::Serving if !self.is_ending() => {
                self.mourn(worker, end);
                if !self.succeeded.get() {
                    let lived = clock::now().since(worker.born);
                    spawn_local(self.clone().restart(lived));
                }
            }
            // It was told to.
            Phase::Serving | Phase::Draining { .. } => {
                info!(pid, "worker has ended: {}", end.reason);
                self.tell(What::Ended, format!("worker {pid} has ended: {}", end.reason));
            }
        }
        if self.current.borrow().is_some() {
            self.sockets.sweep();
        }
    }

    /// Tells, and remembers, that a worker has ended that was to serve.
    fn mourn(&self, worker: &Worker, end: End) {
        let End { pid, reason, last_lines, .. } = &end;
        error!(pid, "worker has ended: {reason}; it said last:\n{}", last_lines.join("\n"));
        let message = format!("worker {pid} has ended: {reason}");
        self.notifier.status(&message);
        self.tell(What::Failed, message);
        let why = match worker.pulse.stalled.get() {
            true => "stall",
            false if reason.starts_with("ended") => "exit",
            false => "signal",
        };
        if self.history.borrow_mut().crashed(end, why) {
            let message = "two crashes within a minute: back to the last good config";
            error!("{message}");
            self.tell(What::RolledBack, message);
        }
    }

    /// Starts a worker in the place of one that has ended after so long, for as long as it takes.
    async fn restart(self: Rc<Self>, lived: Duration) {
        if lived >= SETTLED {
            self.attempts.set(0);
        }
        loop {
            let attempt = self.attempts.get();
            self.attempts.set(attempt.saturating_add(1));
            sleep(pause(attempt)).await;
            let _changing = self.changing.lock().await;
            if self.is_ending() || self.succeeded.get() || self.current.borrow().is_some() {
                return;
            }
            let config = self.history.borrow().serving().to_owned();
            match self.start(Some(config)).await {
                Ok(worker) => return self.enthrone(worker).await,
                Err(refused) => warn!("no worker serves, trying again: {}", refused.message),
            }
        }
    }

    /// Looks every second whether the workers live, and ends those that don't.
    pub(super) async fn watch_over(self: Rc<Self>) {
        let mut tick = interval(PULSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = clock::now();
        loop {
            tick.tick().await;
            let now = clock::now();
            // If even this process waits for the processor, workers do so all the more.
            let starved = now.since(std::mem::replace(&mut last, now)) > PULSE + PULSE / 2;
            let workers = self.workers.borrow().clone();
            for worker in workers.iter().filter(|worker| !starved && !worker.pulse.stalled.get()) {
                if worker.pulse.missed() > MISSED {
                    self.end_stalled(worker);
                }
            }
        }
    }

    fn end_stalled(&self, worker: &Rc<Worker>) {
        worker.pulse.stalled.set(true);
        error!(pid = worker.pid, "worker does not answer any more\n{}", threads(worker.pid));
        worker.signal(Signal::ABORT);
        let worker = worker.clone();
        // One that is stopped does not heed the signal.
        spawn_local(async move { worker.ends_within(Duration::from_secs(1)).await });
    }

    /// Keeps a config as the last good one, when it has served for long enough.
    pub(super) fn keep_when_proven(self: Rc<Self>, generation: u64) {
        spawn_local(async move {
            sleep(PROBATION).await;
            let history = self.history.borrow();
            if let (Some(home), Some(config)) = (&self.home, history.proven(generation))
                && let Err(e) = home.keep_config(config)
            {
                warn!("cannot keep the config: {e}");
            }
        });
    }
}

/// How long to wait before an attempt, which are counted from 0: twice as long each time, more or less, so
/// that not all do it at once.
fn pause(attempt: u32) -> Duration {
    let [least, most] = PAUSES;
    let pause = least.saturating_mul(1 << attempt.min(16)).min(most);
    match attempt {
        0 => Duration::ZERO,
        _ => {
            pause.mul_f64(0.5 + RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64)
        }
    }
}

/// What the threads of a process are doing, as far as the system tells.
fn threads(pid: u32) -> String {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return String::new() };
    let mut text = String::new();
    for task in tasks.flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let status = read("status");
        let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default();
        let (name, at, call, stack) = (read("comm"), read("wchan"), read("syscall"), read("stack"));
        let (name, state, call) = (name.trim(), state.trim(), call.trim());
        text += &format!("{name}: {state}, in {at}, system call {call}\n{stack}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_an_end() {
        assert_eq!(pause(0), Duration::ZERO);
        for attempt in 1..100 {
            let expected =
                Duration::from_millis(100 << attempt.min(16)).min(Duration::from_secs(30));
            let pause = pause(attempt);
            assert!(pause >= expected / 2 && pause <= expected * 3 / 2, "{attempt}: {pause:?}");
        }
    }

    #[test]
    fn threads_are_told() {
        assert!(threads(std::process::id()).contains("system call"));
        assert_eq!(threads(u32::MAX), "");
    }
}
