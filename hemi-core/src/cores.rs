//! One thread per core, each with its own tokio runtime and its own share of everything hot.
//!
//! A connection lives and dies on the core that accepted it, so that nothing it writes while it works is
//! shared: listening sockets, buffers, timers and counters all belong to a core.

use std::cell::Cell;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::io::{IoDriver, uring};
use crate::sys::uring::Sizes;
use crate::{Error, Result};

/// The threads that serve: one per core, each with a tokio `current_thread` runtime.
///
/// Dropping it ends the threads and every task still on them.
#[derive(Debug)]
pub struct Cores {
    stop: CancellationToken,
    handles: Vec<Handle>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The core this thread serves, counted from 0; none on a thread that is not a core's.
#[must_use]
pub fn current() -> Option<usize> {
    let index = CURRENT.get();
    (index != usize::MAX).then_some(index)
}

/// As many cores as this process may use: affinity and cgroup quota respected.
#[must_use]
pub fn available() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Waits for a future on a thread of its own with a runtime of its own: for what prepares a stage, which
/// may be done on a core.
///
/// # Errors
/// When the system refuses the thread or the runtime, or the future panics.
pub fn wait_aside<F>(future: F) -> Result<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    let work = || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::env("cannot start a runtime", e))?;
        let output = runtime.block_on(future);
        // A system that does not answer is not waited for.
        runtime.shutdown_background();
        Ok(output)
    };
    let panicked = |_| Err(Error::other("what was waited for panicked"));
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(panicked)
}

impl Cores {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// When the system refuses a thread or a runtime's file descriptors.
    pub fn start(count: NonZeroUsize) -> Result<Self> {
        let (stop, threads) = (CancellationToken::new(), Mutex::default());
        let mut cores = Self { stop, handles: Vec::new(), threads };
        for index in 0..count.get() {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| Error::env("cannot start a core's runtime", e))?;
            cores.handles.push(runtime.handle().clone());
            let stop = cores.stop.clone();
            let run = move || {
                CURRENT.set(index);
                runtime.block_on(stop.cancelled());
                drop(runtime);
                uring::end();
            };
            let thread = thread::Builder::new().name(format!("core-{index}")).spawn(run);
            let thread = thread.map_err(|e| Error::env("cannot start a core's thread", e))?;
            cores.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(cores)
    }

    /// Has this driver move the bytes of connections that are accepted from now on.
    ///
    /// # Errors
    /// When [`IoDriver::Uring`] is asked for and the system has no io_uring, too old a one, or forbids it.
    pub(crate) fn drive(&self, driver: IoDriver) -> Result<()> {
        self.drive_by(driver, uring::SIZES)
    }

