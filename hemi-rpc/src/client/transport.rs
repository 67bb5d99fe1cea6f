//! What the task of a connection has of it, whatever is spoken: the socket, its buffers, and when something is due.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::clock::{self, Moment};
use hemi_core::io::{Io, Outbox, pool};
use hemi_core::panics::catch;
use hemi_core::tls::Link;
use tokio::time::{Instant, Sleep, sleep};
use tracing::debug;

use super::Shared;
use crate::RpcError;

/// Times that a connection is looked after in a row, before others get their turn.
pub(super) const TURNS: usize = 32;

pub(super) struct Transport {
    io: Link,
    pub(super) rbuf: BytesMut,
    pub(super) out: Outbox,
    alarm: Alarm,
    heartbeat: Duration,
    /// When something has come last, or a sign of life was asked for.
    heard: Moment,
    /// A sign of life was asked for, and nothing has come since.
    asked: bool,
}

impl Transport {
    pub(super) fn new(io: Link, shared: &Shared) -> Self {
        let heartbeat = shared.config.heartbeat;
        Self {
            io,
            rbuf: BytesMut::new(),
            out: Outbox::default(),
            alarm: Alarm::new(heartbeat),
            heartbeat,
            heard: clock::now(),
            asked: false,
        }
    }

    /// Sends what there is; whether all was sent.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, RpcError> {
        if self.out.is_empty() {
            return Ok(true);
        }
        match self.io.poll_send(cx, &mut self.out) {
            Poll::Ready(sent) => sent.map(|()| true).map_err(RpcError::lost),
            Poll::Pending => Ok(false),
        }
    }

    /// Receives once; whether something came.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, RpcError> {
        if self.rbuf.capacity() == 0 {
            self.rbuf = pool::take();
        } else if self.rbuf.capacity() - self.rbuf.len() < pool::BUFFER / 4 {
            self.rbuf.reserve(pool::BUFFER.max(self.rbuf.len().min(64 << 10)));
        }
        match self.io.poll_recv(cx, &mut self.rbuf).map_err(RpcError::lost)? {
            Poll::Ready(0) => Err(RpcError::lost("the server has closed it")),
            Poll::Ready(_) => {
                (self.heard, self.asked) = (clock::now(), false);
                Ok(true)
            }
            Poll::Pending => {
                // Who waits holds no buffers.
                if self.rbuf.is_empty() {
                    pool::give(std::mem::take(&mut self.rbuf));
                    self.out.release();
                }
                Ok(false)
            }
        }
    }

    /// Whether a sign of life is to be asked for.
    pub(super) fn wants_life(&mut self, now: Moment) -> Result<bool, RpcError> {
        if now < self.heard.after(self.heartbeat) {
            return Ok(false);
        }
        if self.asked {
            return Err(RpcError::lost("the server gives no sign of life"));
        }
        (self.heard, self.asked) = (now, true);
        Ok(true)
    }

    /// Has the task woken when this is due, or a sign of life.
    pub(super) fn wake_at(&mut self, cx: &mut Context<'_>, now: Moment, due: Moment) {
        self.alarm.set(cx, now, due.min(self.heard.after(self.heartbeat)));
    }
}

/// Looks after a connection until it has ended, and tells why.
pub(super) async fn run(
    shared: &Shared,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<RpcError>,
) -> RpcError {
    let ended = catch(pin!(poll_fn(|cx| poll(cx)))).await;
    let e = ended.unwrap_or_else(|panic| RpcError::lost(format!("panic: {panic}")));
    debug!(endpoint = %shared.endpoint, "{e}");
    e
}

/// Wakes a connection's task in time.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    at: Moment,
}

impl Alarm {
    fn new(first: Duration) -> Self {
        Self { sleep: Box::pin(sleep(first)), at: Moment::NEVER }
    }

    /// Wakes it then, or soon if that is over.
    fn set(&mut self, cx: &mut Context<'_>, now: Moment, due: Moment) {
        loop {
            if due != self.at {
                self.at = due;
                // The clock may lag behind the alarm by a tick.
                let wait = due.since(now).max(Duration::from_millis(4));
                self.sleep.as_mut().reset(Instant::now() + wait);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return;
            }
            self.at = Moment::NEVER;
            if due == Moment::NEVER {
                return;
            }
        }
    }
}
