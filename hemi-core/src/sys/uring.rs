//! An io_uring (io_uring(7)) whose operations own what the kernel reads and writes until it is done with it.
//!
//! A [`Ring`] keeps sockets, each with a value of its user and the operations that are under way on it.
//! A socket that is removed stays open until the last of them has completed. Bytes are received into
//! buffers that all sockets share, one of which is taken only when there is something to put into it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering, fence};

use bytes::BytesMut;
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};
use rustix::io::Errno;

/// Bytes that are received at once, at most.
pub(crate) const BUFFER: usize = 4 << 10;

/// Pages are at most this large on all systems.
const PAGE: usize = 64 << 10;

/// The group of the buffers: there is one only.
const GROUP: u16 = 0;

/// Marks completions that nobody waits for.
const IGNORED: u64 = u64::MAX;

/// Whether a busy ring can do without its alarm: elsewhere the kernel lacks a barrier between noting that
/// there is work and looking whether to signal it.
const QUIET: bool = cfg!(target_arch = "x86_64");

/// What has completed is reaped by the call that starts the next, even if the kernel has not said so before.
const REAP: u32 = EnterFlags::GETEVENTS.bits();

/// Turns of a ring that ends, if there is so much to do.
const ROUNDS: usize = 64;

/// How long a ring that ends waits for the kernel to give up its operations.
const FAREWELL: Timespec = Timespec::new().sec(1);

/// How large a ring is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Operations that are handed to the kernel in one system call, at most.
    pub(crate) submissions: u32,
    /// Completions that have a place before the kernel has to allocate some.
    pub(crate) completions: u32,
    /// Buffers of [`BUFFER`] bytes to receive into; a power of two.
    pub(crate) buffers: u16,
}

/// Names a socket of a ring until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// What can be under way on a socket, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Receives whatever comes, until it is told to end. Completes with each piece, and is under way
    /// still if more may follow.
    Recv,
    Send,
    /// Waits until there is room to send.
    Writable,
    Timer,
    /// Waits until there is something to receive.
    Readable,
}

/// How a send deals with a lack of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It sends what there is room for at once, maybe nothing.
    AsItIs,
    /// The same, and the end that follows goes with it.
    Last,
    /// It waits until there is some.
    Awaited,
}

/// An operation that has completed.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) key: Key,
    pub(crate) op: Op,
    /// Bytes received or sent.
    pub(crate) result: Result<usize, Errno>,
    /// What was received.
    pub(crate) received: Option<Received>,
    /// The bytes of a send, those sent too.
    pub(crate) bytes: BytesMut,
    /// Whether the socket was removed meanwhile.
    pub(crate) removed: bool,
}

/// A ring that is used on the thread that made it, and has no other.
pub(crate) struct Ring<T> {
    ring: IoUring,
    buffers: Rc<Buffers>,
    sockets: Vec<Option<Box<Socket<T>>>>,
    free: Vec<u32>,
    /// Operations whose completion was not seen yet.
    under_way: usize,
    /// Found no place in the submission queue.
    waiting: VecDeque<squeue::Entry>,
    completed: Vec<cqueue::Entry>,
}

struct Socket<T> {
    fd: Arc<OwnedFd>,
    /// A bit for each operation under way.
    ops: u8,
    removed: bool,
    /// What the kernel sends from: not to be touched while a send is under way.
    bytes: BytesMut,
    value: T,
}

impl Op {
    const ALL: [Self; 5] = [Self::Recv, Self::Send, Self::Writable, Self::Timer, Self::Readable];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn tag(self, key: Key) -> u64 {
        (key.0 as u64) << 3 | self as u64
    }
}