    /// The same with rings of another size.
    pub(crate) fn drive_by(&self, driver: IoDriver, sizes: Sizes) -> Result<()> {
        for core in 0..self.count() {
            let (tell, told) = mpsc::channel();
            self.spawn(core, async move {
                let opened = match driver {
                    IoDriver::Epoll => {
                        uring::close();
                        Ok(())
                    }
                    IoDriver::Auto | IoDriver::Uring => uring::open(sizes),
                };
                let _ = tell.send(opened);
            });
            // Cores that are stopped accept nothing.
            match told.recv().unwrap_or(Ok(())) {
                Err(e) if driver == IoDriver::Uring => {
                    return Err(Error::env("cannot use io_uring (it needs Linux 6.1)", e));
                }
                Err(e) => debug!(core, "no io_uring, so epoll is used: {e}"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// Tasks on all of them now.
    pub(crate) fn tasks(&self) -> usize {
        self.handles.iter().map(|handle| handle.metrics().num_alive_tasks()).sum()
    }

    /// Starts a task on the core of this index, taken modulo their count.
    pub fn spawn<F>(&self, index: usize, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handles[index % self.handles.len()].spawn(task)
    }
}

impl Cores {
    /// Ends the threads and every task still on them, though such a task may hold the cores itself.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
        if current().is_none() {
            let threads =
                std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
            for thread in threads {
                // A panic there was reported when it happened.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Keeps what different cores write on different cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

/// One value per core, plus one that all other threads share.
///
/// The lock is never contended by cores, for each takes its own.
#[derive(Debug)]
pub struct PerCore<T>(Box<[Padded<Mutex<T>>]>);

impl<T> PerCore<T> {
    /// Makes the values for this many cores.
    pub fn new(cores: usize, mut make: impl FnMut() -> T) -> Self {
        Self((0..=cores).map(|_| Padded(Mutex::new(make()))).collect())
    }

    /// The value of the core that calls.
    pub fn mine(&self) -> MutexGuard<'_, T> {
        let own = &self.0[CURRENT.get().min(self.0.len() - 1)];
        own.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every core's value, one after the other.
    pub fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.0.iter().map(|v| v.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A number that cores add to without disturbing each other; summed when read.
#[derive(Clone, Debug)]
pub struct Counter(Arc<[Padded<AtomicU64>]>);

impl Counter {
    /// A counter at zero for this many cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self((0..=cores).map(|_| Padded::default()).collect())
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        let index = CURRENT.get();
        match self.0.get(index) {
            // Only this thread writes there: no need to lock the bus.
            Some(own) if index < self.0.len() - 1 => {
                own.0.store(own.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
            }
            _ => {
                self.0[self.0.len() - 1].0.fetch_add(n, Ordering::Relaxed);
            }
        }
    }

    /// The sum over all cores.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().map(|n| n.0.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// Numbers that are kept in one place, for what is always counted together: a core finds its own by one
/// look, and touches few cache lines.
#[derive(Debug)]
pub struct Counters {
    cells: Box<[Padded<[AtomicU64; Self::LINE]>]>,
    /// Of one core.
    lines: usize,
}

/// The numbers of one core.
#[derive(Clone, Copy, Debug)]
pub struct Mine<'a> {
    cells: &'a [Padded<[AtomicU64; Counters::LINE]>],
    /// Nobody else writes there.
    alone: bool,
}

impl Counters {
    /// Numbers in the padding of one.
    const LINE: usize = 16;

    /// So many counters at zero, for this many cores.
    #[must_use]
    pub fn new(counters: usize, cores: usize) -> Self {
        let lines = counters.div_ceil(Self::LINE).max(1);
        Self { cells: (0..lines * (cores + 1)).map(|_| Padded::default()).collect(), lines }
    }

    /// Those of the core that calls.
    #[must_use]
    pub fn mine(&self) -> Mine<'_> {
        let last = self.cells.len() / self.lines - 1;
        let core = CURRENT.get();
        let cells = &self.cells[core.min(last) * self.lines..][..self.lines];
        Mine { cells, alone: core < last }
    }

    /// The sum of one over all cores.
    #[must_use]
    pub fn sum(&self, counter: usize) -> u64 {
        let (line, at) = (counter / Self::LINE, counter % Self::LINE);
        let of_cores = self.cells.chunks(self.lines).filter_map(|cells| cells.get(line)?.0.get(at));
        of_cores.map(|n| n.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

impl Mine<'_> {
    /// Adds `n` to one of them; to none, if there are not so many.
    pub fn add(self, counter: usize, n: u64) {
        let line = self.cells.get(counter / Counters::LINE);
        let Some(cell) = line.and_then(|line| line.0.get(counter % Counters::LINE)) else { return };
        if self.alone {
            // No need to lock the bus.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        } else {
            cell.fetch_add(n, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_has_its_own_share() {
        let cores = Cores::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let (counter, values) = (Counter::new(2), Arc::new(PerCore::new(2, || None)));
        let many = Arc::new(Counters::new(18, 2));
        let runtime = Builder::new_current_thread().build().unwrap();
        for index in 0..2 {
            let (counter, values, many) = (counter.clone(), values.clone(), many.clone());
            let task = cores.spawn(index, async move {
                counter.add(1);
                many.mine().add(17, 1);
                *values.mine() = current();
            });
            runtime.block_on(task).unwrap();
        }
        counter.add(1);
        assert_eq!(counter.sum(), 3);
        many.mine().add(17, 5);
        many.mine().add(1000, 1);
        assert_eq!((many.sum(17), many.sum(16), many.sum(1000)), (7, 0, 0));
        let seen: Vec<_> = values.each().map(|v| *v).collect();
        assert_eq!(seen, [Some(0), Some(1), None]);
    }
}
