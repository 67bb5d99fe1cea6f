//! A node, as one core sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::endpoint::Endpoint;
use super::failures::Failures;
use super::pace::Counts;
use super::queue::Queue;

/// What a core knows of a node, and counts of it. Other cores only read it.
#[derive(Debug)]
pub(super) struct Seat {
    /// The node.
    pub(super) endpoint: Arc<Endpoint>,
    /// The requests of the core, to this and all other nodes.
    pub(super) queue: Arc<Queue>,
    /// Requests under way.
    pub(super) active: AtomicU32,
    /// How long answers take to begin, of late, in nanoseconds; 0 while that is not known.
    latency: AtomicU64,
    pub(super) failures: Failures,
    /// What round robin owes it: a float.
    credit: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) failed: AtomicU64,
    /// Of requests that wait for an answer to begin.
    counts: Arc<Counts>,
}

/// How much a node may be given to do by a core.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Requests under way.
    pub(super) most: u32,
    /// Whether what was learnt counts.
    pub(super) adaptive: bool,
}

/// How much a new answer changes what is known of the latency.
const NEWS: f64 = 0.1;

/// What is taken for the latency of a node that has only ever failed, in nanoseconds.
const BAD: u64 = 1_000_000_000;

impl Seat {
    pub(super) fn new(endpoint: Arc<Endpoint>, queue: Arc<Queue>) -> Self {
        let counts = endpoint.pace.join(queue.clone());
        Self {
            endpoint,
            queue,
            active: AtomicU32::new(0),
            latency: AtomicU64::new(0),
            failures: Failures::default(),
            credit: AtomicU64::new(0f64.to_bits()),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            counts,
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

    /// Whether it must not be given one more: that would be more than it may have, or can do.
    pub(super) fn is_full(&self, limits: Limits) -> bool {
        self.active.load(Ordering::Relaxed) >= limits.most
            || (limits.adaptive && self.endpoint.pace.is_full(&self.counts))
    }

    /// It is given a request.
    pub(super) fn begin(&self) {
        self.hold();
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.endpoint.pace.begin(&self.counts);
    }

    /// One more counts as under way.
    pub(super) fn hold(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.queue.active.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is over.
    pub(super) fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.queue.active.fetch_sub(1, Ordering::Relaxed);
        self.queue.wake();
    }

    /// Nobody waits for the answer to begin any more: it has, or will not.
    pub(super) fn stop_waiting(&self) {
        self.endpoint.pace.end(&self.counts);
    }

    /// An answer has begun after this time.
    pub(super) fn answered(&self, after: Duration) {
        let new = nanos(after);
        let known = match self.latency.load(Ordering::Relaxed) {
            0 => new as f64,
            known => known as f64 + (new as f64 - known as f64) * NEWS,
        };
        self.latency.store(known as u64, Ordering::Relaxed);
        self.endpoint.pace.answered(&self.counts, new);
    }

    /// It has said that it can't answer: of one that has never done better, nothing good is thought.
    pub(super) fn answered_badly(&self) {
        let _ = self.latency.compare_exchange(0, BAD, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Nobody waits any more for an answer that had not begun after this time, which tells something if it is
    /// longer than answers take.
    pub(super) fn given_up(&self, after: Duration) {
        self.endpoint.pace.given_up(&self.counts, nanos(after));
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

impl Drop for Seat {
    fn drop(&mut self) {
        self.endpoint.pace.leave(&self.counts);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::endpoint::Target;
    use super::*;

    /// Nodes of these weights at ports 1, 2, 3, ...
    pub(in super::super) fn seats(weights: &[f64]) -> Vec<(Arc<Seat>, f64)> {
        let seat = |(n, weight): (usize, &f64)| {
            let target = Target::Tcp(([127, 0, 0, 1], n as u16 + 1).into());
            (Arc::new(Seat::new(Arc::new(Endpoint::new(target)), Arc::default())), *weight)
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
