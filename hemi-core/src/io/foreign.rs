//! Streams of other kinds, such as those of TLS or of HTTP/2, where an [`Io`] is asked for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Io;
use super::outbox::{Next, Outbox};

/// Slices in one vectored write.
const SLICES: usize = 16;

/// A stream that is read and written as tokio has it. It sends no files.
#[derive(Debug)]
pub struct Foreign<T>(pub T);

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for Foreign<T> {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        tokio_util::io::poll_read_buf(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.0);
        loop {
            let sent = match out.next() {
                Next::Nothing => return stream.poll_flush(cx),
                Next::Bytes(bytes) => ready!(stream.as_mut().poll_write(cx, bytes))?,
                Next::Slices => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = out.slices(&mut slices);
                    ready!(stream.as_mut().poll_write_vectored(cx, &slices[..count]))?
                }
                Next::File(..) => return Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.advance(sent as u64);
        }
    }

    fn shutdown(&mut self) -> io::Result<()> {
        // What can't be said at once is said when the stream is dropped.
        match Pin::new(&mut self.0).poll_shutdown(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => Ok(()),
        }
    }

    fn reset(&mut self) {}
}

impl<T: AsyncRead + Unpin> AsyncRead for Foreign<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Foreign<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn all_is_sent_and_received_in_order() {
        let (stream, mut peer) = tokio::io::duplex(1000);
        let mut io = Foreign(stream);
        let mut out = Outbox::default();
        out.small().extend_from_slice(b"head ");
        out.push(Bytes::from(vec![b'x'; 10_000]));
        out.small().extend_from_slice(b" tail");
        let reading = tokio::spawn(async move {
            let mut got = vec![0; 10_010];
            peer.read_exact(&mut got).await.unwrap();
            peer.write_all(b"thanks").await.unwrap();
            got
        });
        poll_fn(|cx| io.poll_send(cx, &mut out)).await.unwrap();
        let got = reading.await.unwrap();
        assert!(got.starts_with(b"head x") && got.ends_with(b"x tail"));
        let mut buf = BytesMut::with_capacity(100);
        poll_fn(|cx| io.poll_recv(cx, &mut buf)).await.unwrap();
        assert_eq!(buf, "thanks");
    }
}
