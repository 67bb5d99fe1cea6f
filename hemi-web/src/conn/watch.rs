//! How long a connection may wait, for what, and whether its server still wants it.

use std::io;
use std::task::Context;
use std::time::Duration;

use hemi_core::clock::{self, Moment};
use hemi_core::deadline::Deadline;
use hemi_core::gate::{Outlook, Phase, Ticket};

use crate::http_config::{HttpConfig, Limit};

/// Why a connection ends before its time.
#[derive(Debug)]
pub(super) enum Cut {
    /// A limit was hit.
    Limit(Limit),
    /// The server drains, and the connection is idle; or the time to drain is over.
    Shut,
    /// The client went away, or a file did.
    Gone(io::Error),
}

impl From<io::Error> for Cut {
    fn from(e: io::Error) -> Self {
        Self::Gone(e)
    }
}

/// The deadline of what a connection waits for now. Until the connection first has to wait, it is only a number.
pub(super) struct Watch {
    outlook: Outlook,
    /// That of a connection, which the server counts by it.
    _ticket: Option<Ticket>,
    deadline: Option<Deadline>,
    at: Moment,
    limit: Limit,
    /// The deadline of the whole exchange.
    total: Moment,
    /// Nothing is under way that a draining server would wait for.
    pub(super) idle: bool,
}

impl Watch {
    pub(super) fn new(ticket: Ticket) -> Self {
        let outlook = ticket.outlook();
        Self { _ticket: Some(ticket), idle: true, ..Self::of_part(outlook) }
    }

    /// For a part of a connection that has a task of its own, and is under way for as long as it lasts.
    pub(super) fn of_part(outlook: Outlook) -> Self {
        let (at, total) = (Moment::NEVER, Moment::NEVER);
        let limit = Limit::IdleTimeout;
        Self { outlook, _ticket: None, deadline: None, at, limit, total, idle: false }
    }

    /// Whether a draining server still waits for another request.
    pub(super) fn lingers(&self) -> bool {
        self.outlook.linger(clock::now()).is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        self.outlook.phase()
    }

    /// What is waited for now must come by then.
    pub(super) fn until(&mut self, at: Moment, limit: Limit) {
        (self.at, self.limit) =
            if self.total < at { (self.total, Limit::TotalTimeout) } else { (at, limit) };
    }

    /// What is waited for now may take as long as it likes, but for the exchange's own deadline.
    pub(super) fn unlimited(&mut self) {
        if self.at != self.total {
            self.until(Moment::NEVER, Limit::TotalTimeout);
        }
    }

    /// Sets when the whole exchange must be over.
    pub(super) fn total(&mut self, total: Moment) {
        self.total = total;
    }

    /// To be asked whenever the connection has to wait; sees to it that its task is polled again in time.
    pub(super) fn pending(&mut self, cx: &Context<'_>) -> Result<(), Cut> {
        let mut wake = self.at;
        match self.outlook.phase() {
            Phase::Serving => {}
            Phase::Draining if !self.idle => {}
            Phase::Draining => wake = wake.min(self.outlook.linger(clock::now()).ok_or(Cut::Shut)?),
            Phase::Ending => return Err(Cut::Shut),
        }
        if self.at != Moment::NEVER && self.deadline.is_some() && clock::now() >= self.at {
            return Err(Cut::Limit(self.limit));
        }
        let group = self.outlook.group();
        self.deadline.get_or_insert_with(|| Deadline::new(group, cx.waker())).set(wake);
        Ok(())
    }

    pub(super) fn outlook(&self) -> Outlook {
        self.outlook.clone()
    }
}

/// The least speed at which a client may take or give: only the time that is spent waiting for it counts.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    since: Option<Moment>,
    bytes: u64,
}

impl Pace {
    /// The client has done its part: `bytes` more.
    pub(super) fn progress(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let Some(since) = self.since.take() {
            self.waited += clock::now().since(since);
        }
    }

    /// The client is waited for: when it must have done something, at the latest.
    pub(super) fn wait(&mut self, most: Duration, config: &HttpConfig) -> Moment {
        let since = *self.since.get_or_insert_with(clock::now);
        let rate = config.min_rate.0;
        if rate == 0 {
            return since.after(most);
        }
        let earned =
            config.rate_grace + Duration::from_millis(self.bytes.saturating_mul(1000) / rate);
        since.after(most.min(earned.saturating_sub(self.waited)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_earns_less_and_less_time() {
        let config = HttpConfig::default();
        let mut pace = Pace::default();
        let left = |pace: &mut Pace| {
            let at = pace.wait(Duration::from_secs(30), &config);
            let left = at.since(pace.since.unwrap());
            pace.since = None;
            left
        };
        assert_eq!(left(&mut pace), Duration::from_secs(20));
        pace.waited = Duration::from_secs(19);
        assert_eq!(left(&mut pace), Duration::from_secs(1));
        pace.bytes = 5_000;
        assert_eq!(left(&mut pace), Duration::from_secs(11));
        pace.bytes = 50_000;
        assert_eq!(left(&mut pace), Duration::from_secs(30));
    }
}
