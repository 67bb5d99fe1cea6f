//! Deadlines of connections: a number each, compared by one task per core.
//!
//! Setting a deadline stores a number; only the first one of a connection, and one that comes sooner than
//! all before, is put into the core's wheel. Nothing happens per request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{self, Moment};

/// How coarse deadlines are: one fires up to this much late.
const GRAIN: Duration = Duration::from_millis(128);

/// A connection's place in its core's wheel: when its deadline has passed, or its group is woken, its
/// task is polled, and sees by the clock why.
///
/// It must be used on the thread it was made on, within a tokio runtime; it may be dropped on another.
#[derive(Debug)]
pub struct Deadline {
    index: usize,
    /// Of the wheel that it is of: that of another thread is not to be touched.
    left: Arc<Left>,
}

/// Slots whose deadlines were dropped on other threads, for their wheel to take back.
#[derive(Debug, Default)]
struct Left {
    any: AtomicBool,
    slots: Mutex<Vec<usize>>,
}

impl Left {
    fn leave(&self, index: usize) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(index);
        self.any.store(true, Ordering::Release);
    }

    fn take(&self) -> Vec<usize> {
        match self.any.load(Ordering::Relaxed) && self.any.swap(false, Ordering::Acquire) {
            true => std::mem::take(&mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner)),
            false => Vec::new(),
        }
    }
}

/// Which connections to wake together: those of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(pub(crate) u64);

impl Group {
    /// That of deadlines which are nobody's but their own.
    pub const NONE: Self = Self(u64::MAX);
}

/// How long may be waited for what comes next, by a future that may be polled by one task after the other.
#[derive(Debug, Default)]
pub struct Patience {
    /// There once something was waited for.
    deadline: Option<Deadline>,
    /// Whom it wakes.
    waker: Option<Waker>,
    /// When it is over with what is waited for now.
    at: Option<Moment>,
}

impl Patience {
    /// Something has come: what is waited for next has its time from when it is first waited for.
    pub fn renew(&mut self) {
        self.at = None;
    }

    /// To be asked whenever the future has to wait: whether that has taken `limit` already. If not, its
    /// task is polled again in time.
    pub fn is_over(&mut self, cx: &Context<'_>, limit: Duration) -> bool {
        let now = clock::now();
        let at = *self.at.get_or_insert_with(|| now.after(limit));
        if now >= at {
            return true;
        }
        self.deadline.take_if(|deadline| !deadline.is_here());
        let deadline = match &self.deadline {
            Some(deadline) => deadline,
            None => {
                self.waker = None;
                self.deadline.insert(Deadline::new(Group::NONE, cx.waker()))
            }
        };
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            deadline.wakes(Some(cx.waker().clone()));
            self.waker = Some(cx.waker().clone());
        }
        deadline.set(at);
        false
    }

    /// Nothing is waited for now, for long maybe: no task is held. Waiting again costs less than at first.
    pub fn rest(&mut self) {
        self.at = None;
        self.waker = None;
        if let Some(deadline) = &self.deadline {
            deadline.set(Moment::NEVER);
            deadline.wakes(None);
        }
    }
}

/// Waits for a future, for so long at most; none if that was too short.
///
/// It must be used on a core's thread, within its runtime. What is ready at once costs no deadline.
pub async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut patience = Patience::default();
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if patience.is_over(cx, limit) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

struct Slot {
    at: Moment,
    /// The tick of the bucket that will look at this slot; `u64::MAX` if none will.
    tick: u64,
    /// Tells this use of the slot from the one before it.
    generation: u32,
    group: Group,
    waker: Option<Waker>,
}

impl Slot {
    fn new(generation: u32, group: Group, waker: Option<Waker>) -> Self {
        Self { at: Moment::NEVER, tick: u64::MAX, generation, group, waker }
    }
}

#[derive(Default)]
struct Wheel {
    slots: Vec<Slot>,
    free: Vec<usize>,
    buckets: BTreeMap<u64, Vec<(usize, u32)>>,
    /// Told when a bucket was made that is due before all others; none while no task turns the wheel.
    turner: Option<Arc<Notify>>,
}

thread_local! {
    static WHEEL: RefCell<Wheel> = RefCell::default();
    static LEFT: Arc<Left> = Arc::default();
}

impl Deadline {
    /// Takes a place for the task that `waker` wakes; without a deadline at first.
    #[must_use]
    pub fn new(group: Group, waker: &Waker) -> Self {
        let left = LEFT.with(Arc::clone);
        let _wakers: Vec<_> = left.take().into_iter().map(free).collect();
        WHEEL.with_borrow_mut(|wheel| {
            let waker = Some(waker.clone());
            let index = wheel.free.pop().unwrap_or(wheel.slots.len());
            match wheel.slots.get_mut(index) {
                Some(slot) => *slot = Slot::new(slot.generation.wrapping_add(1), group, waker),
                None => wheel.slots.push(Slot::new(0, group, waker)),
            }
            Self { index, left }
        })
    }

    /// Whether it is of this thread's wheel.
    fn is_here(&self) -> bool {
        LEFT.with(|left| Arc::ptr_eq(left, &self.left))
    }

    /// Has it wake another task, or none.
    fn wakes(&self, waker: Option<Waker>) {
        // What is replaced is dropped after the wheel is let go: it may own a task that has a deadline too.
        let _before = WHEEL.with_borrow_mut(|wheel| {
            let slot = wheel.slots.get_mut(self.index)?;
            std::mem::replace(&mut slot.waker, waker)
        });
    }

