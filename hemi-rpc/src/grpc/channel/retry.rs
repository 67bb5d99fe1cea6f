//! Calls that are made again, by the rules of gRPC (proposal A6).

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use getrandom::u32 as random;
use http::{HeaderMap, Response};
use tonic::{Code, Status};

/// Which calls are made again, though a node has seen them: none by default. Only those whose whole request is known at
/// once can be, and only while there is no message of an answer.
#[derive(Clone, Debug)]
pub struct Retry {
    /// How often a call is made in all, at most: once by default.
    pub attempts: u32,
    /// By what codes an answer is none: `UNAVAILABLE` by default.
    pub codes: Vec<Code>,
    /// About how long is waited before the first time: 50 ms by default.
    pub first_pause: Duration,
    /// How long at most, as each time is twice as long as the one before: 5 seconds by default.
    pub longest_pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            codes: vec![Code::Unavailable],
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
        }
    }
}

impl Retry {
    pub(super) fn covers(&self, code: Code) -> bool {
        self.attempts > 1 && self.codes.contains(&code)
    }

    /// How long to wait after so many failures, give or take a fifth.
    pub(crate) fn pause(&self, failed: u32) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << failed.saturating_sub(1).min(16));
        let spread = 80 + random().unwrap_or(20) % 41;
        doubled.min(self.longest_pause) * spread / 100
    }
}

/// What a node has answered with, if it is nothing else.
pub(super) fn status_of<B>(answer: &Response<B>) -> Option<Status> {
    Status::from_header_map(answer.headers()).filter(|status| status.code() != Code::Ok)
}

/// What a node says about being asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushback {
    None,
    After(Duration),
    Never,
}

pub(super) fn pushback<B>(answer: &Response<B>) -> Pushback {
    let headers: &HeaderMap = answer.headers();
    let Some(value) = headers.get("grpc-retry-pushback-ms") else { return Pushback::None };
    let millis = value.to_str().ok().and_then(|text| text.parse().ok());
    millis.map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis)))
}

/// How many calls may be made again: one for each five, and some ten more, so that who is in trouble does not get the
/// more to do.
#[derive(Debug)]
pub(super) struct Budget(AtomicI64);

/// Tenths of a call.
const MOST: i64 = 100;

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicI64::new(MOST))
    }
}

impl Budget {
    pub(super) fn earn(&self) {
        if self.0.load(Ordering::Relaxed) < MOST {
            self.0.fetch_add(2, Ordering::Relaxed);
        }
    }

    pub(super) fn spend(&self) -> bool {
        let left = self.0.fetch_sub(10, Ordering::Relaxed) - 10;
        if left < 0 {
            self.0.fetch_add(10, Ordering::Relaxed);
        }
        left >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_have_an_end() {
        let retry = Retry::default();
        for (failed, millis) in [(1, 50), (2, 100), (3, 200), (40, 5000)] {
            let pause = retry.pause(failed).as_millis();
            assert!((millis * 8 / 10..=millis * 12 / 10).contains(&pause), "{failed}: {pause}");
        }
    }

    #[test]
    fn a_budget_is_earned_by_calls() {
        let budget = Budget::default();
        assert_eq!((0..20).filter(|_| budget.spend()).count(), 10);
        (0..5).for_each(|_| budget.earn());
        assert!(budget.spend() && !budget.spend());
    }
}
