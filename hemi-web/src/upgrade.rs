//! A connection that has left HTTP for another protocol.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use hemi_core::gate::{Outlook, Phase};
use hemi_core::io::{Foreign, Io, Outbox};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Datagrams;
use crate::conn::Flow;

/// The bytes of a connection after a 101, both ways.
///
/// The server still counts the connection. When it drains, its owner should take leave, as
/// [`Upgraded::draining`] tells; when the time for that is over, the owner's future is dropped.
pub struct Upgraded {
    early: Bytes,
    io: Box<dyn Stream>,
    outlook: Outlook,
    /// Datagrams that belong to it.
    flow: Option<Flow>,
}

trait Stream: Io + AsyncRead + AsyncWrite {}
impl<T: Io + AsyncRead + AsyncWrite> Stream for T {}

impl Upgraded {
    pub(crate) fn new(
        early: Bytes,
        io: impl Io + AsyncRead + AsyncWrite,
        outlook: Outlook,
    ) -> Self {
        Self { early, io: Box::new(io), outlook, flow: None }
    }

    /// The same for what is no [`Io`], such as a stream of HTTP/2.
    pub(crate) fn foreign(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        outlook: Outlook,
    ) -> Self {
        Self::new(Bytes::new(), Foreign(io), outlook)
    }

    pub(crate) fn with_flow(self, flow: Flow) -> Self {
        Self { flow: Some(flow), ..self }
    }

    /// The same as datagrams, for protocols that are made of such; their field `capsule-protocol` says so (RFC 9297
    /// section 3.4).
    #[must_use]
    pub fn into_datagrams(mut self) -> Datagrams {
        let flow = self.flow.take();
        Datagrams::new(self, flow)
    }

    pub(crate) fn outlook(&self) -> &Outlook {
        &self.outlook
    }

    /// Is over when the server drains. To be awaited by the future that was given the connection, not
    /// by a task of its own.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let outlook = self.outlook.clone();
        // The connection's task is woken when the phase changes.
        poll_fn(move |_| match outlook.phase() {
            Phase::Serving => Poll::Pending,
            Phase::Draining | Phase::Ending => Poll::Ready(()),
        })
    }
}

impl std::fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgraded").field("early", &self.early.len()).finish_non_exhaustive()
    }
}

impl Io for Upgraded {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.early.is_empty() {
            return self.io.poll_recv(cx, buf);
        }
        let most = self.early.len().min(buf.capacity() - buf.len());
        buf.extend_from_slice(&self.early.split_to(most));
        Poll::Ready(Ok(most))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>> {
        self.io.poll_send(cx, out)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown()
    }

    fn reset(&mut self) {
        self.io.reset();
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