impl<T> Ring<T> {
    /// A ring that signals `alarm` (eventfd(2)) when something completes.
    ///
    /// # Errors
    /// When the system has none, forbids it, or lacks what this one needs: Linux 6.1 has it all.
    pub(crate) fn new(sizes: Sizes, alarm: &OwnedFd) -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(sizes.completions)
            .build(sizes.submissions)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Recv::CODE, opcode::Send::CODE, opcode::PollAdd::CODE]
            .into_iter()
            .chain([opcode::AsyncCancel::CODE, opcode::Timeout::CODE]);
        if !needed.into_iter().all(|code| probe.is_supported(code))
            || !ring.params().is_feature_nodrop()
        {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let buffers = Buffers::register(&ring, sizes.buffers)?;
        ring.submitter().register_eventfd(alarm.as_raw_fd())?;
        let (sockets, free, completed) = (Vec::new(), Vec::new(), Vec::new());
        let waiting = VecDeque::new();
        Ok(Self { ring, buffers, sockets, free, under_way: 0, waiting, completed })
    }

    /// Takes a socket in.
    pub(crate) fn insert(&mut self, fd: Arc<OwnedFd>, value: T) -> Key {
        let socket = Box::new(Socket { fd, ops: 0, removed: false, bytes: BytesMut::new(), value });
        if let Some(index) = self.free.pop() {
            self.sockets[index as usize] = Some(socket);
            return Key(index);
        }
        self.sockets.push(Some(socket));
        Key(u32::try_from(self.sockets.len() - 1).expect("fewer than files can be open"))
    }

    /// What was taken in with the socket.
    pub(crate) fn value(&mut self, key: Key) -> &mut T {
        &mut self.socket(key).value
    }

    pub(crate) fn fd(&mut self, key: Key) -> BorrowedFd<'_> {
        self.socket(key).fd.as_fd()
    }

    pub(crate) fn is_under_way(&mut self, key: Key, op: Op) -> bool {
        self.socket(key).ops & op.bit() != 0
    }

    /// Receives what there is and what comes.
    pub(crate) fn recv(&mut self, key: Key) {
        if let Some(fd) = self.start(key, Op::Recv) {
            let recv = opcode::RecvMulti::new(fd, GROUP).build();
            self.push(recv.user_data(Op::Recv.tag(key)));
        }
    }

    /// Completes when there is room to send.
    pub(crate) fn writable(&mut self, key: Key) {
        if let Some(fd) = self.start(key, Op::Writable) {
            let poll = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
            self.push(poll.user_data(Op::Writable.tag(key)));
        }
    }

    /// Completes when there is something to receive.
    pub(crate) fn readable(&mut self, key: Key) {
        if let Some(fd) = self.start(key, Op::Readable) {
            let poll = opcode::PollAdd::new(fd, libc::POLLIN as u32).build();
            self.push(poll.user_data(Op::Readable.tag(key)));
        }
    }

    /// Completes after this time.
    pub(crate) fn timer(&mut self, key: Key, after: &'static Timespec) {
        if self.start(key, Op::Timer).is_some() {
            let timer = opcode::Timeout::new(after).build();
            self.push(timer.user_data(Op::Timer.tag(key)));
        }
    }

    /// Sends; the bytes come back with the completion.
    ///
    /// # Panics
    /// When another send is under way.
    pub(crate) fn send(&mut self, key: Key, bytes: BytesMut, room: Room) {
        let fd = self.start(key, Op::Send).expect("one send at a time");
        let socket = self.socket(key);
        socket.bytes = bytes;
        let (from, len) = (socket.bytes.as_ptr(), socket.bytes.len());
        let wait = match room {
            Room::AsItIs => libc::MSG_DONTWAIT,
            Room::Last => libc::MSG_DONTWAIT | libc::MSG_MORE,
            Room::Awaited => 0,
        };
        let send = opcode::Send::new(fd, from, u32::try_from(len).unwrap_or(u32::MAX));
        let send = send.flags(libc::MSG_NOSIGNAL | wait).build();
        self.push(send.user_data(Op::Send.tag(key)));
    }

    /// Has an operation complete soon, with `CANCELED` if it is not too late for that.
    pub(crate) fn cancel(&mut self, key: Key, op: Op) {
        if self.is_under_way(key, op) {
            let cancel = opcode::AsyncCancel::new(op.tag(key)).build();
            self.push(cancel.user_data(IGNORED));
        }
    }

    /// Takes a socket out; `None` while operations are under way.
    pub(crate) fn take(&mut self, key: Key) -> Option<T> {
        if self.socket(key).ops != 0 {
            return None;
        }
        let socket = self.sockets[key.0 as usize].take()?;
        self.free.push(key.0);
        Some(socket.value)
    }

    /// How many sockets there are, those removed too that something is under way on.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.sockets.len() - self.free.len()
    }

    /// Lets a socket go as soon as nothing is under way on it any more. Completions are reported till then.
    pub(crate) fn remove(&mut self, key: Key) {
        self.socket(key).removed = true;
        self.take(key);
    }

    /// Hands what was started to the kernel and reports what has completed, in one system call.
    pub(crate) fn turn(&mut self, mut on: impl FnMut(&mut Self, Done)) {
        while let Some(entry) = self.waiting.pop_front() {
            if !self.push_now(&entry) {
                self.waiting.push_front(entry);
                break;
            }
        }
        if QUIET {
            self.ring.completion().disable_eventfd();
        }
        let started = self.ring.submission().len() as u32;
        // SAFETY: it reads no more than the queue, which holds what it was given; what that points to is kept with
        // the sockets. If the kernel lacks memory for it, it is tried again.
        let _ = unsafe { self.ring.submitter().enter::<libc::sigset_t>(started, 0, REAP, None) };
        let mut completed = std::mem::take(&mut self.completed);
        completed.extend(self.ring.completion());
        for entry in completed.drain(..) {
            if let Some(done) = self.complete(&entry) {
                let key = done.key;
                on(self, done);
                if self.is_removed(key) {
                    self.take(key);
                }
            }
        }
        self.completed = completed;
    }

    /// Whether a turn would do nothing. If so, the alarm is signalled when there is something to do.
    pub(crate) fn is_idle(&mut self) -> bool {
        if self.has_work() {
            return false;
        }
        self.ring.completion().enable_eventfd();
        // The kernel notes that there is work, then looks whether to signal it.
        fence(Ordering::SeqCst);
        !self.has_work()
    }

    fn has_work(&mut self) -> bool {
        let queue = self.ring.submission();
        let kernel = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        kernel || !self.waiting.is_empty() || !self.ring.completion().is_empty()
    }

    fn complete(&mut self, entry: &cqueue::Entry) -> Option<Done> {
        let (result, flags, tag) = (entry.result(), entry.flags(), entry.user_data());
        // Whatever becomes of it, it goes back to the others in the end.
        let received = cqueue::buffer_select(flags).map(|id| Received {
            buffers: self.buffers.clone(),
            id,
            len: result.max(0) as u32,
        });
        if tag == IGNORED {
            return None;
        }
        let (key, op) = (Key((tag >> 3) as u32), *Op::ALL.get((tag & 7) as usize)?);
        let ended = !cqueue::more(flags);
        self.under_way -= usize::from(ended);
        let socket = self.socket(key);
        if ended {
            socket.ops &= !op.bit();
        }
        let bytes = match op {
            Op::Send if ended => std::mem::take(&mut socket.bytes),
            _ => BytesMut::new(),
        };
        let removed = socket.removed;
        let result = usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result));
        Some(Done { key, op, result, received, bytes, removed })
    }

    /// Notes that an operation is under way; `None` if it is already.
    fn start(&mut self, key: Key, op: Op) -> Option<Fd> {
        let socket = self.socket(key);
        if socket.ops & op.bit() != 0 {
            return None;
        }
        socket.ops |= op.bit();
        let fd = Fd(socket.fd.as_raw_fd());
        self.under_way += 1;
        Some(fd)
    }

    fn push(&mut self, entry: squeue::Entry) {
        if !self.waiting.is_empty() || !self.push_now(&entry) {
            self.waiting.push_back(entry);
        }
    }

    fn push_now(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the descriptor, and the memory that a send reads, belong to a socket of this ring, which
        // neither lets go of nor changes before the completion was seen (`take`, `complete`), and which
        // leaks them should it end without (`drop`). Buffers that are received into belong to the kernel
        // while they are registered and not handed out. Timers read static memory.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    fn is_removed(&self, key: Key) -> bool {
        let socket = self.sockets.get(key.0 as usize).and_then(Option::as_deref);
        socket.is_some_and(|socket| socket.removed)
    }

    fn socket(&mut self, key: Key) -> &mut Socket<T> {
        let socket = self.sockets.get_mut(key.0 as usize).and_then(Option::as_deref_mut);
        socket.expect("a key is used until its socket is removed")
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // What was to be sent still is.
        for _ in 0..ROUNDS {
            self.turn(|_, _| {});
        }
        if self.under_way > 0 {
            let all = CancelBuilder::any();
            // If it is refused, not all is seen to have ended.
            let _ = self.ring.submitter().register_sync_cancel(Some(FAREWELL), all);
            while self.under_way > 0 && self.has_work() {
                self.turn(|_, _| {});
            }
        }
        if self.under_way > 0 {
            // The kernel may still use it.
            std::mem::forget(std::mem::take(&mut self.sockets));
            std::mem::forget(self.buffers.clone());
        }
    }
}

