//! What both ends of a reverse tunnel have in common: one connection, on which the end that has accepted it asks the one
//! that has made it for streams (CONNECT of HTTP/2, RFC 9113, 8.5).

use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use hemi_core::clock::{self, Moment};
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};

pub(crate) use crate::backends::http2::tunnel::Tunnel as Stream;

/// The protocol that the connection goes on in: HTTP/2, with its ends exchanged.
pub(crate) const PROTOCOL: HeaderValue = HeaderValue::from_static("hemi-reverse");

/// Where the end that has made the connection is asked to make another one, for this one will not last.
pub(crate) const AGAIN: &str = "/again";

/// Bytes of a stream that may be on their way.
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;

/// The same of all streams of a connection: no bound, for those whose readers are slow would hold up all others.
pub(crate) const CONN_WINDOW: u32 = (1 << 31) - 1;

/// Streams that were given up lately, of which something may still come.
pub(crate) const GIVEN_UP: usize = 1024;

/// Bytes a second that the slowest line carries which a tunnel is of use on.
const SLOWEST: u64 = 64 << 10;

/// Bytes that may be under way on a line, and in what is in between.
const UNDER_WAY: u64 = 4 << 20;

/// Asks the other end at such intervals whether it is still there; is over when nothing is heard of it for as long, and for the
/// time that a slow line needs for what was said: an answer may be behind that.
pub(crate) async fn watch(ping: Option<PingPong>, line: Arc<Line>, every: Duration) {
    let Some(mut ping) = ping.filter(|_| !every.is_zero()) else { return pending().await };
    loop {
        sleep(every).await;
        let before = line.said.load(Ordering::Relaxed);
        let mut answer = pin!(ping.ping(Ping::opaque()));
        loop {
            match timeout(every, &mut answer).await {
                Ok(Ok(_)) => {
                    line.said.fetch_sub(before, Ordering::Relaxed);
                    break;
                }
                Ok(Err(_)) => return,
                Err(_) if line.is_silent(every) => return,
                Err(_) => {}
            }
        }
    }
}

/// What is known of the connection of a tunnel.
#[derive(Debug)]
pub(crate) struct Line {
    /// Milliseconds of the moment when something has come last.
    heard: AtomicU64,
    /// Bytes that were said since the other end has last been asked something that it has answered.
    said: AtomicU64,
}

impl Line {
    /// Whether nothing has come for so long, not counting the time that what was said may take.
    fn is_silent(&self, limit: Duration) -> bool {
        let heard = Moment::from_millis(self.heard.load(Ordering::Relaxed));
        let said = self.said.load(Ordering::Relaxed).min(UNDER_WAY);
        clock::now().since(heard) >= limit + Duration::from_millis(said * 1000 / SLOWEST)
    }
}

/// The connection of a tunnel, of which it is noted what passes.
pub(crate) struct Noted<C> {
    conn: C,
    line: Arc<Line>,
}

impl<C> Noted<C> {
    pub(crate) fn new(conn: C) -> Self {
        let (heard, said) = (AtomicU64::new(clock::now().millis()), AtomicU64::new(0));
        Self { conn, line: Arc::new(Line { heard, said }) }
    }

    pub(crate) fn line(&self) -> Arc<Line> {
        self.line.clone()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Noted<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.conn).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.line.heard.store(clock::now().millis(), Ordering::Relaxed);
        }
        read
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Noted<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.conn).poll_write(cx, bytes);
        if let Poll::Ready(Ok(len)) = wrote {
            self.line.said.fetch_add(len as u64, Ordering::Relaxed);
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.conn).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.conn).poll_shutdown(cx)
    }
}
