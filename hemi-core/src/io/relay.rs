//! Passes the bytes of two connections on to each other.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Io, Outbox, pool};
use crate::deadline::Patience;

/// Room for what is read at once from one that sends much.
const PIECE: usize = 64 << 10;

/// How many bytes have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// From the first to the second.
    pub there: u64,
    /// From the second to the first.
    pub back: u64,
}

/// One way.
#[derive(Default)]
struct Way {
    buf: BytesMut,
    out: Outbox,
    ended: bool,
    shut: bool,
    passed: u64,
}

/// Passes on what each of two connections sends, and its end, until both have ended; `early` is what the
/// first has sent already, and `idle` how long nothing may pass.
///
/// # Errors
/// When one of them breaks, with `TimedOut` if nothing passed for too long. Both are as they were left.
pub async fn relay(
    one: &mut impl Io,
    other: &mut impl Io,
    early: Bytes,
    idle: Duration,
) -> io::Result<Relayed> {
    let (mut there, mut back, mut patience) = <(Way, Way, Patience)>::default();
    there.passed = early.len() as u64;
    there.out.push(early);
    poll_fn(|cx| {
        let before = there.passed + back.passed;
        let ways = (there.poll(cx, one, other)?, back.poll(cx, other, one)?);
        if before != there.passed + back.passed {
            patience.renew();
        }
        match ways {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok::<_, io::Error>(())),
            _ if patience.is_over(cx, idle) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => Poll::Pending,
        }
    })
    .await?;
    Ok(Relayed { there: there.passed, back: back.passed })
}

impl Way {
    /// Passes on what there is; ready when the end was passed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Io,
        to: &mut impl Io,
    ) -> io::Result<Poll<()>> {
        loop {
            if to.poll_send(cx, &mut self.out)?.is_pending() {
                return Ok(Poll::Pending);
            }
            if self.ended {
                if !std::mem::replace(&mut self.shut, true) {
                    to.shutdown()?;
                }
                return Ok(Poll::Ready(()));
            }
            if self.buf.capacity() == 0 {
                self.buf = pool::take();
            }
            if self.buf.capacity() == self.buf.len() {
                self.buf.reserve(PIECE);
            }
            match from.poll_recv(cx, &mut self.buf)? {
                Poll::Ready(0) => self.ended = true,
                Poll::Ready(got) => {
                    self.passed += got as u64;
                    self.out.push(self.buf.split().freeze());
                }
                Poll::Pending => {
                    // Who is idle holds no buffer.
                    pool::give(std::mem::take(&mut self.buf));
                    self.out.release();
                    return Ok(Poll::Pending);
                }
            }
        }
    }
}