/// What was received, in a buffer of the ring that others can use when this is dropped.
#[derive(Debug)]
pub(crate) struct Received {
    buffers: Rc<Buffers>,
    id: u16,
    len: u32,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let len = (self.len as usize).min(BUFFER);
        // SAFETY: the buffer is within the allocation, which is zeroed at first; the kernel has handed it
        // out and does not touch it before it is given back, by the only value that has its id.
        unsafe { std::slice::from_raw_parts(self.buffers.at(self.id).as_ptr(), len) }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.buffers.give(self.id);
    }
}

/// The buffers and, before them, the queue by which the kernel is given them.
#[derive(Debug)]
struct Buffers {
    start: NonNull<u8>,
    layout: Layout,
    /// Where the first buffer is.
    offset: usize,
    count: u16,
    tail: Cell<u16>,
}

impl Buffers {
    fn register(ring: &IoUring, count: u16) -> io::Result<Rc<Self>> {
        let offset = (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(PAGE);
        let layout = Layout::from_size_align(offset + usize::from(count) * BUFFER, PAGE)
            .map_err(io::Error::other)?;
        // SAFETY: the size is not zero: `offset` is not for a count that is not, and the kernel refuses 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        let start = start.unwrap_or_else(|| handle_alloc_error(layout));
        let this = Rc::new(Self { start, layout, offset, count, tail: Cell::new(0) });
        let at = start.as_ptr() as u64;
        // SAFETY: the ring keeps the buffers for longer than the kernel knows of them: see `Ring::drop`.
        unsafe { ring.submitter().register_buf_ring_with_flags(at, count, GROUP, 0) }?;
        (0..count).for_each(|id| this.give(id));
        Ok(this)
    }

    fn at(&self, id: u16) -> NonNull<u8> {
        assert!(id < self.count, "the kernel hands out what it was given");
        // SAFETY: within the allocation, whose size is that of the queue and of `count` buffers.
        unsafe { self.start.add(self.offset + usize::from(id) * BUFFER) }
    }

    /// Gives a buffer to the kernel.
    fn give(&self, id: u16) {
        let buffer = self.at(id).as_ptr() as u64;
        let (queue, tail) = (self.start.cast::<BufRingEntry>(), self.tail.get());
        self.tail.set(tail.wrapping_add(1));
        let place = usize::from(tail & (self.count - 1));
        // SAFETY: the place is one of the queue's `count`, a power of two (the kernel has accepted it), and
        // the kernel, which reads places before the tail only, has taken what was there: of `count` buffers
        // never more than `count` are in the queue. The tail is an aligned number in memory that we own.
        unsafe {
            let entry = &mut *queue.add(place).as_ptr();
            entry.set_addr(buffer);
            entry.set_len(BUFFER as u32);
            entry.set_bid(id);
            let shared = AtomicU16::from_ptr(BufRingEntry::tail(queue.as_ptr()).cast_mut());
            shared.store(self.tail.get(), Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout. The ring is gone, for it keeps the buffers.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
