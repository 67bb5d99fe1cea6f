//! How many requests a node may be made to wait with at once, by all cores together.
//!
//! Each core counts for itself. One that finds that enough has happened adds up what all have counted, and learns
//! from it. While nothing is held back, no core looks at what others count.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::adaptive::{Adaptive, Window};
use super::queue::Queue;
use crate::clock::{self, Moment};

/// What all cores share of a node.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many requests may wait for an answer; `u32::MAX` for any number.
    limit: AtomicU32,
    /// Nanoseconds from which on an answer is late.
    threshold: AtomicU64,
    /// Milliseconds of the moment when the limit was last thought over.
    since: AtomicU64,
    adaptive: Mutex<Adaptive>,
    cores: RwLock<Vec<Arc<Counts>>>,
}

/// What a core counts of a node, apart from what other cores write.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Counts {
    /// Requests that wait for an answer to begin.
    waiting: AtomicU32,
    /// The most of them since the limit was last thought over,
    peak: AtomicU32,
    /// answers that have begun since then,
    answers: AtomicU32,
    /// and of these, such as were late.
    late: AtomicU32,
    /// Nanoseconds that about half of the answers take longer than.
    usual: AtomicU64,
    /// The requests of the core, to this and all other nodes.
    queue: Arc<Queue>,
}

/// How much a new answer changes what is taken for usual.
const STEP: f64 = 1.02;

/// Answers and time after which the limit is thought over, at least.
const ANSWERS: u32 = 30;
const WHILE: Duration = Duration::from_millis(100);

/// A core that has counted fewer answers leaves it to others to think the limit over.
const FEW: u32 = 8;

impl Default for Pace {
    fn default() -> Self {
        Self {
            limit: AtomicU32::new(u32::MAX),
            threshold: AtomicU64::new(u64::MAX),
            since: AtomicU64::new(0),
            adaptive: Mutex::default(),
            cores: RwLock::default(),
        }
    }
}

impl Pace {
    /// What a core is to count by, whose requests wait in this queue.
    pub(super) fn join(&self, queue: Arc<Queue>) -> Arc<Counts> {
        let counts = Arc::new(Counts {
            waiting: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            late: AtomicU32::new(0),
            usual: AtomicU64::new(0),
            queue,
        });
        self.cores.write().unwrap_or_else(PoisonError::into_inner).push(counts.clone());
        counts
    }

    /// A core counts no more.
    pub(super) fn leave(&self, own: &Arc<Counts>) {
        let mut cores = self.cores.write().unwrap_or_else(PoisonError::into_inner);
        cores.retain(|counts| !Arc::ptr_eq(counts, own));
    }

