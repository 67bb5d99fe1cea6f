//! A node, as one core sees it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::adaptive::{Adaptive, Window};
use super::endpoint::Endpoint;
use super::queue::Queue;
use crate::clock::{self, Moment};

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
    /// Failures in a row.
    pub(super) failures: AtomicU32,
    /// What round robin owes it: a float.
    credit: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) failed: AtomicU64,
    /// Requests that wait for an answer to begin.
    waiting: AtomicU32,
    /// How many of these there may be.
    limit: AtomicU32,
    recent: Recent,
    adaptive: Mutex<Adaptive>,
}

/// How much a node may be given to do by a core.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Requests under way.
    pub(super) most: u32,
    /// Whether what was learnt counts.
    pub(super) adaptive: bool,
}

/// What was counted since the limit was last thought over.
#[derive(Debug)]
struct Recent {
    /// Milliseconds of the moment when that was.
    since: AtomicU64,
    /// Answers that have begun,
    count: AtomicU32,
    /// of these, such as took longer than this many nanoseconds.
    late: AtomicU32,
    threshold: AtomicU64,
    peak: AtomicU32,
    /// Nanoseconds that about half of them took longer than.
    usual: AtomicU64,
}

/// How much a new answer changes what is known of the latency.
const NEWS: f64 = 0.1;

/// How much a new answer changes what is taken for usual.
const STEP: f64 = 1.02;

/// Answers and time after which the limit is thought over, at least.
const ANSWERS: u32 = 30;
const WHILE: Duration = Duration::from_millis(100);

impl Seat {
    pub(super) fn new(endpoint: Arc<Endpoint>, queue: Arc<Queue>) -> Self {
        let recent = Recent {
            since: AtomicU64::new(0),
            count: AtomicU32::new(0),
            late: AtomicU32::new(0),
            threshold: AtomicU64::new(u64::MAX),
            peak: AtomicU32::new(0),
            usual: AtomicU64::new(0),
        };
        Self {
            endpoint,
            queue,
            active: AtomicU32::new(0),
            latency: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            credit: AtomicU64::new(0f64.to_bits()),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            limit: AtomicU32::new(u32::MAX),
            recent,
            adaptive: Mutex::default(),
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
        let most = if limits.adaptive { self.limit.load(Ordering::Relaxed) } else { u32::MAX };
        self.active.load(Ordering::Relaxed) >= limits.most
            || self.waiting.load(Ordering::Relaxed) >= most
    }

    /// How many requests may wait for it to answer, if it can do no more.
    pub(super) fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit < u32::MAX)
    }

    /// It is given a request.
    pub(super) fn begin(&self) {
        self.hold();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        if waiting > self.recent.peak.load(Ordering::Relaxed) {
            self.recent.peak.store(waiting, Ordering::Relaxed);
        }
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
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.queue.wake();
    }

    /// An answer has begun after this time.
    pub(super) fn answered(&self, after: Duration) {
        let new = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX).max(1);
        let known = match self.latency.load(Ordering::Relaxed) {
            0 => new as f64,
            known => known as f64 + (new as f64 - known as f64) * NEWS,
        };
        self.latency.store(known as u64, Ordering::Relaxed);
        self.recent.count(new);
    }

    /// Nobody waits any more for an answer that had not begun after this time, which tells something if it is
    /// longer than answers take.
    pub(super) fn given_up(&self, after: Duration) {
        let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        if after > self.recent.threshold.load(Ordering::Relaxed) {
            self.recent.count(after);
        }
    }

    /// Thinks the limit over, if enough has happened.
    pub(super) fn adapt(&self) {
        if self.recent.count.load(Ordering::Relaxed) < ANSWERS {
            return;
        }
        let Some(window) = self.recent.close(clock::now()) else { return };
        let mut adaptive = self.adaptive.lock().unwrap_or_else(PoisonError::into_inner);
        adaptive.learn(window);
        let threshold = (adaptive.threshold() * 1e9) as u64;
        self.recent.threshold.store(threshold, Ordering::Relaxed);
        self.limit.store(adaptive.limit().unwrap_or(u32::MAX), Ordering::Relaxed);
        self.recent.peak.store(self.waiting.load(Ordering::Relaxed), Ordering::Relaxed);
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

impl Recent {
    fn count(&self, nanos: u64) {
        // One core writes: what is between reading and writing is nobody's.
        let add = |to: &AtomicU32| to.store(to.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        add(&self.count);
        if nanos > self.threshold.load(Ordering::Relaxed) {
            add(&self.late);
        }
        let usual = match self.usual.load(Ordering::Relaxed) {
            0 => nanos as f64,
            usual if nanos > usual => usual as f64 * STEP,
            usual => usual as f64 / STEP,
        };
        self.usual.store(usual as u64 + 1, Ordering::Relaxed);
    }

    /// What was counted, if it was for long enough; counting begins anew.
    fn close(&self, now: Moment) -> Option<Window> {
        let usual = Duration::from_nanos(self.usual.load(Ordering::Relaxed));
        let since = Moment::from_millis(self.since.load(Ordering::Relaxed));
        let length = now.since(since);
        if length < WHILE.max(usual) {
            return None;
        }
        self.since.store(now.millis(), Ordering::Relaxed);
        Some(Window {
            count: self.count.swap(0, Ordering::Relaxed),
            late: self.late.swap(0, Ordering::Relaxed),
            length: length.as_secs_f64(),
            peak: self.peak.load(Ordering::Relaxed),
            usual: usual.as_secs_f64(),
        })
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

    #[test]
    fn what_is_usual_is_what_half_of_all_take() {
        let seat = &seats(&[1.0])[0].0;
        for n in 0..2000 {
            // Most come soon, some take very long.
            let millis = if n % 5 == 0 { 30_000 } else { 9 + n % 3 };
            seat.answered(Duration::from_millis(millis));
        }
        let usual = seat.recent.usual.load(Ordering::Relaxed) / 1_000_000;
        assert!((8..15).contains(&usual), "{usual}");
    }
}
