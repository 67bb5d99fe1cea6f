//! A connection of callers that speak HRPC: calls are begun as they come, and all that is there to be sent goes out in one
//! write, long messages in pieces between others.

mod calls;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use hemi_core::clock::{self, Moment};
use hemi_core::deadline::Deadline;
use hemi_core::gate::{Phase, Ticket};
use hemi_core::io::{Io, Outbox, pool};
use hemi_core::listen::Peer;
use hemi_core::panics::catch;
use hemi_proto::hrpc::{self, Code, Decoded, Hello, Limits, Mux, PREFACE, Rest};

use self::calls::{Gathered, Ours, Running, Working};
use super::Shared;
use super::conn::{End, LINGER, Pushing, Rate, State, TURNS, note, put};
use super::waits::Waits;
use crate::Pusher;
use crate::exchange::Wire;
use crate::hrpc::{Bell, FILL, cut, is_full};

/// Serves one connection, which began with a preface, to its end.
pub(super) async fn serve<I: Io>(
    io: I,
    rbuf: BytesMut,
    peer: Peer,
    ticket: Ticket,
    server: Arc<Shared>,
) {
    let mut conn = Conn::new(io, rbuf, peer, ticket, server);
    let served = catch(poll_fn(|cx| conn.poll(cx))).await;
    note(served, &peer, &conn.server);
}

struct Conn<I> {
    io: I,
    rbuf: BytesMut,
    out: Outbox,
    mux: Mux<Running>,
    calls: FuturesUnordered<Working>,
    /// Calls that are whole, and wait for others to end.
    waiting: VecDeque<(u32, Gathered)>,
    /// Rung by those who read and write streams.
    bell: Bell,
    server: Arc<Shared>,
    limits: Limits,
    pusher: Pushing,
    rate: Rate,
    peer: Peer,
    ticket: Ticket,
    deadline: Option<Deadline>,
    state: State,
    /// The caller was told that no further calls are looked at.
    leaving: bool,
    waits: Waits,
    /// No call whose message is not whole has to be before.
    earliest: Moment,
}

