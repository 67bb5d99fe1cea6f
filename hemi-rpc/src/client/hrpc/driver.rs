//! The task of a connection that speaks HRPC.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use hemi_core::clock::{self, Moment};
use hemi_core::io::{Io, Outbox, pool};
use hemi_core::panics::catch;
use hemi_core::tls::Link;
use hemi_proto::hrpc::{self, Asked, Begun, Code, Decoded, Event, Limits, PREFACE};
use tracing::debug;

use super::super::conn::wake;
use super::super::driver::{Alarm, TURNS};
use super::super::{Push, Shared};
use super::{Conn, Key};
use crate::RpcError;
use crate::hrpc::{FILL, unpack};

pub(in crate::client) struct Driver {
    io: Link,
    conn: Arc<Conn>,
    shared: Arc<Shared>,
    limits: Limits,
    rbuf: BytesMut,
    /// The server has not begun yet.
    fresh: bool,
    out: Outbox,
    alarm: Alarm,
    /// When something has come last, or a sign of life was asked for.
    heard: Moment,
    /// A sign of life was asked for, and nothing has come since.
    asked: bool,
}

impl Driver {
    pub(in crate::client) fn new(io: Link, conn: Arc<Conn>, shared: Arc<Shared>) -> Self {
        Self {
            io,
            conn,
            limits: shared.config.messages(),
            alarm: Alarm::new(shared.config.heartbeat),
            shared,
            rbuf: BytesMut::new(),
            fresh: true,
            out: Outbox::default(),
            heard: clock::now(),
            asked: false,
        }
    }

    /// Looks after the connection to its end.
    pub(in crate::client) async fn run(mut self) {
        let ended = catch(pin!(poll_fn(|cx| self.poll(cx)))).await;
        let e = ended.unwrap_or_else(|panic| RpcError::lost(format!("panic: {panic}")));
        debug!(endpoint = %self.shared.endpoint, "{e}");
        let wakers = self.conn.lock().end(&e);
        wake(wakers);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RpcError> {
        for _ in 0..TURNS {
            let sent = match self.send(cx) {
                Ok(sent) => sent,
                Err(e) => return Poll::Ready(RpcError::lost(e)),
            };
            match self.receive(cx) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(e) => return Poll::Ready(e),
            }
            let now = clock::now();
            if let Err(e) = self.keep_time(cx, now) {
                return Poll::Ready(e);
            }
            if sent && self.gather() {
                continue;
            }
            let mut state = self.conn.lock();
            if sent && state.closing && !state.has_calls() && state.out.is_empty() {
                return Poll::Ready(RpcError::lost("it was closed"));
            }
            state.driver = Some(cx.waker().clone());
            state.bell.wakes(cx);
            if sent && !state.out.is_empty() {
                // Somebody was quicker.
                continue;
            }
            return Poll::Pending;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what is to be sent, not more than others can wait for; whether there is something.
    fn gather(&mut self) -> bool {
        let mut guard = self.conn.lock();
        let state = &mut *guard;
        let mut blocked = Vec::new();
        state.relay();
        if !state.out.is_empty() {
            std::mem::swap(self.out.small(), &mut state.out);
            blocked.append(&mut state.blocked);
        }
        while self.out.in_memory() < FILL
            && let Some(chunk) = state.mux.next_chunk(&mut state.out)
        {
            match state.mux.get(chunk.stream) {
                Some(Key::Stream(pipe, _)) => pipe.sent(chunk.body.len()),
                Some(Key::OneWay) if chunk.end => {
                    drop(state.mux.close(chunk.stream, &mut state.out));
                }
                _ => {}
            }
            self.out.push_framed(&chunk.head, chunk.body);
            blocked.append(&mut state.blocked);
        }
        drop(guard);
        wake(blocked);
        !self.out.is_empty()
    }

    /// Sends what there is; whether all was sent.
    fn send(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        while !self.out.is_empty() || self.gather() {
            match self.io.poll_send(cx, &mut self.out) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
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
        if self.fresh {
            match hrpc::begun(&self.rbuf) {
                Begun::Hrpc => self.rbuf.advance(PREFACE.len()),
                Begun::Partly => return Ok(true),
                Begun::Other => return Err(RpcError::lost("the server speaks no HRPC")),
            }
            self.fresh = false;
        }
        let (mut at, mut wakers, mut ended) = (0, Vec::new(), None);
        let mut guard = self.conn.lock();
        let state = &mut *guard;
        loop {
            match hrpc::decode(self.rbuf.get(at..).unwrap_or_default(), self.limits) {
                Ok(Decoded::Needs(_)) => break,
                Ok(Decoded::Frame(frame, length)) => {
                    at += length;
                    match state.mux.receive(&frame, &mut state.out) {
                        Ok(Event::Push { asked, message }) => self.push(&asked, message),
                        Ok(event) => state.take(event, &mut wakers),
                        Err(e) => ended = Some(e.to_string()),
                    }
                }
                Err(e) => ended = Some(e.to_string()),
            }
            if ended.is_some() {
                break;
            }
        }
        drop(guard);
        self.rbuf.advance(at);
        wake(wakers);
        let Some(e) = ended else { return Ok(true) };
        // It is told why, if it still listens.
        let mut last = BytesMut::new();
        hrpc::goaway(&mut last, 0, Code::PROTOCOL, &e);
        self.out.push(last.freeze());
        let _ = self.io.poll_send(cx, &mut self.out);
        Err(RpcError::lost(e))
    }

    fn push(&self, asked: &Asked<'_>, (compression, message): (u8, &[u8])) {
        let most = self.shared.config.max_decompressed_size;
        let Ok(payload) = unpack(compression, Cow::Borrowed(message), most) else { return };
        let &Asked { service, method, metadata, codec, .. } = asked;
        let payload = Bytes::from(payload.into_owned());
        self.shared.push(Push::new(service, method, metadata, codec, payload));
    }

    /// Sees to those whose time is over, and to signs of life.
    fn keep_time(&mut self, cx: &mut Context<'_>, now: Moment) -> Result<(), RpcError> {
        let heartbeat = self.shared.config.heartbeat;
        let mut due = self.heard.after(heartbeat);
        if now >= due {
            if self.asked {
                return Err(RpcError::lost("the server gives no sign of life"));
            }
            hrpc::ping(&mut self.conn.lock().out, [0; 8]);
            (self.heard, self.asked) = (now, true);
            due = now.after(heartbeat);
        }
        let mut state = self.conn.lock();
        let wakers = if now >= state.earliest { state.expire(now) } else { Vec::new() };
        due = due.min(state.earliest);
        drop(state);
        wake(wakers);
        self.alarm.set(cx, now, due);
        Ok(())
    }
}