    /// Moves the deadline; [`Moment::NEVER`] takes it away.
    pub fn set(&self, at: Moment) {
        WHEEL.with_borrow_mut(|wheel| {
            let Some(slot) = wheel.slots.get_mut(self.index) else { return };
            slot.at = at;
            if at != Moment::NEVER && tick_of(at) < slot.tick {
                slot.tick = tick_of(at);
                let entry = (self.index, slot.generation);
                wheel.schedule(tick_of(at), entry);
            }
        });
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        match LEFT.try_with(|left| Arc::ptr_eq(left, &self.left)) {
            Ok(true) => drop(free(self.index)),
            Ok(false) => self.left.leave(self.index),
            // The thread ends, and its wheel with it.
            Err(_) => {}
        }
    }
}

/// Takes a slot of this thread's wheel back. What is given is to be dropped when the wheel is let go, for it may
/// own a task that has a deadline too.
fn free(index: usize) -> Option<Waker> {
    let freed = WHEEL.try_with(|wheel| {
        let mut wheel = wheel.borrow_mut();
        wheel.free.push(index);
        let slot = wheel.slots.get_mut(index)?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.waker.take()
    });
    freed.ok().flatten()
}

/// Wakes all tasks of this group on this core, to let them see that their server is draining.
pub(crate) fn wake(group: Group) {
    let wakers: Vec<Waker> = WHEEL.with_borrow(|wheel| {
        let members = wheel.slots.iter().filter(|s| s.group == group);
        members.filter_map(|s| s.waker.clone()).collect()
    });
    wakers.into_iter().for_each(Waker::wake);
}

fn tick_of(at: Moment) -> u64 {
    at.millis().div_ceil(GRAIN.as_millis() as u64)
}

impl Wheel {
    fn schedule(&mut self, tick: u64, entry: (usize, u32)) {
        let soonest = self.buckets.first_key_value().is_none_or(|(first, _)| tick < *first);
        self.buckets.entry(tick).or_default().push(entry);
        match &self.turner {
            Some(turner) if soonest => turner.notify_one(),
            Some(_) => {}
            None => {
                let turner = Arc::new(Notify::new());
                self.turner = Some(turner.clone());
                tokio::spawn(turn(turner));
            }
        }
    }

    /// Takes the wakers of the deadlines that have passed; the others move to the bucket of their time.
    fn due(&mut self, now: Moment) -> Vec<Waker> {
        let mut due = Vec::new();
        let this_tick = now.millis() / GRAIN.as_millis() as u64;
        while let Some(bucket) = self.buckets.first_entry() {
            if *bucket.key() > this_tick {
                break;
            }
            let (tick, entries) = bucket.remove_entry();
            for (index, generation) in entries {
                let Some(slot) = self.slots.get_mut(index) else { continue };
                if slot.generation != generation || slot.tick != tick {
                    continue;
                }
                slot.tick = u64::MAX;
                if slot.at <= now {
                    due.extend(slot.waker.clone());
                } else if slot.at != Moment::NEVER {
                    slot.tick = tick_of(slot.at);
                    self.buckets.entry(slot.tick).or_default().push((index, generation));
                }
            }
        }
        due
    }
}

/// Turns this core's wheel for as long as something is on it.
async fn turn(earlier: Arc<Notify>) {
    loop {
        let next = WHEEL.with_borrow_mut(|wheel| {
            let next = wheel.buckets.first_key_value().map(|(tick, _)| *tick);
            if next.is_none() {
                wheel.turner = None;
            }
            next
        });
        let Some(next) = next else { return };
        let wait = Moment::from_millis(next * GRAIN.as_millis() as u64).since(clock::now());
        // A coarse clock may lag behind the timer by a tick.
        let wait = wait.max(Duration::from_millis(1));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = earlier.notified() => {}
        }
        let due = WHEEL.with_borrow_mut(|wheel| wheel.due(clock::now()));
        due.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until a deadline `after` from now, moved once to `then` from now, fires.
    async fn wait(after: Duration, then: Duration) -> Duration {
        let start = clock::now();
        let mut deadline = None;
        poll_fn(|cx| {
            deadline.get_or_insert_with(|| {
                let deadline = Deadline::new(Group(7), cx.waker());
                deadline.set(start.after(after));
                deadline.set(start.after(then));
                deadline
            });
            if clock::now() >= start.after(then) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        clock::now().since(start)
    }

    #[tokio::test]
    async fn fires_at_its_time_wherever_it_was_moved() {
        let ms = Duration::from_millis;
        for (after, then) in [(50, 50), (400, 50), (50, 400)] {
            let took = wait(ms(after), ms(then)).await;
            assert!(took >= ms(then), "{after} → {then}: {took:?}");
        }
    }

    #[tokio::test]
    async fn wakes_its_group_and_frees_its_slot() {
        let mut polls = 0;
        let mut deadline = None;
        poll_fn(|cx| {
            deadline.get_or_insert_with(|| Deadline::new(Group(1), cx.waker()));
            polls += 1;
            match polls {
                1 => {
                    wake(Group(2));
                    wake(Group(1));
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
        assert_eq!(polls, 2);
        drop(deadline);
        assert_eq!(WHEEL.with_borrow(|w| w.slots.len() - w.free.len()), 0);
    }
    #[tokio::test]
    async fn a_slot_comes_back_from_another_thread() {
        let slots = || WHEEL.with_borrow(|w| (w.slots.len(), w.slots.len() - w.free.len()));
        for _ in 0..3 {
            let deadline = Deadline::new(Group(1), Waker::noop());
            assert_eq!(slots(), (1, 1));
            std::thread::spawn(move || drop(deadline)).join().unwrap();
        }
        drop(Deadline::new(Group(1), Waker::noop()));
        assert_eq!(slots(), (1, 0));
    }
}
