//! A node, as one core sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::endpoint::Endpoint;

/// What a core knows of a node, and counts of it. Other cores only read it.
#[derive(Debug)]
pub(super) struct Seat {
    /// The node.
    pub(super) endpoint: Arc<Endpoint>,
    /// Requests under way.
    pub(super) active: AtomicU32,
    /// How long answers take to begin, of late, in nanoseconds; 0 while that is not known.
    latency: AtomicU64,
    /// Failures in a row.
    pub(super) failures: AtomicU32,
    /// What round robin owes it: a float.
    credit: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// How much a new answer changes what is known of the latency.
const NEWS: f64 = 0.1;

impl Seat {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            active: AtomicU32::new(0),
            latency: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            credit: AtomicU64::new(0f64.to_bits()),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Requests under way, with the one that would be added.
    pub(super) fn burden(&self) -> f64 {
        f64::from(self.active.load(Ordering::Relaxed)) + 1.0
    }

    /// How long a new request would take, about.
    pub(super) fn cost(&self) -> f64 {
        self.burden() * self.latency.load(Ordering::Relaxed).max(1) as f64
    }

    /// An answer has begun after this time.
    pub(super) fn answered(&self, after: Duration) {
        let new = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX).max(1) as f64;
        let known = match self.latency.load(Ordering::Relaxed) {
            0 => new,
            known => known as f64 + (new - known as f64) * NEWS,
        };
        self.latency.store(known as u64, Ordering::Relaxed);
    }

    /// How long answers take to begin, if that is known.
    pub(super) fn latency(&self) -> Option<Duration> {
        let nanos = self.latency.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Adds to what round robin owes it, and tells that.
    pub(super) fn credit(&self, more: f64) -> f64 {
        let credit = f64::from_bits(self.credit.load(Ordering::Relaxed)) + more;
        self.credit.store(credit.to_bits(), Ordering::Relaxed);
        credit
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::endpoint::Target;
    use super::*;

    /// Nodes of these weights at ports 1, 2, 3, ...
    pub(in super::super) fn seats(weights: &[f64]) -> Vec<(Arc<Seat>, f64)> {
        let seat = |(n, weight): (usize, &f64)| {
            let target = Target::Tcp(([127, 0, 0, 1], n as u16 + 1).into());
            (Arc::new(Seat::new(Arc::new(Endpoint::new(target)))), *weight)
        };
        weights.iter().enumerate().map(seat).collect()
    }

    #[test]
    fn latency_follows_slowly() {
        let seat = &seats(&[1.0])[0].0;
        assert_eq!(seat.latency(), None);
        seat.answered(Duration::from_millis(10));
        assert_eq!(seat.latency(), Some(Duration::from_millis(10)));
        seat.answered(Duration::from_millis(20));
        assert_eq!(seat.latency(), Some(Duration::from_millis(11)));
    }
}
