//! The calls that no safe crate offers: the only unsafe code of the project.
#![allow(unsafe_code)]

pub(crate) mod inherited;
pub(crate) mod uring;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use rustix::net::RecvFlags;
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sets `TCP_DEFER_ACCEPT` (tcp(7)): the kernel holds connections back for about `wait`, rounded up to seconds.
///
/// A connection is handed to the server when its first bytes are there: what a connection per request
/// costs drops by a fifth, for the server never waits for the request.
pub(crate) fn defer_accept(socket: &Socket, wait: Duration) -> io::Result<()> {
    let seconds =
        libc::c_int::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(libc::c_int::MAX);
    set_int(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Has datagrams of one sender that came in a row be received as one, with their size (`UDP_GRO`, udp(7)).
pub(crate) fn gather_datagrams(socket: &impl AsRawFd) -> io::Result<()> {
    set_int(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Lets datagrams of IPv6 that are too large for their way go in pieces, as those of IPv4 do.
pub(crate) fn let_fragment_v6(socket: &impl AsRawFd) -> io::Result<()> {
    set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)
}

fn set_int(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads the four bytes of `value`, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the runtime report when a descriptor, which does not block, can be read from.
///
/// # Errors
/// When the system can't watch it.
pub fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Receives into the room that `buf` has left; returns how much.
pub(crate) fn recv_into(fd: BorrowedFd<'_>, buf: &mut BytesMut) -> io::Result<usize> {
    let ((got, _), _) = rustix::net::recv(fd, buf.spare_capacity_mut(), RecvFlags::empty())?;
    let got = got.len();
    // SAFETY: the call has written that many bytes at the front of the spare capacity.
    unsafe { buf.advance_mut(got) };
    Ok(got)
}
