//! Leaves a node alone for a while that fails too often, and then tries it with one call.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hemi_core::clock::Moment;

/// When a node is left alone. What counts are calls that have come to nothing; errors that a service answers are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerConfig {
    /// Failures in a row after which it is: 5 by default.
    pub in_a_row: u32,
    /// The part of the calls in a window that may fail: a half by default.
    pub ratio: f64,
    /// Calls that there must be in a window for that: 20 by default.
    pub least: u32,
    /// How long a window is: 10 seconds by default.
    pub window: Duration,
    /// How long it is left alone, before one call tries it out: a second by default; the double each time that this
    /// fails, up to 32 times as long.
    pub rest: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            in_a_row: 5,
            ratio: 0.5,
            least: 20,
            window: Duration::from_secs(10),
            rest: Duration::from_secs(1),
        }
    }
}

pub(super) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the window began.
    since: Option<Moment>,
    calls: u32,
    failures: u32,
    in_a_row: u32,
    /// It is left alone until then.
    until: Option<Moment>,
    /// A call tries it out.
    tried: bool,
    /// How often it was left alone since it last worked.
    rests: u32,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    /// Whether a call may be made.
    pub(super) fn is_ready(&self, now: Moment) -> bool {
        self.lock().is_ready(now)
    }

    /// The same for a call that is made then.
    pub(super) fn admit(&self, now: Moment) -> bool {
        let mut state = self.lock();
        let ready = state.is_ready(now);
        if ready && state.until.is_some() {
            state.tried = true;
        }
        ready
    }

    pub(super) fn succeeded(&self, now: Moment) {
        let mut state = self.lock();
        if state.until.is_some() {
            *state = State::default();
        }
        state.count(now, self.config.window);
        state.in_a_row = 0;
    }

    pub(super) fn failed(&self, now: Moment) {
        let mut state = self.lock();
        state.count(now, self.config.window);
        state.failures += 1;
        state.in_a_row += 1;
        let often = state.calls >= self.config.least
            && f64::from(state.failures) > f64::from(state.calls) * self.config.ratio;
        let resting = state.until.is_some() && !state.tried;
        if !resting && (state.tried || often || state.in_a_row >= self.config.in_a_row) {
            let rest = self.config.rest * (1 << state.rests.min(5));
            let rests = state.rests + 1;
            *state = State { until: Some(now.after(rest)), rests, ..State::default() };
        }
    }

    /// A call came to no end that says something about the node.
    pub(super) fn abandoned(&self) {
        self.lock().tried = false;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_ready(&self, now: Moment) -> bool {
        self.until.is_none_or(|until| now >= until && !self.tried)
    }

    fn count(&mut self, now: Moment, window: Duration) {
        if self.since.is_none_or(|since| now >= since.after(window)) {
            (self.since, self.calls, self.failures) = (Some(now), 0, 0);
        }
        self.calls += 1;
    }
}

#[cfg(test)]
mod tests {
    use hemi_core::clock;

    use super::*;

    fn after(start: Moment, seconds: f64) -> Moment {
        start.after(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn it_opens_and_one_call_tries_it_out() {
        let (breaker, start) = (Breaker::new(BreakerConfig::default()), clock::now());
        (0..4).for_each(|_| breaker.failed(start));
        breaker.succeeded(start);
        (0..4).for_each(|_| breaker.failed(start));
        assert!(breaker.admit(start));
        breaker.failed(start);
        assert!(!breaker.admit(after(start, 0.9)));
        assert!(breaker.is_ready(after(start, 1.0)) && breaker.admit(after(start, 1.0)));
        assert!(!breaker.admit(after(start, 1.0)), "one is enough");
        breaker.failed(after(start, 1.1));
        assert!(!breaker.admit(after(start, 3.0)), "it rests longer");
        assert!(breaker.admit(after(start, 3.2)));
        breaker.abandoned();
        assert!(breaker.admit(after(start, 3.2)));
        breaker.succeeded(after(start, 3.3));
        (0..4).for_each(|_| breaker.failed(after(start, 3.4)));
        assert!(breaker.admit(after(start, 3.4)));
    }

    #[test]
    fn half_of_many_is_too_many_within_a_window() {
        let (breaker, start) = (Breaker::new(BreakerConfig::default()), clock::now());
        let pair = |at: Moment| {
            breaker.succeeded(at);
            breaker.failed(at);
        };
        (0..9).for_each(|_| pair(start));
        (0..9).for_each(|_| pair(after(start, 10.0)));
        assert!(breaker.is_ready(after(start, 10.0)));
        breaker.failed(after(start, 10.0));
        breaker.failed(after(start, 10.0));
        assert!(!breaker.is_ready(after(start, 10.0)));
    }
}
