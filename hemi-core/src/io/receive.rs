//! What is said at the start of a connection, before it is somebody else's.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;

use super::{Io, Outbox, pool};
use crate::deadline::{Patience, within};

/// Why something did not come.
#[derive(Debug)]
pub enum NotReceived<E> {
    /// The connection broke.
    Io(io::Error),
    /// It ended.
    Closed,
    /// It took too long.
    Timeout,
    /// What came is something else.
    Malformed(E),
}

/// Receives into `buf` until `parse` finds there what it looks for, for `limit` at most. It is up to `parse`
/// to bound how much that may be.
///
/// # Errors
/// When it does not come.
pub async fn receive<T, E>(
    io: &mut impl Io,
    buf: &mut BytesMut,
    limit: Duration,
    mut parse: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>,
) -> Result<T, NotReceived<E>> {
    let mut patience = Patience::default();
    poll_fn(|cx| {
        loop {
            match parse(buf) {
                Ok(Some(value)) => return Poll::Ready(Ok(value)),
                Ok(None) => {}
                Err(e) => return Poll::Ready(Err(NotReceived::Malformed(e))),
            }
            if buf.capacity() == 0 {
                *buf = pool::take();
            }
            buf.reserve(1);
            match io.poll_recv(cx, buf) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(NotReceived::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(NotReceived::Io(e))),
                Poll::Pending if patience.is_over(cx, limit) => {
                    return Poll::Ready(Err(NotReceived::Timeout));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Sends this, for `limit` at most.
///
/// # Errors
/// When the connection breaks, with `TimedOut` if it takes too long.
pub async fn send(io: &mut impl Io, bytes: &[u8], limit: Duration) -> io::Result<()> {
    let mut out = Outbox::default();
    out.small().extend_from_slice(bytes);
    let sent = within(limit, poll_fn(|cx| io.poll_send(cx, &mut out))).await;
    out.release();
    sent.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
