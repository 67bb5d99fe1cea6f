//! Pipes, through which bytes go from one socket to another without being looked at (splice(2)).

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Bytes that a pipe has room for, if the system lets it.
const ROOM: usize = 1 << 20;

/// Pipes that a core keeps, at most.
const KEPT: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe, and how many bytes are in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    filled: usize,
}

impl Pipe {
    /// An empty one; none if the system has no more.
    pub(crate) fn take() -> Option<Self> {
        if let Some(pipe) = POOL.with_borrow_mut(Vec::pop) {
            return Some(pipe);
        }
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // One with less room does as well.
        let _ = fcntl_setpipe_size(&into, ROOM);
        Some(Self { out, into, filled: 0 })
    }

    /// Has the core keep it for later; it must be empty.
    pub(crate) fn give_back(self) {
        POOL.with_borrow_mut(|pool| {
            if self.filled == 0 && pool.len() < KEPT {
                pool.push(self);
            }
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Moves up to `most` bytes that a socket has received into it, which must be empty; 0 is the end.
    pub(crate) fn fill(
        &mut self,
        from: impl std::os::fd::AsFd,
        most: usize,
    ) -> Result<usize, Errno> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        self.filled = splice(from, None, &self.into, None, ROOM.min(most), flags)?;
        Ok(self.filled)
    }

    /// Puts bytes that were received otherwise into it, which must be empty; few enough for any pipe.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.filled = rustix::io::write(&self.into, bytes)?;
        if self.filled == bytes.len() { Ok(()) } else { Err(Errno::NOBUFS) }
    }

    /// Bytes that are in it.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// Moves what is in it to a socket; returns whether that was all.
    pub(crate) fn empty(&mut self, to: impl std::os::fd::AsFd) -> Result<bool, Errno> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        self.filled -= splice(&self.out, None, to, None, self.filled, flags)?;
        Ok(self.filled == 0)
    }
}
