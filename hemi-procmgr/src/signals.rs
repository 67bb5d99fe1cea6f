//! The signals by which a program is told what to do.

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Those that are heeded.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    quit: unix::Signal,
    hang_up: unix::Signal,
    user1: unix::Signal,
    user2: unix::Signal,
    /// One that came before it could be heeded.
    early: Option<Signal>,
}

impl Signals {
    pub(crate) fn watch() -> Result<Self, String> {
        let watch = |kind| unix::signal(kind).map_err(|e| format!("cannot watch for signals: {e}"));
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            quit: watch(SignalKind::quit())?,
            hang_up: watch(SignalKind::hangup())?,
            user1: watch(SignalKind::user_defined1())?,
            user2: watch(SignalKind::user_defined2())?,
            early: None,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        if let Some(early) = self.early.take() {
            return early;
        }
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.hang_up.recv() => Signal::HUP,
            _ = self.user1.recv() => Signal::USR1,
            _ = self.user2.recv() => Signal::USR2,
        }
    }

    /// Has one that came too early be the next.
    pub(crate) fn repeat(&mut self, early: Signal) {
        self.early = Some(early);
    }

    /// The next one that asks for the end.
    pub(crate) async fn end(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if matches!(signal, Signal::INT | Signal::TERM | Signal::QUIT) {
                return signal;
            }
        }
    }
}
