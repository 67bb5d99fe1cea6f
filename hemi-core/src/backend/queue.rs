//! Requests that wait until a node may be given one more: those of a core, in the order they came.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::NoNode;
use crate::clock::Moment;

/// The requests of one core. Other cores only read it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// That are under way.
    pub(super) active: AtomicU32,
    /// That wait.
    pub(super) waiting: AtomicUsize,
    /// That nobody was found for in time.
    pub(super) shed: AtomicU64,
    place: Notify,
}

/// Counts one that waits, for as long as it does.
struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    /// Somebody may have a place now. Tells whether anybody waits for one.
    pub(super) fn wake(&self) -> bool {
        let any = self.waiting.load(Ordering::Relaxed) > 0;
        if any {
            self.place.notify_one();
        }
        any
    }

    /// Tries again each time that there may be a place; gives up when the time is over, or at once if too many
    /// wait already.
    pub(super) async fn wait<T>(
        &self,
        most: usize,
        limit: Duration,
        mut attempt: impl FnMut() -> Result<T, NoNode>,
    ) -> Result<T, NoNode> {
        let full = || {
            self.shed.fetch_add(1, Ordering::Relaxed);
            Err(NoNode::Full)
        };
        if self.waiting.load(Ordering::Relaxed) >= most {
            return full();
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        let deadline = Instant::now() + limit;
        loop {
            if timeout_at(deadline, self.place.notified()).await.is_err() {
                return full();
            }
            match attempt() {
                Err(NoNode::Full) => {}
                done => {
                    drop(waiting);
                    // There may be more than one.
                    self.wake();
                    return done;
                }
            }
        }
    }
}

/// How often a core may try again.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryBudget {
    left: f64,
    refilled: Moment,
    spent: u64,
    refused: u64,
}

/// Tries that are always allowed in a second, and how many are saved up.
const ALWAYS: f64 = 10.0;
const SAVED: f64 = 100.0;

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self { left: SAVED, refilled: Moment::from_millis(0), spent: 0, refused: 0 }
    }

    /// A request has been sent.
    pub(super) fn earn(&mut self, share: f64) {
        self.left = (self.left + share).min(SAVED);
    }

    /// Whether one may be sent again.
    pub(super) fn spend(&mut self, now: Moment) -> bool {
        let since = now.since(self.refilled).as_secs_f64().min(1.0);
        self.refilled = now;
        self.left = (self.left + ALWAYS * since).min(SAVED);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
            self.spent += 1;
        } else {
            self.refused += 1;
        }
        may
    }

    /// How often it might, and how often not.
    pub(super) fn counted(&self) -> (u64, u64) {
        (self.spent, self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_a_share_of_requests() {
        let (mut budget, now) = (RetryBudget::new(), Moment::from_millis(1_000_000));
        assert_eq!((0..200).filter(|_| budget.spend(now)).count(), 100);
        (0..100).for_each(|_| budget.earn(0.25));
        assert_eq!((0..100).filter(|_| budget.spend(now)).count(), 25);
        let later = now.after(Duration::from_secs(10));
        assert_eq!((0..100).filter(|_| budget.spend(later)).count(), 10);
    }

    #[tokio::test]
    async fn who_waits_gets_a_place_or_is_told_so() {
        let queue = Queue::default();
        let now = Duration::ZERO;
        let full = || Err::<(), _>(NoNode::Full);
        assert_eq!(queue.wait(0, Duration::MAX / 4, full).await, Err(NoNode::Full));
        assert_eq!(queue.wait(1, now, full).await, Err(NoNode::Full));
        let (mut places, minute) = (0, Duration::from_secs(60));
        let attempt = || {
            if places < 2 {
                places += 1;
                Err(NoNode::Full)
            } else {
                Ok(())
            }
        };
        let wakes = async {
            while queue.waiting.load(Ordering::Relaxed) > 0 {
                queue.wake();
                tokio::task::yield_now().await;
            }
        };
        let (got, ()) = tokio::join!(queue.wait(1, minute, attempt), wakes);
        assert_eq!(got, Ok(()));
        assert_eq!(queue.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(queue.shed.load(Ordering::Relaxed), 2);
    }
}
