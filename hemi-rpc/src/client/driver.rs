//! The task of a connection: sends what callers have written, by one write for many, and gives them their answers.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hemi_core::clock::{self, Moment};
use hemi_core::tls::Link;
use hemi_proto::hrpc::Code;
use hemi_proto::rpcx::{
    self, CodecId, Compression, Decoded, Frame, Head, Limits, Mode, Open, Pairs,
};

use super::conn::{Answer, Conn, Seq, wake};
use super::transport::{TURNS, Transport, run};
use super::{Push, Shared};
use crate::{CodecError, RpcError};

pub(super) struct Driver {
    transport: Transport,
    conn: Arc<Conn>,
    shared: Arc<Shared>,
    limits: Limits,
}

impl Driver {
    pub(super) fn new(io: Link, conn: Arc<Conn>, shared: Arc<Shared>) -> Self {
        let transport = Transport::new(io, &shared);
        Self { transport, conn, limits: shared.config.frames(), shared }
    }

    /// Looks after the connection to its end.
    pub(super) async fn run(mut self) {
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
            let mut state = self.conn.lock();
            if sent && !state.out.is_empty() {
                continue;
            }
            if sent && state.closing && !state.has_calls() {
                return Poll::Ready(RpcError::lost("it was closed"));
            }
            state.driver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what there is; whether all was sent.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, RpcError> {
        while self.transport.send(cx)? {
            let mut state = self.conn.lock();
            if state.out.is_empty() {
                return Ok(true);
            }
            std::mem::swap(self.transport.out.small(), &mut state.out);
            let blocked = std::mem::take(&mut state.blocked);
            drop(state);
            wake(blocked);
        }
        Ok(false)
    }

    /// Receives once; whether something came.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, RpcError> {
        if !self.transport.receive(cx)? {
            return Ok(false);
        }
        let (mut at, mut answers) = (0, Vec::new());
        let ended = loop {
            match rpcx::decode(self.transport.rbuf.get(at..).unwrap_or_default(), self.limits) {
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
        self.transport.rbuf.advance(at);
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
        let config = &self.shared.config;
        let (number, most) = (frame.head.compression.number(), config.max_decompressed_size);
        let unpacked = config.compressions.unpack(number, Cow::Borrowed(frame.payload), most);
        let unpacked = unpacked.map_err(|e| CodecError::Malformed(e.to_string()))?;
        Ok(unpacked.into_owned().into())
    }

    fn push(&self, frame: &Frame<'_>) {
        let Ok(payload) = self.payload(frame) else { return };
        let &Frame { head, service, method, metadata, .. } = frame;
        self.shared.push(Push::new(service, method, metadata, head.codec, payload));
    }

    /// Sees to those whose time is over, and to signs of life.
    fn keep_time(&mut self, cx: &mut Context<'_>, now: Moment) -> Result<(), RpcError> {
        if self.transport.wants_life(now)? {
            self.ask_for_life();
        }
        let mut state = self.conn.lock();
        let wakers = if now >= state.earliest { state.expire(now) } else { Vec::new() };
        let due = state.earliest;
        drop(state);
        wake(wakers);
        self.transport.wake_at(cx, now, due);
        Ok(())
    }

    fn ask_for_life(&self) {
        let (mode, compression, codec) = (Mode::Heartbeat, Compression::NONE, CodecId::RAW);
        let head = Head { version: 0, mode, compression, codec, seq: Seq::NONE.0 };
        let out = &mut self.conn.lock().out;
        Open::begin(out, &head, b"", b"", Pairs::NONE).end(out, Compression::NONE);
    }
}
