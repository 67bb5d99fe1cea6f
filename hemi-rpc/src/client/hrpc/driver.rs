//! The task of a connection that speaks HRPC.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use hemi_core::clock::{self, Moment};
use hemi_core::tls::Link;
use hemi_proto::hrpc::{self, Asked, Begun, Code, Decoded, Event, Limits, PREFACE};

use super::super::conn::wake;
use super::super::transport::{TURNS, Transport, run};
use super::super::{Push, Shared};
use super::{Conn, Key};
use crate::RpcError;
use crate::hrpc::FILL;

pub(in crate::client) struct Driver {
    transport: Transport,
    conn: Arc<Conn>,
    shared: Arc<Shared>,
    limits: Limits,
    /// The server has not begun yet.
    fresh: bool,
}

impl Driver {
    pub(in crate::client) fn new(io: Link, conn: Arc<Conn>, shared: Arc<Shared>) -> Self {
        let transport = Transport::new(io, &shared);
        Self { transport, conn, limits: shared.config.messages(), shared, fresh: true }
    }

    /// Looks after the connection to its end.
    pub(in crate::client) async fn run(mut self) {
        let shared = self.shared.clone();
        let e = run(&shared, |cx| self.poll(cx)).await;
        let wakers = self.conn.lock().end(&e);
        wake(wakers);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RpcError> {
        for _ in 0..TURNS {
            let sent = match self.send(cx) {
                Ok(sent) => sent,
                Err(e) => return Poll::Ready(e),
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
        let (state, out) = (&mut *guard, &mut self.transport.out);
        let mut blocked = Vec::new();
        state.relay();
        if !state.out.is_empty() {
            std::mem::swap(out.small(), &mut state.out);
            blocked.append(&mut state.blocked);
        }
        while out.in_memory() < FILL
            && let Some(chunk) = state.mux.next_chunk(&mut state.out)
        {
            if let Some(Key::Stream(pipe, _)) = state.mux.get(chunk.stream) {
                pipe.sent(chunk.body.len());
            }
            out.push_framed(&chunk.head, chunk.body);
            blocked.append(&mut state.blocked);
        }
        drop(guard);
        wake(blocked);
        !self.transport.out.is_empty()
    }

    /// Sends what there is; whether all was sent.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, RpcError> {
        while self.transport.send(cx)? {
            if !self.gather() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Receives once; whether something came.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, RpcError> {
        if !self.transport.receive(cx)? {
            return Ok(false);
        }
        if self.fresh {
            match hrpc::begun(&self.transport.rbuf) {
                Begun::Hrpc => self.transport.rbuf.advance(PREFACE.len()),
                Begun::Partly => return Ok(true),
                Begun::Other => return Err(RpcError::lost("the server speaks no HRPC")),
            }
            self.fresh = false;
        }
        let (mut at, mut wakers, mut ended) = (0, Vec::new(), None);
        let mut guard = self.conn.lock();
        let state = &mut *guard;
        loop {
            match hrpc::decode(self.transport.rbuf.get(at..).unwrap_or_default(), self.limits) {
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
        self.transport.rbuf.advance(at);
        wake(wakers);
        let Some(e) = ended else { return Ok(true) };
        // It is told why, if it still listens.
        let mut last = BytesMut::new();
        hrpc::goaway(&mut last, 0, Code::PROTOCOL, &e);
        self.transport.out.push(last.freeze());
        let _ = self.transport.send(cx);
        Err(RpcError::lost(e))
    }

    fn push(&self, asked: &Asked<'_>, (compression, message): (u8, &[u8])) {
        let most = self.shared.config.max_decompressed_size;
        let compressions = &self.shared.hrpc_compressions;
        let unpacked = compressions.unpack(compression, Cow::Borrowed(message), most);
        let Ok(payload) = unpacked else { return };
        let &Asked { service, method, metadata, codec, .. } = asked;
        let payload = Bytes::from(payload.into_owned());
        self.shared.push(Push::new(service, method, metadata, codec, payload));
    }

    /// Sees to those whose time is over, and to signs of life.
    fn keep_time(&mut self, cx: &mut Context<'_>, now: Moment) -> Result<(), RpcError> {
        if self.transport.wants_life(now)? {
            hrpc::ping(&mut self.conn.lock().out, [0; 8]);
        }
        let mut state = self.conn.lock();
        let wakers = if now >= state.earliest { state.expire(now) } else { Vec::new() };
        let due = state.earliest;
        drop(state);
        wake(wakers);
        self.transport.wake_at(cx, now, due);
        Ok(())
    }
}
