//! The driver on io_uring: what the connections of a core start in one turn goes to the kernel in one
//! system call, and so does what has completed come back.
//!
//! A task per core, the *turner*, turns the core's ring: it is woken by the first that starts something,
//! runs after all who were ready with it, and is told by an eventfd when something completes meanwhile.
//!
//! A connection receives by a system call first. When there is nothing, it has the ring receive for it
//! from then on, until it does not take what has come: then it is back to system calls, and who does not
//! take his bytes holds up nobody but his client. Small things are sent by the ring too, and count as sent at once: the kernel takes
//! them in the same turn. If it had no room, the ring waits until it has, and the connection sends by
//! system calls from then on, like all that is large or comes from files.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use io_uring::types::Timespec;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::Shutdown;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::coop;

use super::outbox::Outbox;
use super::socket::{Family, LARGE, recv_small, room};
use crate::sys::uring::{Done, Key, Op, Received, Ring, Room, Sizes};
use crate::sys::{recv_into, watch_readable};

/// The ring of a core: 2 MiB of buffers.
pub(crate) const SIZES: Sizes = Sizes { submissions: 1024, completions: 4096, buffers: 512 };

/// Bytes that a ring sends, at most: larger things are better sent when there is room.
const SMALL: usize = 16 << 10;

/// Buffers of a ring that one connection may leave untaken before the ring receives no more for it. In the
/// turn that passes this, the kernel may still take some dozen.
const UNTAKEN: usize = 4;

/// A connection that is gone has this long for its last bytes to be taken.
static LINGER: Timespec = Timespec::new().sec(30);

thread_local! {
    static CORE: RefCell<Option<Core>> = const { RefCell::new(None) };
}

/// The ring of the core that this thread is.
struct Core {
    ring: Ring<State>,
    home: Arc<Home>,
    /// Whether connections are taken in.
    open: bool,
    turner: Option<Waker>,
    /// The turner was woken.
    stirred: bool,
    /// Who is to be woken after a turn; empty in between.
    woken: Vec<Waker>,
}

/// What connections know of their core, wherever they are.
#[derive(Debug)]
struct Home {
    /// No other core of this process, now or later, has it.
    id: u64,
    runtime: Handle,
}

/// A connection, as the ring keeps it.
#[derive(Debug, Default)]
struct State {
    recv: Recv,
    received: VecDeque<Received>,
    /// Bytes that were taken of the first of those.
    taken: usize,
    /// The ring was told to receive no more.
    full: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Why what counted as sent was not.
    failed: Option<Errno>,
    /// There was no room to send once: from then on it is waited for.
    slow: bool,
    /// To be sent after what is under way.
    last: Option<BytesMut>,
    /// Nothing more is sent after that.
    shut: bool,
    /// What was sent and not taken is lost.
    reset: bool,
}

/// Where bytes come from, after those received.
#[derive(Clone, Copy, Debug, Default)]
enum Recv {
    /// The socket may have some, and the ring does not receive.
    Untried,
    /// It has none, as far as is known: the ring receives.
    #[default]
    Awaited,
    /// The peer has ended.
    Ended,
    Failed(Errno),
}

/// A connection whose bytes a ring moves.
#[derive(Debug)]
pub(super) struct Conn {
    fd: Arc<OwnedFd>,
    pub(super) family: Family,
    /// None once it has left the ring.
    key: Option<Key>,
    home: Arc<Home>,
    reset: bool,
}

/// A socket that has left its ring, and what was received for it before.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) fd: OwnedFd,
    pub(super) early: BytesMut,
}

/// Has the ring of this core, made if there is none, take in the connections accepted from now on.
///
/// To be called on a core's thread, within its runtime.
///
/// # Errors
/// When the system has no such ring to give.
pub(crate) fn open(sizes: Sizes) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    CORE.with_borrow_mut(|core| {
        if let Some(core) = core {
            core.open = true;
            return Ok(());
        }
        let alarm = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ring = Ring::new(sizes, &alarm)?;
        let alarm = watch_readable(alarm)?;
        let runtime = Handle::current();
        let home = Arc::new(Home { id: NEXT.fetch_add(1, Ordering::Relaxed), runtime });
        let (turner, woken) = (None, Vec::new());
        *core = Some(Core { ring, home, open: true, turner, stirred: false, woken });
        tokio::spawn(std::future::poll_fn(move |cx| poll_turns(cx, &alarm)));
        Ok(())
    })
}

