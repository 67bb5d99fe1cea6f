//! What protocol code knows of a connection's bytes: one small trait, so that the driver below it can change.
//!
//! [`Io`] takes bytes into a buffer of the core's [`pool`] and sends what an [`Outbox`] holds: small
//! things copied together into one write, large ones by reference, files by `sendfile`.
//! [`Socket`] is the driver on epoll, through tokio.

mod outbox;
pub mod pool;
mod socket;

use std::io;
use std::task::{Context, Poll};

use bytes::BytesMut;

pub use outbox::{Outbox, SharedFile};
pub(crate) use socket::Family;
pub use socket::Socket;

/// A connection's byte stream. `poll_*` follow the rules of [`std::future::Future::poll`].
pub trait Io: Send + Unpin + 'static {
    /// Appends what has come to `buf`, at most what its capacity has room for; 0 is the end of the stream.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Sends from the front of `out` until it is empty.
    ///
    /// # Errors
    /// Besides the peer's going away: `UnexpectedEof` if a file has become shorter than was promised.
    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>>;

    /// Says that nothing more will be sent. What was sent still arrives.
    fn shutdown(&mut self) -> io::Result<()>;

    /// Has the connection end with an error for the peer, instead of an end, when it is dropped; what was
    /// sent and not taken is lost. A Unix socket can't tell the difference.
    fn reset(&mut self);
}
