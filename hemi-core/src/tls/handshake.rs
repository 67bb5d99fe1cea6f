//! The steps of a handshake, of servers and clients.

use std::io;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, BytesMut};
use rustls::{Connection, Error};

use super::stream::Sink;
use crate::io::{Io as _, Socket, pool};

/// Why a handshake does not go on.
pub(super) enum Step {
    Io(io::Error),
    /// The peer has gone.
    Closed,
    Tls(Error),
}

impl From<io::Error> for Step {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Goes on until the handshake is done. What a server has to say last may still have to be sent.
pub(super) fn poll_handshake(
    socket: &mut Socket,
    tls: &mut Connection,
    inbound: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Step>> {
    while tls.is_handshaking() {
        ready!(poll_send(socket, tls, cx))?;
        if inbound.is_empty() && ready!(poll_receive(socket, inbound, cx))? == 0 {
            return Poll::Ready(Err(Step::Closed));
        }
        let taken = tls.read_tls(&mut &inbound[..])?;
        inbound.advance(taken);
        if let Err(error) = tls.process_new_packets() {
            // The alert that says so.
            let _ = poll_send(socket, tls, &mut Context::from_waker(Waker::noop()));
            return Poll::Ready(Err(Step::Tls(error)));
        }
    }
    if matches!(tls, Connection::Client(_)) {
        ready!(poll_send(socket, tls, cx))?;
    }
    Poll::Ready(Ok(()))
}

/// Receives more; 0 is the end.
pub(super) fn poll_receive(
    socket: &mut Socket,
    inbound: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if inbound.capacity() == 0 {
        *inbound = pool::take();
    } else {
        inbound.reserve(pool::BUFFER);
    }
    let received = socket.poll_recv(cx, inbound);
    if received.is_pending() && inbound.is_empty() {
        // Who keeps us waiting holds no buffer.
        pool::give(std::mem::take(inbound));
    }
    received
}

fn poll_send(
    socket: &mut Socket,
    tls: &mut Connection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        match tls.write_tls(&mut Sink { socket, cx }) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(e) => return Poll::Ready(Err(e)),
        }
    }
    Poll::Ready(Ok(()))
}
