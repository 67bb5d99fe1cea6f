//! A stream that has left HTTP for another protocol (RFC 8441): its bytes are those of DATA frames.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait to be sent, at most.
const OUTBOUND: usize = 64 << 10;

/// The end of whoever goes on.
pub(super) struct Tunnel(Arc<Mutex<Pipe>>);

/// The connection's end.
pub(super) struct Portal(Arc<Mutex<Pipe>>);

struct Pipe {
    /// What the client has sent: the window of the stream bounds it.
    inbound: BytesMut,
    inbound_ended: bool,
    /// Bytes that were read since the connection last asked.
    read: usize,
    outbound: BytesMut,
    outbound_ended: bool,
    /// The client was told so.
    end_told: bool,
    /// The stream is no more.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// That of the connection's end.
    portal: Waker,
}

/// Both ends; the connection's is woken by `waker`.
pub(super) fn tunnel(waker: Waker) -> (Portal, Tunnel) {
    let pipe = Arc::new(Mutex::new(Pipe {
        inbound: BytesMut::new(),
        inbound_ended: false,
        read: 0,
        outbound: BytesMut::new(),
        outbound_ended: false,
        end_told: false,
        broken: false,
        reader: None,
        writer: None,
        portal: waker,
    }));
    (Portal(pipe.clone()), Tunnel(pipe))
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Portal {
    /// The client has sent this.
    pub(super) fn receive(&self, data: &[u8]) {
        let mut pipe = lock(&self.0);
        if pipe.outbound_ended && Arc::strong_count(&self.0) == 1 {
            // Nobody reads it.
            pipe.read += data.len();
            return;
        }
        pipe.inbound.extend_from_slice(data);
        wake(&mut pipe.reader);
    }

    /// The client has sent all.
    pub(super) fn received_all(&self) {
        let mut pipe = lock(&self.0);
        pipe.inbound_ended = true;
        wake(&mut pipe.reader);
    }

    /// Bytes that were read since this was last asked.
    pub(super) fn take_read(&self) -> usize {
        std::mem::take(&mut lock(&self.0).read)
    }

    /// Whether something is to be sent.
    pub(super) fn has_data(&self) -> bool {
        !lock(&self.0).outbound.is_empty()
    }

    /// Whether all was sent that there is to send.
    pub(super) fn is_over(&self) -> bool {
        let pipe = lock(&self.0);
        pipe.outbound_ended && pipe.outbound.is_empty()
    }

    /// The same, once.
    pub(super) fn tells_end(&self) -> bool {
        let mut pipe = lock(&self.0);
        let over = pipe.outbound_ended && pipe.outbound.is_empty();
        over && !std::mem::replace(&mut pipe.end_told, true)
    }

    /// Takes what is to be sent, up to `most` bytes.
    pub(super) fn take(&self, most: usize) -> Bytes {
        let mut pipe = lock(&self.0);
        let len = pipe.outbound.len().min(most);
        wake(&mut pipe.writer);
        pipe.outbound.split_to(len).freeze()
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        let mut pipe = lock(&self.0);
        pipe.broken = true;
        wake(&mut pipe.reader);
        wake(&mut pipe.writer);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let mut pipe = lock(&self.0);
        pipe.outbound_ended = true;
        pipe.read += pipe.inbound.len();
        pipe.inbound.clear();
        pipe.portal.wake_by_ref();
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.0);
        let len = pipe.inbound.len().min(buf.remaining());
        if len > 0 {
            buf.put_slice(pipe.inbound.get(..len).unwrap_or_default());
            pipe.inbound.advance(len);
            if pipe.inbound.is_empty() {
                // Who is idle holds no buffer.
                pipe.inbound = BytesMut::new();
            }
            pipe.read += len;
            pipe.portal.wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        if pipe.inbound_ended || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.0);
        if pipe.broken || pipe.outbound_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = bytes.len().min(OUTBOUND.saturating_sub(pipe.outbound.len()));
        if len == 0 && !bytes.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.outbound.extend_from_slice(bytes.get(..len).unwrap_or_default());
        pipe.portal.wake_by_ref();
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.0);
        if pipe.outbound.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        pipe.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.0);
        pipe.outbound_ended = true;
        pipe.portal.wake_by_ref();
        Poll::Ready(Ok(()))
    }
}