impl<I: Io> Conn<I> {
    fn new(io: I, mut rbuf: BytesMut, peer: Peer, ticket: Ticket, server: Arc<Shared>) -> Self {
        let now = clock::now();
        rbuf.advance(PREFACE.len());
        let (limits, streams) = (server.limits.messages(), server.limits.max_calls_per_conn);
        let mut out = Outbox::default();
        out.small().extend_from_slice(PREFACE);
        let said = Hello {
            streams: u32::try_from(streams).unwrap_or(u32::MAX),
            message: limits.message as u32,
            compressions: server.hrpc_compressions.bits(),
        };
        hrpc::hello(out.small(), &said);
        Self {
            io,
            rbuf,
            out,
            mux: Mux::server(limits, streams),
            calls: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            bell: Bell::default(),
            limits,
            pusher: Pushing(Pusher::new(Wire::Hrpc)),
            rate: Rate::new(server.limits.max_call_rate, now),
            server,
            peer,
            ticket,
            deadline: None,
            state: State::Open,
            leaving: false,
            waits: Waits::new(now),
            earliest: Moment::NEVER,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.waits.now = clock::now();
        for _ in 0..TURNS {
            self.dispatch(cx);
            self.collect(cx);
            self.fill();
            let full = !self.has_room();
            let sent = self.send(cx)?;
            if full && self.has_room() || sent && self.has_more() {
                continue;
            }
            if sent && self.is_done() && !matches!(self.state, State::Closed(_)) {
                self.io.shutdown()?;
                self.state = State::Closed(self.waits.now.after(LINGER));
            }
            if !self.receive(cx)? {
                self.wait(cx)?;
                return Poll::Pending;
            }
            if self.rbuf.is_empty() {
                // The end of what the caller sends is the end of its calls.
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether all has been answered that will be.
    fn is_done(&self) -> bool {
        let idle = self.mux.is_empty() && self.calls.is_empty();
        self.state != State::Open || self.leaving && idle
    }

    /// Whether there is room for what is sent.
    fn has_room(&self) -> bool {
        self.out.in_memory() + self.io.unsent() < self.server.limits.unsent()
    }

    /// Whether another answer may be made.
    fn takes_calls(&self) -> bool {
        self.has_room() && !is_full(self.mux.rests(), self.server.limits.unsent())
    }

    /// Whether something can be done though nothing new comes.
    fn has_more(&mut self) -> bool {
        self.fill();
        !self.out.is_empty() || !self.waiting.is_empty() && self.takes_calls()
    }

    /// Takes the answers of calls that waited, and begins those that wait for their turn.
    fn collect(&mut self, cx: &mut Context<'_>) {
        while !self.calls.is_empty()
            && self.takes_calls()
            && let Poll::Ready(Some((stream, frame))) = Pin::new(&mut self.calls).poll_next(cx)
        {
            if let Some(frame) = frame {
                self.answer(stream, frame);
            }
        }
        if self.has_room()
            && self.state == State::Open
            && let Some(pushes) = self.pusher.0.take()
        {
            put(&mut self.out, pushes);
        }
        while self.takes_calls()
            && let Some((stream, call)) = self.waiting.pop_front()
        {
            self.mux.release(call.weight(), self.out.small());
            self.begin_gathered(cx, stream, &call);
        }
        self.relay();
    }

    /// Sends an answer that has a buffer of its own.
    fn answer(&mut self, stream: u32, mut frame: BytesMut) {
        let rest = Rest::of(&mut frame, 0);
        if frame.is_empty() {
            pool::give(frame);
        } else {
            put(&mut self.out, frame);
        }
        self.answered(stream, rest);
    }

    /// An answer was written, but for this.
    fn answered(&mut self, stream: u32, rest: Option<Rest>) {
        match (rest, self.mux.get(stream)) {
            (None, _) => drop(self.mux.close(stream, self.out.small())),
            (Some(rest), kept) => {
                match kept {
                    Some(running) => *running = Running::Answered,
                    None => self.mux.keep(stream, Running::Answered),
                }
                self.mux.send_rest(rest);
            }
        }
    }

    /// Takes pieces of long answers, not more than others can wait for.
    fn fill(&mut self) {
        while self.out.in_memory() < FILL
            && let Some(chunk) = self.mux.next_chunk(self.out.small())
        {
            if let Some(Running::Streaming(Ours(pipe), _)) = self.mux.get(chunk.stream) {
                pipe.sent(chunk.body.len());
            }
            self.out.push_framed(&chunk.head, chunk.body);
        }
    }

    /// Takes the frames that have come.
    fn dispatch(&mut self, cx: &mut Context<'_>) {
        if self.state != State::Open {
            self.rbuf.clear();
            return;
        }
        let mut rbuf = std::mem::take(&mut self.rbuf);
        let mut at = 0;
        while self.has_room() && self.state == State::Open {
            match hrpc::decode(rbuf.get(at..).unwrap_or_default(), self.limits) {
                Ok(Decoded::Frame(frame, length)) => {
                    at += length;
                    self.waits.midway = None;
                    match self.mux.receive(&frame, self.out.small()) {
                        Ok(event) => self.take(cx, event),
                        Err(e) => self.break_off(Code::PROTOCOL, &e.to_string()),
                    }
                }
                Ok(Decoded::Needs(_)) => {
                    if at < rbuf.len() {
                        self.waits.is_midway();
                    }
                    break;
                }
                Err(e) => self.break_off(Code::PROTOCOL, &e.to_string()),
            }
        }
        rbuf.advance(at);
        self.rbuf = rbuf;
    }

    /// Ends the connection, and says why.
    fn break_off(&mut self, code: Code, why: &str) {
        if code == Code::PROTOCOL {
            self.server.counters.malformed.add(1);
            tracing::debug!(peer = %self.peer, "connection closed: {why}");
        }
        let last = self.mux.last();
        hrpc::goaway(self.out.small(), last, code, cut(why));
        self.mux = Mux::server(self.limits, 0);
        self.calls.clear();
        self.waiting.clear();
        self.state = State::Closing;
    }

    /// Sends what there is; whether all was sent.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        // Answers that wait for credit are as much of a burden, if they keep others from being made.
        let queued = match self.mux.rests() {
            queued if is_full(queued, self.server.limits.unsent()) => queued.0 as u64,
            _ => 0,
        };
        let is_sent = self.out.is_empty() || self.io.poll_send(cx, &mut self.out)?.is_ready();
        if is_sent && queued == 0 {
            self.waits.is_sent();
            return Ok(true);
        }
        self.waits.is_unsent(queued + self.out.len() + self.io.unsent() as u64);
        Ok(is_sent)
    }

    /// Receives, if something can be done with it; whether something has come.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let wants = match self.state {
            State::Open => self.has_room(),
            State::Closing => false,
            State::Closed(_) => true,
        };
        if !wants {
            return Ok(false);
        }
        match self.waits.receive(cx, &mut self.io, &mut self.rbuf)? {
            Poll::Ready(0) => {
                self.rbuf.clear();
                Ok(true)
            }
            Poll::Ready(_) => Ok(true),
            Poll::Pending => Ok(false),
        }
    }

    /// Sees to being woken in time, unless it is late already.
    fn wait(&mut self, cx: &Context<'_>) -> Result<(), End> {
        let limits = &self.server.limits;
        let idle = self.mux.is_empty() && self.calls.is_empty() && self.out.is_empty();
        let mut due = self.waits.due(limits, idle);
        if due.0 == Moment::NEVER && self.state == State::Open {
            if self.waits.wants_life(limits) {
                hrpc::ping(self.out.small(), [0; 8]);
                cx.waker().wake_by_ref();
            }
            due = (self.waits.life_due(limits), "it gives no sign of life");
        }
        if idle && self.rbuf.is_empty() {
            // Who is idle holds no buffer.
            pool::give(std::mem::take(&mut self.rbuf));
            self.out.release();
        }
        if self.waits.now >= self.earliest {
            self.expire();
            cx.waker().wake_by_ref();
        }
        if let State::Closed(until) = self.state {
            if self.waits.now >= until {
                return Err(End::Shut);
            }
            due.0 = until;
        }
        match self.ticket.phase() {
            Phase::Serving => {}
            Phase::Draining if self.state == State::Open && !self.leaving => {
                self.leaving = true;
                hrpc::goaway(self.out.small(), self.mux.last(), Code::OK, "draining");
                cx.waker().wake_by_ref();
            }
            Phase::Draining => {}
            Phase::Ending => return Err(End::Shut),
        }
        if self.waits.now >= due.0 && self.ticket.phase() == Phase::Serving {
            if self.waits.is_stalled() {
                // Else the kernel would keep what the caller does not take.
                self.io.reset();
            }
            return Err(End::Late(due.1));
        }
        self.pusher.0.wakes(cx, self.has_room() && self.state == State::Open);
        self.bell.wakes(cx);
        let due = due.0.min(self.earliest);
        let group = self.ticket.group();
        self.deadline.get_or_insert_with(|| Deadline::new(group, cx.waker())).set(due);
        Ok(())
    }
}
