//! The task of a connection: sends what callers have written, by one write for many, and gives them their answers.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hemi_core::clock::{self, Moment};
use hemi_core::io::{Io, Outbox, pool};
use hemi_core::panics::catch;
use hemi_core::tls::Link;
use hemi_proto::hrpc::Code;
use hemi_proto::rpcx::{
    self, CodecId, Compression, Decoded, Frame, Head, Limits, Mode, Open, Pairs,
};
use tokio::time::{Instant, Sleep, sleep};
use tracing::debug;

use super::conn::{Answer, Conn, Seq, wake};
use super::{Push, Shared};
use crate::{CodecError, RpcError};

/// Times that the connection is looked after in a row, before others get their turn.
pub(super) const TURNS: usize = 32;

pub(super) struct Driver {
    io: Link,
    conn: Arc<Conn>,
    shared: Arc<Shared>,
    limits: Limits,
    rbuf: BytesMut,
    out: Outbox,
    sending: bool,
    alarm: Alarm,
    /// When something has come last, or a sign of life was asked for.
    heard: Moment,
    /// A sign of life was asked for, and nothing has come since.
    asked: bool,
}

impl Driver {
    pub(super) fn new(io: Link, conn: Arc<Conn>, shared: Arc<Shared>) -> Self {
        Self {
            io,
            conn,
            limits: shared.config.frames(),
            alarm: Alarm::new(shared.config.heartbeat),
            shared,
            rbuf: BytesMut::new(),
            out: Outbox::default(),
            sending: false,
            heard: clock::now(),
            asked: false,
        }
    }

    /// Looks after the connection to its end.
    pub(super) async fn run(mut self) {
        let ended = catch(pin!(poll_fn(|cx| self.poll(cx)))).await;
        let e = ended.unwrap_or_else(|panic| RpcError::lost(format!("panic: {panic}")));
        debug!(endpoint = %self.shared.endpoint, "{e}");
        let wakers = self.conn.lock().end(&e);
        wake(wakers);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RpcError> {
        for _ in 0..TURNS {
            if let Err(e) = self.send(cx) {
                return Poll::Ready(RpcError::lost(e));
            }
            match self.receive(cx) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(e) => return Poll::Ready(e),
            }
            let now = clock::now();
            if let Err(e) = self.keep_time(cx, now) {
                return Poll::Ready(e);
            }
            let mut state = self.conn.lock();
            if !self.sending && !state.out.is_empty() {
                continue;
            }
            if state.closing && !state.has_calls() && self.out.is_empty() {
                return Poll::Ready(RpcError::lost("it was closed"));
            }
            state.driver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn send(&mut self, cx: &mut Context<'_>) -> std::io::Result<()> {
        loop {
            if !self.sending {
                let mut state = self.conn.lock();
                if state.out.is_empty() {
                    return Ok(());
                }
                std::mem::swap(self.out.small(), &mut state.out);
                let blocked = std::mem::take(&mut state.blocked);
                drop(state);
                wake(blocked);
                self.sending = true;
            }
            match self.io.poll_send(cx, &mut self.out) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => return Ok(()),
            }
            self.sending = false;
        }
    }

    /// Receives once; whether something came.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, RpcError> {
        if self.rbuf.capacity() == 0 {
            self.rbuf = pool::take();
        } else if self.rbuf.capacity() - self.rbuf.len() < pool::BUFFER / 4 {
            self.rbuf.reserve(pool::BUFFER.max(self.rbuf.len().min(64 << 10)));
        }
        match self.io.poll_recv(cx, &mut self.rbuf).map_err(RpcError::lost)? {
            Poll::Ready(0) => return Err(RpcError::lost("the server has closed it")),
            Poll::Ready(_) => {}
            Poll::Pending => {
                if self.rbuf.is_empty() {
                    pool::give(std::mem::take(&mut self.rbuf));
                    self.out.release();
                }
                return Ok(false);
            }
        }
        (self.heard, self.asked) = (clock::now(), false);
        let (mut at, mut answers) = (0, Vec::new());
        let ended = loop {
            match rpcx::decode(self.rbuf.get(at..).unwrap_or_default(), self.limits) {
                Ok(Decoded::Needs(_)) => break None,
                Ok(Decoded::Frame(frame, length)) => {
                    at += length;
                    match frame.head.mode {
                        Mode::Answer | Mode::Failure => {
                            answers.push((Seq(frame.head.seq), self.answer(&frame)));
                        }
                        Mode::OneWay => self.push(&frame),
                        // Of a server that wants to know whether this side lives, and of calls, which can't be
                        // answered, nothing is known so far.
                        Mode::Echo | Mode::Heartbeat | Mode::Call => {}
                    }
                }
                Err(e) => break Some(RpcError::lost(e)),
            }
        };
        self.rbuf.advance(at);
        let mut state = self.conn.lock();
        let given = answers.into_iter().filter_map(|(seq, answer)| state.answer(seq, answer));
        let wakers: Vec<_> = given.collect();
        drop(state);
        wake(wakers);
        ended.map_or(Ok(true), Err)
    }

