//! A connection that has left HTTP for another protocol.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hemi_core::gate::Ticket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes of a connection after a 101, both ways.
///
/// The server still counts the connection; its owner should end when [`Upgraded::ticket`] says so.
pub struct Upgraded {
    early: Bytes,
    io: Box<dyn Stream>,
    ticket: Ticket,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Upgraded {
    pub(crate) fn new(
        early: Bytes,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        ticket: Ticket,
    ) -> Self {
        Self { early, io: Box::new(io), ticket }
    }

    /// What the server expects of the connection.
    #[must_use]
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }
}

impl std::fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgraded").field("early", &self.early.len()).finish_non_exhaustive()
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let most = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..most]);
        self.early.advance(most);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
