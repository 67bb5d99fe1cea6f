//! Calls that are made again, by the rules of gRPC (proposal A6).

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use getrandom::u32 as random;
use http::{HeaderMap, Response};
use tonic::{Code, Status};

use super::service_config::Throttling;

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
    /// How long at most, as each time is longer than the one before: 5 seconds by default.
    pub longest_pause: Duration,
    /// How many times as long: 2 by default.
    pub multiplier: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            codes: vec![Code::Unavailable],
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
            multiplier: 2.0,
        }
    }
}

impl Retry {
    pub(super) fn covers(&self, code: Code) -> bool {
        self.attempts > 1 && self.codes.contains(&code)
    }

    /// How long to wait after so many failures, give or take a fifth.
    pub(crate) fn pause(&self, failed: u32) -> Duration {
        let times = self.multiplier.powi(failed.saturating_sub(1).min(64) as i32);
        let seconds = self.first_pause.as_secs_f64() * times;
        let grown = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let spread = 80 + random().unwrap_or(20) % 41;
        grown.min(self.longest_pause) * spread / 100
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

/// How many calls may be made again, so that who is in trouble does not get the more to do.
#[derive(Debug)]
pub(super) enum Budget {
    /// One for each five calls, and some ten more: tenths of a call.
    Share(AtomicI64),
    /// As a service config says: what is left, in thousandths of a token.
    Tokens(AtomicI64, Throttling),
}

/// Tenths of a call.
const MOST: i64 = 100;

/// Thousandths of a token.
const TOKEN: i64 = 1000;

impl Budget {
    pub(super) fn new(throttling: Option<Throttling>) -> Self {
        match throttling {
            None => Self::Share(AtomicI64::new(MOST)),
            Some(throttling) => Self::Tokens(AtomicI64::new(throttling.most), throttling),
        }
    }

    /// A call has begun.
    pub(super) fn began(&self) {
        if let Self::Share(left) = self
            && left.load(Ordering::Relaxed) < MOST
        {
            left.fetch_add(2, Ordering::Relaxed);
        }
    }

    /// It has come to something.
    pub(super) fn succeeded(&self) {
        if let Self::Tokens(left, Throttling { most, ratio }) = self {
            let more = |left: i64| Some((left + ratio).min(*most));
            let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }

    /// It has come to nothing that could be made again.
    pub(super) fn failed(&self) {
        if let Self::Tokens(left, _) = self {
            let less = |left: i64| Some((left - TOKEN).max(0));
            let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Whether it may be made again, which counts then.
    pub(super) fn spend(&self) -> bool {
        match self {
            Self::Share(left) => {
                let now = left.fetch_sub(10, Ordering::Relaxed) - 10;
                if now < 0 {
                    left.fetch_add(10, Ordering::Relaxed);
                }
                now >= 0
            }
            Self::Tokens(left, throttling) => left.load(Ordering::Relaxed) > throttling.most / 2,
        }
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
        let budget = Budget::new(None);
        assert_eq!((0..20).filter(|_| budget.spend()).count(), 10);
        (0..5).for_each(|_| budget.began());
        assert!(budget.spend() && !budget.spend());
    }

    #[test]
    fn tokens_are_lost_by_failures_and_won_back() {
        let budget = Budget::new(Some(Throttling { most: 4000, ratio: 500 }));
        budget.failed();
        assert!(budget.spend());
        budget.failed();
        assert!(!budget.spend());
        budget.succeeded();
        assert!(budget.spend());
        (0..10).for_each(|_| budget.failed());
        (0..4).for_each(|_| budget.succeeded());
        assert!(!budget.spend());
        budget.succeeded();
        assert!(budget.spend());
    }
}
