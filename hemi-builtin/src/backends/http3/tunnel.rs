//! A stream that has left HTTP for another protocol (RFC 9220): its bytes are those of DATA frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::exchange::Exchange;
use super::upload::Sent;

/// Bytes of a frame, at most.
const FRAME: usize = 16 << 10;

/// Both directions.
pub(super) struct Tunnel {
    exchange: Exchange,
    /// Has come, and was not read yet.
    piece: Bytes,
    shut: bool,
}

impl Tunnel {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self { exchange, piece: Bytes::new(), shut: false }
    }

    /// Sends what was written; an error if the node takes no more.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let upload = self.exchange.upload();
        match upload.poll(cx) {
            Ok(_) if upload.is_over() && !self.shut => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            Ok(Sent::All) => Poll::Ready(Ok(())),
            Ok(Sent::AllThereIs | Sent::AllThereIsRoomFor { .. }) => Poll::Pending,
            Err(e) => Poll::Ready(Err(io::Error::other(e))),
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match ready!(self.exchange.poll_tunnel(cx))? {
                Some(piece) => self.piece = piece,
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = self.piece.len().min(buf.remaining());
        buf.put_slice(&self.piece[..len]);
        self.piece.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(cx))?;
        let len = bytes.len().min(FRAME);
        self.exchange.upload().put(&bytes[..len]);
        // What there is no room for goes when it is flushed, or with what is written next.
        let _ = self.poll_sent(cx)?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(self.poll_sent(cx))?;
            self.shut = true;
            self.exchange.upload().close();
        }
        self.poll_sent(cx)
    }
}