/// Has connections accepted from now on do without the ring of this core.
pub(crate) fn close() {
    CORE.with_borrow_mut(|core| core.iter_mut().for_each(|core| core.open = false));
}

/// Ends the ring of this core, whose runtime is gone.
pub(crate) fn end() {
    drop(CORE.take());
}

/// Turns the ring until there is nothing left to do.
fn poll_turns(cx: &mut Context<'_>, alarm: &AsyncFd<OwnedFd>) -> Poll<io::Result<()>> {
    loop {
        let turned = CORE.with_borrow_mut(|core| core.as_mut().map(|core| core.turn(cx.waker())));
        let Some((idle, mut woken)) = turned else { return Poll::Ready(Ok(())) };
        // Whom it wakes may want something of the ring.
        woken.drain(..).for_each(Waker::wake);
        CORE.with_borrow_mut(|core| {
            core.iter_mut().for_each(|core| core.woken = std::mem::take(&mut woken));
        });
        if !idle {
            // Those it has woken come first: what they start goes with the next turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Its number is never read: each signal is reported by itself.
        ready!(alarm.poll_read_ready(cx))?.clear_ready();
    }
}

impl Core {
    /// One turn of the ring; returns whether it has nothing to do now, and who is to be woken.
    fn turn(&mut self, waker: &Waker) -> (bool, Vec<Waker>) {
        if !self.turner.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.turner = Some(waker.clone());
        }
        self.stirred = false;
        let mut woken = std::mem::take(&mut self.woken);
        if self.ring.is_idle() {
            return (true, woken);
        }
        self.ring.turn(|ring, done| completed(ring, done, &mut woken));
        (woken.is_empty() && self.ring.is_idle(), woken)
    }

    /// Has the ring receive what comes; what is much only tell of it, for one copy less.
    fn await_bytes(&mut self, key: Key, room: usize) {
        let (receives, waits) =
            (self.ring.is_under_way(key, Op::Recv), self.ring.is_under_way(key, Op::Readable));
        match (receives, waits) {
            (true, _) if room > LARGE && !self.ring.value(key).full => {
                self.ring.value(key).full = true;
                self.ring.cancel(key, Op::Recv);
            }
            (true, _) | (_, true) => return,
            (false, false) if room > LARGE => self.ring.readable(key),
            (false, false) => self.ring.recv(key),
        }
        self.stir();
    }

    /// Has the turner hand to the kernel what was started.
    fn stir(&mut self) {
        if !std::mem::replace(&mut self.stirred, true) {
            self.turner.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Lets go of a connection that is dropped; what it leaves behind is to be dropped after the borrow.
    fn release(&mut self, key: Key, reset: bool) -> [Option<Waker>; 2] {
        let state = self.ring.value(key);
        state.reset |= reset;
        let (reset, slow) = (state.reset, state.slow);
        let left = [state.reader.take(), state.writer.take()];
        state.received.clear();
        for op in [Op::Recv, Op::Writable, Op::Readable] {
            self.ring.cancel(key, op);
        }
        if self.ring.is_under_way(key, Op::Send) {
            if reset {
                self.ring.cancel(key, Op::Send);
            } else if slow {
                self.ring.timer(key, &LINGER);
            }
        }
        self.ring.remove(key);
        self.stir();
        left
    }
}

impl State {
    /// Moves what was received to `buf`, as far as there is room; returns how much that was.
    fn take(&mut self, buf: &mut BytesMut) -> usize {
        let before = buf.len();
        while let Some(piece) = self.received.front() {
            let left = piece.get(self.taken..).unwrap_or_default();
            let fits = left.len().min(room(buf));
            buf.extend_from_slice(&left[..fits]);
            if fits < left.len() {
                self.taken += fits;
                break;
            }
            self.taken = 0;
            self.received.pop_front();
        }
        buf.len() - before
    }
}

/// What has completed changes the connection's state, and wakes those who wait for it.
fn completed(ring: &mut Ring<State>, done: Done, woken: &mut Vec<Waker>) {
    let key = done.key;
    let state = ring.value(key);
    match done.op {
        Op::Recv => {
            woken.extend(state.reader.take());
            let mut next = Recv::Untried;
            match (done.result, done.received) {
                _ if done.removed => {}
                (Ok(1..), Some(received)) => state.received.push_back(received),
                (Ok(0), _) => next = Recv::Ended,
                // No buffer was free: the connection sees for itself.
                (Ok(_) | Err(Errno::NOBUFS | Errno::INTR | Errno::CANCELED), _) => {}
                (Err(e), _) => next = Recv::Failed(e),
            }
            let full = state.received.len() >= UNTAKEN;
            if !ring.is_under_way(key, Op::Recv) {
                let state = ring.value(key);
                (state.recv, state.full) = (next, false);
            } else if full && !std::mem::replace(&mut ring.value(key).full, true) {
                ring.cancel(key, Op::Recv);
            }
        }
        Op::Send => sent(ring, done, woken),
        Op::Writable => woken.extend(state.writer.take()),
        Op::Readable => {
            woken.extend(state.reader.take());
            state.recv = Recv::Untried;
        }
        Op::Timer => {
            if done.result == Err(Errno::TIME) {
                state.reset = true;
                ring.cancel(key, Op::Send);
            }
        }
    }
}

fn sent(ring: &mut Ring<State>, done: Done, woken: &mut Vec<Waker>) {
    let (key, mut bytes) = (done.key, done.bytes);
    let state = ring.value(key);
    if matches!(state.recv, Recv::Ended) {
        // A reader at the end waits for what becomes of this.
        woken.extend(state.reader.take());
    }
    match done.result {
        Ok(sent) if sent >= bytes.len() => {}
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) if !state.reset => {
            state.slow = true;
            bytes.advance(done.result.unwrap_or(0));
            ring.send(key, bytes, Room::Awaited);
            if done.removed {
                ring.timer(key, &LINGER);
            }
            return;
        }
        Ok(_) => {}
        Err(e) => state.failed = Some(e),
    }
    super::pool::give(bytes);
    if let Some(last) = state.last.take()
        && state.failed.is_none()
    {
        return ring.send(key, last, Room::AsItIs);
    }
    // Who leaves the ring waits for this as a reader.
    woken.extend(state.writer.take());
    if state.shut {
        let _ = rustix::net::shutdown(ring.fd(key), Shutdown::Write);
    }
    if done.removed {
        ring.cancel(key, Op::Timer);
    }
}

impl Conn {
    /// Takes a socket in which there is nothing to receive; gives it back if this thread has no ring for it.
    pub(super) fn join(fd: OwnedFd, family: Family) -> Result<Self, OwnedFd> {
        CORE.with_borrow_mut(|core| match core {
            Some(core) if core.open => {
                let fd = Arc::new(fd);
                let key = Some(core.ring.insert(fd.clone(), State::default()));
                Ok(Self { fd, family, key, home: core.home.clone(), reset: false })
            }
            _ => Err(fd),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether this thread has its ring.
    pub(super) fn is_home(&self) -> bool {
        self.at_home(|_, _| ()).is_some()
    }

    /// Whether nothing has come, not even the end, since all was received; none if the ring can't tell.
    pub(super) fn is_quiet(&self) -> Option<bool> {
        self.at_home(|core, key| {
            let receives =
                core.ring.is_under_way(key, Op::Recv) || core.ring.is_under_way(key, Op::Readable);
            let state = core.ring.value(key);
            match state.recv {
                _ if !state.received.is_empty() => Some(false),
                Recv::Awaited if receives && !state.full => Some(true),
                Recv::Failed(_) | Recv::Ended => Some(false),
                Recv::Awaited | Recv::Untried => None,
            }
        })
        .unwrap_or(Some(false))
    }

    fn at_home<R>(&self, call: impl FnOnce(&mut Core, Key) -> R) -> Option<R> {
        let core = |core: &mut Option<Core>| match (core, self.key) {
            (Some(core), Some(key)) if core.home.id == self.home.id => Some(call(core, key)),
            _ => None,
        };
        CORE.try_with(|cell| core(&mut cell.borrow_mut())).ok().flatten()
    }

    /// The same for calls that may have to wait, and leave a waker that was replaced.
    fn poll<R>(
        &self,
        call: impl FnOnce(&mut Core, Key, &mut Option<Waker>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        // Dropped when the ring is free again, for it may drop all kinds of things.
        let mut replaced = None;
        let polled = self.at_home(|core, key| call(core, key, &mut replaced));
        polled.unwrap_or(Poll::Ready(Err(io::ErrorKind::NotConnected.into())))
    }

    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let budget = ready!(coop::poll_proceed(cx));
        let fd = self.fd.as_fd();
        let polled = self.poll(|core, key, replaced| {
            loop {
                let state = core.ring.value(key);
                let got = state.take(buf);
                if got > 0 {
                    return Poll::Ready(Ok(got));
                }
                match state.recv {
                    Recv::Failed(e) => {
                        state.recv = Recv::Untried;
                        return Poll::Ready(Err(e.into()));
                    }
                    Recv::Untried => {
                        let most = room(buf);
                        let received = if most > LARGE {
                            recv_into(fd, buf).map(|got| (got, got < most))
                        } else {
                            recv_small(fd, buf)
                        };
                        match received {
                            Ok((0, _)) if most > 0 => state.recv = Recv::Ended,
                            // What was less than asked for was all.
                            Ok((got, all)) => {
                                if all {
                                    state.recv = Recv::Awaited;
                                }
                                return Poll::Ready(Ok(got));
                            }
                            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                                state.recv = Recv::Awaited;
                            }
                            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                            Err(e) => return Poll::Ready(Err(e)),
                        }
                    }
                    // An end after what could not be sent is none: of why that was, the socket has
                    // told the ring, and tells it nobody else.
                    Recv::Ended => {
                        if let Some(e) = state.failed {
                            return Poll::Ready(Err(e.into()));
                        }
                        if !state.slow && core.ring.is_under_way(key, Op::Send) {
                            *replaced = await_by(&mut core.ring.value(key).reader, cx);
                            return Poll::Pending;
                        }
                        return Poll::Ready(Ok(0));
                    }
                    Recv::Awaited => {
                        *replaced = await_by(&mut state.reader, cx);
                        core.await_bytes(key, room(buf));
                        return Poll::Pending;
                    }
                }
            }
        });
        if polled.is_ready() {
            budget.made_progress();
        }
        polled
    }

    /// Has the ring tell when something comes, if it would not already.
    pub(super) fn expect(&self) {
        self.at_home(|core, key| {
            if matches!(core.ring.value(key).recv, Recv::Awaited) {
                core.await_bytes(key, usize::MAX);
            }
        });
    }

    /// Whether the peer has ended, and all that it has sent was received, as far as is known.
    pub(super) fn has_ended(&self) -> bool {
        let ended = |state: &State| state.received.is_empty() && matches!(state.recv, Recv::Ended);
        self.at_home(|core, key| ended(core.ring.value(key))).unwrap_or(false)
    }

    /// Has the ring send what is small, and end after it if it is sent with [`Room::Last`]; `false` if the
    /// rest can be sent by system calls now.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        out: &mut Outbox,
        room: Room,
    ) -> Poll<io::Result<bool>> {
        if out.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let slow = ready!(self.poll_sent(cx))?;
        self.poll(|core, key, _| {
            if !slow && let Some(bytes) = out.take_small(SMALL) {
                core.ring.value(key).shut |= room == Room::Last;
                core.ring.send(key, bytes, room);
                core.stir();
                return Poll::Ready(Ok(true));
            }
            Poll::Ready(Ok(false))
        })
    }

    /// Waits until the ring has sent what it was given; tells whether that took long.
    pub(super) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.poll(|core, key, replaced| {
            let state = core.ring.value(key);
            if let Some(e) = state.failed {
                return Poll::Ready(Err(e.into()));
            }
            let slow = state.slow;
            if core.ring.is_under_way(key, Op::Send) || core.ring.is_under_way(key, Op::Writable) {
                *replaced = await_by(&mut core.ring.value(key).writer, cx);
                return Poll::Pending;
            }
            Poll::Ready(Ok(slow))
        })
    }

    /// Waits for room to send, of which there was none.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|core, key, replaced| {
            *replaced = await_by(&mut core.ring.value(key).writer, cx);
            core.ring.writable(key);
            core.stir();
            Poll::Pending
        })
    }

    /// Whether the ring is sending.
    pub(super) fn is_sending(&self) -> bool {
        self.at_home(|core, key| core.ring.is_under_way(key, Op::Send)).unwrap_or(false)
    }

    /// Sends a last word after what is being sent.
    pub(super) fn send_last(&self, word: BytesMut) {
        self.at_home(|core, key| core.ring.value(key).last = Some(word));
    }

    pub(super) fn shutdown(&self) -> io::Result<()> {
        let later = self.at_home(|core, key| {
            let under_way = core.ring.is_under_way(key, Op::Send);
            core.ring.value(key).shut |= under_way;
            under_way
        });
        match later {
            Some(true) => Ok(()),
            Some(false) => Ok(rustix::net::shutdown(self.fd(), Shutdown::Write)?),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(super) fn reset(&mut self) {
        self.reset = true;
    }

    /// Has the connection leave its ring, from whichever thread.
    pub(super) fn leave(mut self) -> oneshot::Receiver<Left> {
        let (tell, told) = oneshot::channel();
        let home = self.home.clone();
        home.runtime.spawn(async move {
            let early = std::future::poll_fn(|cx| self.poll_leave(cx)).await;
            if let (Ok(early), Some(fd)) = (early, self.into_fd()) {
                // If nobody wants it any more, it is closed.
                let _ = tell.send(Left { fd, early });
            }
        });
        told
    }

    /// Waits until nothing is under way; returns what was received and not taken.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        let mut other = None;
        let left = self.poll(|core, key, replaced| {
            let state = core.ring.value(key);
            *replaced = await_by(&mut state.reader, cx);
            other = await_by(&mut state.writer, cx);
            // What is sent goes on its way; what is waited for can be waited for elsewhere.
            core.ring.cancel(key, Op::Recv);
            core.ring.cancel(key, Op::Writable);
            core.ring.cancel(key, Op::Readable);
            core.stir();
            core.ring.take(key).map_or(Poll::Pending, |state| Poll::Ready(Ok(state)))
        });
        let mut state = ready!(left)?;
        self.key = None;
        let mut early =
            BytesMut::with_capacity(state.received.iter().map(|piece| piece.len()).sum());
        state.take(&mut early);
        Poll::Ready(Ok(early))
    }

    fn into_fd(self) -> Option<OwnedFd> {
        let fd = self.fd.clone();
        drop(self);
        Arc::into_inner(fd)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let reset = self.reset;
        let released = self.at_home(|core, key| core.release(key, reset));
        if released.is_none() {
            let id = self.home.id;
            // If the core is gone, so is its ring.
            self.home.runtime.spawn(async move {
                CORE.with_borrow_mut(|core| match core {
                    Some(core) if core.home.id == id => Some(core.release(key, reset)),
                    _ => None,
                })
            });
        }
    }
}

/// Has this task woken; returns the waker that had its place.
fn await_by(place: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match place {
        Some(known) if known.will_wake(cx.waker()) => None,
        _ => place.replace(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests;
