//! Which streams of a connection are to be polled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Where the wakers of a connection's streams leave word.
#[derive(Debug, Default)]
pub(super) struct Wakes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Each stream at most once, and there are not many.
    woken: Vec<Arc<StreamWaker>>,
    task: Option<Waker>,
}

#[derive(Debug)]
struct StreamWaker {
    stream: u32,
    queued: AtomicBool,
    wakes: Arc<Wakes>,
}

impl Wakes {
    /// The waker for what runs on a stream.
    pub(super) fn waker(self: &Arc<Self>, stream: u32) -> Waker {
        let wakes = self.clone();
        Waker::from(Arc::new(StreamWaker { stream, queued: AtomicBool::new(false), wakes }))
    }

    /// Has this waker be woken with every stream's; true if some were woken already.
    pub(super) fn register(&self, task: &Waker) -> bool {
        let mut state = self.lock();
        if !state.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            state.task = Some(task.clone());
        }
        !state.woken.is_empty()
    }

    /// Names the streams that were woken.
    pub(super) fn take(&self, mut each: impl FnMut(u32)) {
        let woken = std::mem::take(&mut self.lock().woken);
        for waker in woken {
            waker.queued.store(false, Ordering::Release);
            each(waker.stream);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let wakes = self.wakes.clone();
        let mut state = wakes.lock();
        state.woken.push(self);
        let task = state.task.clone();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}