    fn answer(&self, frame: &Frame<'_>) -> Result<Answer, RpcError> {
        Ok(Answer {
            failed: frame.head.mode == Mode::Failure,
            code: Code::UNKNOWN,
            codec: frame.head.codec,
            metadata: frame.metadata.into(),
            payload: self.payload(frame).map_err(RpcError::Unreadable)?,
        })
    }

    fn payload(&self, frame: &Frame<'_>) -> Result<Bytes, CodecError> {
        let malformed = |e: &dyn std::fmt::Display| CodecError::Malformed(e.to_string());
        match frame.head.compression {
            Compression::NONE => Ok(Bytes::copy_from_slice(frame.payload)),
            Compression::GZIP => {
                let most = self.shared.config.max_decompressed_size;
                rpcx::gunzip(frame.payload, most).map(Bytes::from).map_err(|e| malformed(&e))
            }
            other => Err(malformed(&format_args!("it is compressed by {}", other.number()))),
        }
    }

    fn push(&self, frame: &Frame<'_>) {
        let Ok(payload) = self.payload(frame) else { return };
        let &Frame { head, service, method, metadata, .. } = frame;
        self.shared.push(Push::new(service, method, metadata, head.codec, payload));
    }

    /// Sees to those whose time is over, and to signs of life.
    fn keep_time(&mut self, cx: &mut Context<'_>, now: Moment) -> Result<(), RpcError> {
        let heartbeat = self.shared.config.heartbeat;
        let mut due = self.heard.after(heartbeat);
        if now >= due {
            if self.asked {
                return Err(RpcError::lost("the server gives no sign of life"));
            }
            self.ask_for_life();
            (self.heard, self.asked) = (now, true);
            due = now.after(heartbeat);
        }
        let mut state = self.conn.lock();
        if now >= state.earliest {
            let wakers = state.expire(now);
            due = due.min(state.earliest);
            drop(state);
            wake(wakers);
        } else {
            due = due.min(state.earliest);
            drop(state);
        }
        self.alarm.set(cx, now, due);
        Ok(())
    }

    fn ask_for_life(&self) {
        let (mode, compression, codec) = (Mode::Heartbeat, Compression::NONE, CodecId::RAW);
        let head = Head { version: 0, mode, compression, codec, seq: Seq::NONE.0 };
        let out = &mut self.conn.lock().out;
        Open::begin(out, &head, b"", b"", Pairs::NONE).end(out, Compression::NONE);
    }
}

/// Wakes a connection's task in time.
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    at: Moment,
}

impl Alarm {
    pub(super) fn new(first: Duration) -> Self {
        Self { sleep: Box::pin(sleep(first)), at: Moment::NEVER }
    }

    /// Wakes it then, or soon if that is over.
    pub(super) fn set(&mut self, cx: &mut Context<'_>, now: Moment, due: Moment) {
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
