//! How often a node has failed, as one core counts it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::numbers::Percent;
use crate::clock::Moment;

/// Failures of a node: those in a row, and those of late.
#[derive(Debug, Default)]
pub(super) struct Failures {
    in_a_row: AtomicU32,
    /// Milliseconds of the moment from which on those of late count,
    since: AtomicU64,
    /// and how many requests and failures there were by then.
    requests: AtomicU64,
    failed: AtomicU64,
}

/// How often a node may fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In a row; 0 for any number.
    pub(super) in_a_row: u32,
    /// Of the requests of late; 0 for all of them.
    pub(super) rate: Percent,
}

/// What happened before that is not of late.
const LATE: Duration = Duration::from_secs(10);

/// Fewer requests tell nothing about a rate.
const ENOUGH: u64 = 20;

impl Failures {
    /// A request has not failed.
    pub(super) fn none(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
    }

    /// Another request has failed, of so many until now; tells whether that is more than may be. Then they are
    /// counted anew.
    pub(super) fn one_more(&self, now: Moment, requests: u64, failed: u64, most: Bounds) -> bool {
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let since = Moment::from_millis(self.since.load(Ordering::Relaxed));
        let of_late = |all: u64, then: &AtomicU64| all - then.load(Ordering::Relaxed).min(all);
        let (asked, lost) = (of_late(requests, &self.requests), of_late(failed, &self.failed));
        let is_old = now.since(since) > LATE;
        let too_many = (most.in_a_row > 0 && in_a_row >= most.in_a_row)
            || (!is_old
                && most.rate.share() > 0.0
                && asked >= ENOUGH
                && lost as f64 >= asked as f64 * most.rate.share());
        if is_old || too_many {
            self.since.store(now.millis(), Ordering::Relaxed);
            self.requests.store(requests.saturating_sub(1), Ordering::Relaxed);
            self.failed.store(failed.saturating_sub(1), Ordering::Relaxed);
        }
        if too_many {
            self.none();
        }
        too_many
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_requests_of_late_is_too_much() {
        let most = Bounds { in_a_row: 0, rate: Percent::HALF };
        let failures = Failures::default();
        let at = |seconds: u64| Moment::from_millis(100_000 + seconds * 1000);
        // Every second one, of which the first begins the count.
        let all: Vec<bool> = (1..=15).map(|n| failures.one_more(at(0), 2 * n, n, most)).collect();
        assert_eq!(all.iter().position(|too_many| *too_many), Some(10), "{all:?}");
        // The same, but each long after the other.
        let failures = Failures::default();
        assert!((1..=15).all(|n| !failures.one_more(at(11 * n), 2 * n, n, most)));
        // Fewer than that.
        let failures = Failures::default();
        assert!((1..=30).all(|n| !failures.one_more(at(0), 3 * n, n, most)));
    }
}
