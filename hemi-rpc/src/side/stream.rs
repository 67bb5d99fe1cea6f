//! A stream: what comes and goes is the application's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hemi_core::listen::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection, whatever it is.
trait Raw: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Raw for T {}

/// A stream between a client and a server, with no frames.
pub struct SideStream {
    io: Box<dyn Raw>,
    /// What has come with the token.
    first: BytesMut,
    /// Bytes that are read before it ends, if that is known: what comes behind them is not.
    left: Option<u64>,
    peer: Option<Peer>,
}

impl std::fmt::Debug for SideStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SideStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl SideStream {
    pub(crate) fn new<I>(io: I, first: BytesMut, peer: Option<Peer>) -> Self
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self { io: Box::new(io), first, left: None, peer }
    }

    /// The same as long as there are so many bytes: if fewer come, that is an error.
    pub(super) fn limited(self, bytes: u64) -> Self {
        Self { left: Some(bytes), ..self }
    }

    /// Who has connected; none on the side of the client.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }
}

impl AsyncRead for SideStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let most = this.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let most = most.min(out.remaining());
        if most == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = if this.first.is_empty() {
            let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            out.advance(read);
            read
        } else {
            let read = this.first.len().min(most);
            out.put_slice(&this.first[..read]);
            this.first.advance(read);
            read
        };
        match &mut this.left {
            Some(_) if read == 0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Some(left) => {
                *left -= read as u64;
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for SideStream {
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
