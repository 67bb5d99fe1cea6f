//! Since when what is waited for.

use std::time::Duration;

use hemi_core::clock::{self, Moment};

use super::{SocketError, WebSocketConfig};

/// Pings in a row that may go without any sign of life.
const MISSES: u8 = 2;

pub(super) struct Times {
    ping_interval: Duration,
    send_timeout: Duration,
    close_timeout: Duration,
    /// Something was heard of the client, or a ping was sent.
    heard: Moment,
    /// Pings since.
    missed: u8,
    /// The client has last taken something of what waits to be sent.
    stalled: Option<Moment>,
    /// A close was sent.
    closing: Option<Moment>,
}

/// What it is too late for.
pub(super) enum Late {
    /// The client is silent: a ping is due.
    Ping,
    /// There is nothing more to wait for.
    Ended(SocketError),
}

impl Times {
    pub(super) fn new(config: &WebSocketConfig) -> Self {
        let &WebSocketConfig { ping_interval, send_timeout, close_timeout, .. } = config;
        let heard = clock::now();
        let (stalled, closing) = (None, None);
        Self { ping_interval, send_timeout, close_timeout, heard, missed: 0, stalled, closing }
    }

    pub(super) fn heard(&mut self) {
        self.heard = clock::now();
        self.missed = 0;
    }

    /// The client could not be heard.
    pub(super) fn excuse(&mut self) {
        self.missed = 0;
    }

    /// The client has taken something.
    pub(super) fn sent(&mut self) {
        self.stalled = None;
    }

    /// There is more to be sent than the client takes.
    pub(super) fn stalled(&mut self) {
        self.stalled.get_or_insert_with(clock::now);
    }

    pub(super) fn closing(&mut self) {
        self.closing.get_or_insert_with(clock::now);
    }

    /// When to be asked again, or what it is too late for.
    pub(super) fn late(&mut self, now: Moment) -> Result<Moment, Late> {
        if let Some(closing) = self.closing {
            let due = closing.after(self.close_timeout);
            return if now < due { Ok(due) } else { Err(Late::Ended(SocketError::Closed)) };
        }
        let stalled = self.stalled.map_or(Moment::NEVER, |since| since.after(self.send_timeout));
        if now >= stalled {
            return Err(Late::Ended(SocketError::Stalled));
        }
        if self.ping_interval.is_zero() {
            return Ok(stalled);
        }
        let silent = self.heard.after(self.ping_interval);
        if now < silent {
            return Ok(stalled.min(silent));
        }
        self.heard = now;
        self.missed += 1;
        Err(if self.missed > MISSES { Late::Ended(SocketError::Silent) } else { Late::Ping })
    }
}