    fn cores(&self) -> RwLockReadGuard<'_, Vec<Arc<Counts>>> {
        self.cores.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests may wait for the node, if it can do no more.
    pub(super) fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit < u32::MAX)
    }

    /// Whether this core must not make the node wait with one more. A core that has less than its part of the limit
    /// may even if others have taken more than theirs: they give it back.
    pub(super) fn is_full(&self, own: &Counts) -> bool {
        let Some(limit) = self.limit() else { return false };
        let mine = own.waiting.load(Ordering::Relaxed);
        let (mut all, mut busy) = (0, u32::from(mine == 0));
        for counts in self.cores().iter() {
            let waiting = counts.waiting.load(Ordering::Relaxed);
            all += waiting;
            busy += u32::from(waiting > 0);
        }
        all >= limit && mine >= (limit / busy.max(1)).max(1)
    }

    /// The node has one more request to answer.
    pub(super) fn begin(&self, own: &Counts) {
        let waiting = own.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        if waiting > own.peak.load(Ordering::Relaxed) {
            own.peak.store(waiting, Ordering::Relaxed);
        }
    }

    /// Nobody waits for the answer to begin any more: it has, or will not. Somebody else may be sent.
    pub(super) fn end(&self, own: &Counts) {
        self.adapt(own);
        own.waiting.fetch_sub(1, Ordering::Relaxed);
        if !own.queue.wake() && self.limit().is_some() {
            self.cores().iter().any(|counts| counts.queue.wake());
        }
    }

    /// An answer has begun after so many nanoseconds.
    pub(super) fn answered(&self, own: &Counts, nanos: u64) {
        own.answers.fetch_add(1, Ordering::Relaxed);
        if self.is_late(nanos) {
            own.late.fetch_add(1, Ordering::Relaxed);
        }
        let usual = match own.usual.load(Ordering::Relaxed) {
            0 => nanos as f64,
            usual if nanos > usual => usual as f64 * STEP,
            usual => usual as f64 / STEP,
        };
        own.usual.store(usual as u64 + 1, Ordering::Relaxed);
    }

    /// Nobody waits any more for an answer that had not begun after this time, which tells something if it is
    /// longer than answers take.
    pub(super) fn given_up(&self, own: &Counts, nanos: u64) {
        if self.is_late(nanos) {
            self.answered(own, nanos);
        }
    }

    fn is_late(&self, nanos: u64) -> bool {
        nanos > self.threshold.load(Ordering::Relaxed)
    }

    /// Thinks the limit over, if enough has happened.
    fn adapt(&self, own: &Counts) {
        if own.answers.load(Ordering::Relaxed) < FEW {
            return;
        }
        let (now, since) = (clock::now(), self.since.load(Ordering::Relaxed));
        let length = now.since(Moment::from_millis(since));
        if length < WHILE {
            return;
        }
        // Else another core is at it.
        let Ok(mut adaptive) = self.adaptive.try_lock() else { return };
        let cores = self.cores();
        let Some(window) = close(&cores, length) else { return };
        self.since.store(now.millis(), Ordering::Relaxed);
        adaptive.learn(window);
        self.threshold.store((adaptive.threshold() * 1e9) as u64, Ordering::Relaxed);
        self.limit.store(adaptive.limit().unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

/// What all have counted, if it is enough; counting begins anew.
fn close(cores: &[Arc<Counts>], length: Duration) -> Option<Window> {
    let (mut answers, mut usual) = (0, 0.0);
    for counts in cores {
        let count = counts.answers.load(Ordering::Relaxed);
        answers += count;
        usual += f64::from(count) * counts.usual.load(Ordering::Relaxed) as f64 / 1e9;
    }
    let (usual, length) = (usual / f64::from(answers.max(1)), length.as_secs_f64());
    if answers < ANSWERS || length < usual {
        return None;
    }
    let mut window = Window { count: 0, late: 0, length, peak: 0, usual };
    for counts in cores {
        window.count += counts.answers.swap(0, Ordering::Relaxed);
        window.late += counts.late.swap(0, Ordering::Relaxed);
        window.peak += counts.peak.swap(counts.waiting.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    Some(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_what_half_of_all_take() {
        let pace = Pace::default();
        let own = pace.join(Arc::default());
        for n in 0..2000 {
            // Most come soon, some take very long.
            let millis = if n % 5 == 0 { 30_000 } else { 9 + n % 3 };
            pace.answered(&own, millis * 1_000_000);
        }
        let usual = own.usual.load(Ordering::Relaxed) / 1_000_000;
        assert!((8..15).contains(&usual), "{usual}");
    }

    #[test]
    fn what_all_cores_count_is_added_up() {
        let pace = Pace::default();
        let [one, two, idle] = [(); 3].map(|()| pace.join(Arc::default()));
        pace.threshold.store(15_000_000, Ordering::Relaxed);
        for (own, millis, waiting) in [(&one, 10, 3), (&two, 20, 5)] {
            (0..waiting).for_each(|_| pace.begin(own));
            (0..20).for_each(|_| pace.answered(own, millis * 1_000_000));
        }
        let second = Duration::from_secs(1);
        let window = close(&pace.cores(), second).unwrap();
        assert_eq!((window.count, window.late, window.peak), (40, 20, 8));
        assert!((0.014..0.016).contains(&window.usual), "{window:?}");
        assert!(close(&pace.cores(), second).is_none(), "it was counted already");
        pace.leave(&idle);
        assert_eq!(pace.cores().len(), 2);
    }

    #[test]
    fn a_limit_is_shared_by_the_cores_that_have_requests() {
        let pace = Pace::default();
        let [one, two, idle] = [(); 3].map(|()| pace.join(Arc::default()));
        let fill = |own: &Counts| {
            while !pace.is_full(own) {
                pace.begin(own);
            }
            own.waiting.load(Ordering::Relaxed)
        };
        (0..100).for_each(|_| pace.begin(&idle));
        assert!(!pace.is_full(&idle), "there is no limit");
        (0..100).for_each(|_| pace.end(&idle));
        pace.limit.store(8, Ordering::Relaxed);
        assert_eq!(fill(&one), 8);
        assert_eq!(fill(&two), 4, "its part, though the other has all");
        (0..4).for_each(|_| pace.end(&one));
        assert!(pace.is_full(&one) && pace.is_full(&two));
        pace.end(&two);
        assert!(!pace.is_full(&one), "who has more than a part may take what is left over");
    }
}
