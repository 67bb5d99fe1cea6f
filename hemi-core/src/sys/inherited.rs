//! Descriptors that a process begins with.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};

/// The first behind the standard streams.
const FIRST: RawFd = 3;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes so many descriptors, from the first behind the standard streams on; programs that this one runs
/// will not have them. Once: later there are none.
pub(crate) fn take(count: usize) -> io::Result<Vec<OwnedFd>> {
    if count == 0 || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let end = RawFd::try_from(count).ok().and_then(|count| FIRST.checked_add(count));
    let numbers = FIRST..end.ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: F_GETFD takes no pointer, and an open descriptor is left as it is.
    if numbers.clone().any(|fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0) {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: they are open. Who started this process has told it that they are for it to take, and nobody
    // else has: this is the only place that does, and it has not before.
    let taken: Vec<OwnedFd> = numbers.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect();
    for fd in &taken {
        fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    Ok(taken)
}
