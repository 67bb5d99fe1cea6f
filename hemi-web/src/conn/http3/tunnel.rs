//! A stream that has left HTTP for another protocol (RFC 9220): its bytes are those of DATA frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hemi_proto::http3::Fault;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::End;
use super::receive::Receiver;
use super::respond::Outgoing;
use crate::conn::watch::Cut;

/// Bytes of a frame, at most.
const FRAME: usize = 16 << 10;

/// The stream of a request whose upgrade was agreed on.
pub(super) struct Tunnel {
    receiver: Receiver,
    out: Outgoing,
    piece: Bytes,
}

impl Tunnel {
    pub(super) fn new(receiver: Receiver, out: Outgoing) -> Self {
        Self { receiver, out, piece: Bytes::new() }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match ready!(self.receiver.poll_tunnel(cx)) {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => return Poll::Ready(Ok(())),
                Err(End::Cut(Cut::Gone(e))) => return Poll::Ready(Err(e)),
                Err(End::Fault(Fault::Connection(code) | Fault::Stream(code))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, code)));
                }
                Err(End::Cut(_)) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            }
        }
        let most = self.piece.len().min(buf.remaining());
        buf.put_slice(&self.piece[..most]);
        self.piece.advance(most);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.out.poll_flushed(cx))?;
        let most = bytes.len().min(FRAME);
        self.out.put_tunnel(&bytes[..most]);
        // What there is no room for goes when it is flushed, or with what is written next.
        let _ = self.out.poll_flushed(cx)?;
        Poll::Ready(Ok(most))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.poll_flushed(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.out.poll_flushed(cx))?;
        self.out.finish();
        Poll::Ready(Ok(()))
    }
}
