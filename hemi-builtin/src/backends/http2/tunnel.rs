//! A stream that has left HTTP for another protocol (RFC 8441): its bytes are those of DATA frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are sent at once, at most.
const PIECE: usize = 16 << 10;

/// Both directions.
#[derive(Debug)]
pub(crate) struct Tunnel {
    stream: SendStream<Bytes>,
    content: RecvStream,
    /// Has come, and was not read yet.
    piece: Bytes,
    shut: bool,
}

impl Tunnel {
    pub(crate) fn new(stream: SendStream<Bytes>, content: RecvStream) -> Self {
        Self { stream, content, piece: Bytes::new(), shut: false }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match ready!(self.content.poll_data(cx)) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(e)) => return Poll::Ready(Err(broken(e))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = self.piece.len().min(buf.remaining());
        buf.put_slice(&self.piece[..len]);
        self.piece.advance(len);
        // There is room for as much again.
        self.content.flow_control().release_capacity(len).map_err(broken)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.stream.reserve_capacity(bytes.len().min(PIECE));
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(e)) => return Poll::Ready(Err(broken(e))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let len = self.stream.capacity().min(bytes.len());
        self.stream.send_data(Bytes::copy_from_slice(&bytes[..len]), false).map_err(broken)?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.shut, true) {
            self.stream.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if !self.shut {
            self.stream.send_reset(Reason::CANCEL);
        }
    }
}

fn broken(e: h2::Error) -> io::Error {
    if e.is_io() {
        return e.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::other(e)
}
