//! A connection of callers: all calls that have come are begun, and all answers that are there go out in one write.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use hemi_core::clock::{self, Moment};
use hemi_core::deadline::Deadline;
use hemi_core::gate::{Phase, Ticket};
use hemi_core::io::{Io, Outbox, pool};
use hemi_core::listen::Peer;
use hemi_core::panics::{Panicked, catch};
use hemi_core::tls::TlsInfo;
use hemi_proto::hrpc::{self, Begun};
use hemi_proto::rpcx::{self, Decoded, Frame, FrameError, Limits, Mode, Pairs, TIMEOUT_KEY};
use hemi_web::HttpxServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, error};

use super::Shared;
use super::waits::Waits;
use crate::exchange::{Done, Exchange, Outcome, Pending, Wire, write_fault};
use crate::{Asking, DecompressError, Fault, Pusher, Refusal, side};

/// Times that a connection is looked after in a row, before others of the core get their turn.
pub(super) const TURNS: usize = 32;

/// A caller that is still sending may go on for this long before the connection is closed under it, so that it gets
/// to read its last answers.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// Serves one connection to its end.
pub(super) async fn serve<I: Io + AsyncRead + AsyncWrite + Send + 'static>(
    io: I,
    tls: Option<Arc<TlsInfo>>,
    peer: Peer,
    ticket: Ticket,
    server: Arc<Shared>,
    web: Option<Arc<HttpxServer>>,
) {
    let mut conn = Conn::new(io, peer, ticket, server, web.is_some());
    let served = catch(poll_fn(|cx| conn.poll(cx))).await;
    match served {
        Ok(Err(End::Http)) => {
            let Conn { io, rbuf, ticket, .. } = conn;
            if let Some(web) = web {
                Box::pin(web.go_on(io, rbuf, tls, peer, ticket)).await;
            }
        }
        Ok(Err(End::Side)) => {
            let Conn { io, rbuf, ticket, server, .. } = conn;
            super::streams::serve(io, rbuf, peer, ticket, &server).await;
        }
        Ok(Err(End::Hrpc)) => {
            let Conn { io, rbuf, ticket, server, .. } = conn;
            Box::pin(super::hrpc::serve(io, rbuf, peer, ticket, server)).await;
        }
        ended => note(ended, &peer, &conn.server),
    }
}

/// Notes how a connection has ended.
pub(super) fn note(ended: Result<Result<(), End>, Panicked>, peer: &Peer, server: &Shared) {
    match ended {
        Ok(Ok(()) | Err(End::Shut | End::Http | End::Hrpc | End::Side)) => {}
        Ok(Err(End::Gone(e))) => debug!(%peer, "connection lost: {e}"),
        Ok(Err(End::Bad(e))) => {
            server.counters.malformed.add(1);
            debug!(%peer, "connection closed: {e}");
        }
        Ok(Err(End::Late(what))) => {
            server.counters.cuts.add(1);
            debug!(%peer, "connection closed: {what}");
        }
        Err(panic) => error!(%peer, "connection panicked: {panic}"),
    }
}

/// Why a connection ends before its time.
pub(super) enum End {
    Gone(io::Error),
    Bad(String),
    Late(&'static str),
    Shut,
    /// It is HTTP that the caller speaks.
    Http,
    /// It is HRPC.
    Hrpc,
    /// It is a stream beside calls.
    Side,
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        Self::Gone(e)
    }
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Nothing more is read; what is under way is answered.
    Closing,
    /// The caller was told that nothing more comes: it gets the time to see that.
    Closed(Moment),
}

struct Conn<I> {
    io: I,
    rbuf: BytesMut,
    out: Outbox,
    calls: FuturesUnordered<Box<Pending>>,
    server: Arc<Shared>,
    limits: Limits,
    pusher: Pushing,
    rate: Rate,
    peer: Peer,
    ticket: Ticket,
    deadline: Option<Deadline>,
    state: State,
    /// Nothing was read yet: the caller may come by HTTP.
    fresh: bool,
    /// Whether it may speak that with others.
    http: bool,
    /// The caller sends no more.
    ended: bool,
    waits: Waits,
}

impl<I: Io> Conn<I> {
    fn new(io: I, peer: Peer, ticket: Ticket, server: Arc<Shared>, http: bool) -> Self {
        let now = clock::now();
        Self {
            io,
            rbuf: BytesMut::new(),
            out: Outbox::default(),
            calls: FuturesUnordered::new(),
            limits: server.limits.frames(),
            rate: Rate::new(server.limits.max_call_rate, now),
            server,
            pusher: Pushing(Pusher::new(Wire::Rpcx)),
            peer,
            ticket,
            deadline: None,
            state: State::Open,
            fresh: true,
            http,
            ended: false,
            waits: Waits::new(now),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.waits.now = clock::now();
        for _ in 0..TURNS {
            let held_back = self.dispatch(cx)?;
            self.collect(cx);
            let full = !self.has_room();
            let sent = self.send(cx)?;
            let goes_on = held_back && self.takes_calls();
            if goes_on || full && self.has_room() {
                continue;
            }
            if sent && self.is_done() {
                match self.state {
                    State::Closed(_) => {}
                    _ if self.ended => return Poll::Ready(Ok(())),
                    _ => {
                        self.io.shutdown()?;
                        self.state = State::Closed(self.waits.now.after(LINGER));
                    }
                }
            }
            if !self.receive(cx)? {
                self.wait(cx)?;
                return Poll::Pending;
            }
            if self.ended && matches!(self.state, State::Closed(_)) {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether all has been answered that will be.
    fn is_done(&self) -> bool {
        (self.ended || self.state != State::Open) && self.calls.is_empty()
    }

    /// Whether another call may be begun.
    fn takes_calls(&self) -> bool {
        self.has_room() && self.calls.len() < self.server.limits.max_calls_per_conn
    }

    /// Whether there is room for answers.
    fn has_room(&self) -> bool {
        self.out.in_memory() + self.io.unsent() < self.server.limits.unsent()
    }

    /// Takes the answers of calls that waited, and what is pushed.
    fn collect(&mut self, cx: &mut Context<'_>) {
        while self.has_room()
            && !self.calls.is_empty()
            && let Poll::Ready(Some(frame)) = Pin::new(&mut self.calls).poll_next(cx)
        {
            put(&mut self.out, frame);
        }
        if self.has_room()
            && let Some(pushes) = self.pusher.0.take()
        {
            put(&mut self.out, pushes);
        }
    }

    /// Begins the calls that have come; whether some were held back.
    fn dispatch(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.state != State::Open {
            self.rbuf.clear();
            return Ok(false);
        }
        let (mut at, mut held_back) = (0, false);
        loop {
            let rest = self.rbuf.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            if !self.takes_calls() {
                held_back = true;
                break;
            }
            if self.fresh {
                match hrpc::begun(rest) {
                    Begun::Other => {}
                    Begun::Partly => {
                        self.waits.is_midway();
                        break;
                    }
                    Begun::Hrpc => return Err(End::Hrpc),
                }
            }
            if self.fresh && rest.first() == Some(&side::FIRST) && self.server.tokens.is_some() {
                if rest.len() >= side::TOKEN {
                    return Err(End::Side);
                }
                self.waits.is_midway();
                break;
            }
            if self.fresh && self.http && !rest.starts_with(b"\x08") {
                match rpcx::read_connect(rest) {
                    // What is its start may be that of another CONNECT.
                    Some(_) => {}
                    None => return Err(End::Http),
                }
            }
            if std::mem::take(&mut self.fresh) && rest.starts_with(b"C") {
                match rpcx::read_connect(rest) {
                    Some(0) => {
                        self.fresh = true;
                        self.waits.is_midway();
                        break;
                    }
                    Some(length) => {
                        at += length;
                        self.waits.midway = None;
                        self.out.small().extend_from_slice(rpcx::CONNECTED);
                        continue;
                    }
                    None => {}
                }
            }
            match rpcx::decode(rest, self.limits) {
                Ok(Decoded::Frame(frame, length)) => {
                    at += length;
                    self.waits.midway = None;
                    let Self { out, calls, server, pusher, rate, peer, waits, .. } = self;
                    let (peer, now, pusher) = (*peer, waits.now, &pusher.0);
                    let mut taking = Taking { out, calls, server, pusher, rate, peer, now };
                    if taking.take(cx, frame)? == Next::Close {
                        self.state = State::Closing;
                        at = self.rbuf.len();
                        break;
                    }
                }
                Ok(Decoded::Needs(_)) => {
                    if !self.ended {
                        self.waits.is_midway();
                    }
                    break;
                }
                Err(e) => {
                    self.refuse(&e)?;
                    at = self.rbuf.len();
                    break;
                }
            }
        }
        self.rbuf.advance(at);
        Ok(held_back)
    }

    /// Says what is wrong, if the caller can understand it.
    fn refuse(&mut self, e: &FrameError) -> Result<(), End> {
        match e {
            FrameError::TooLong { head, .. } | FrameError::MetadataTooLong { head, .. } => {
                debug!(peer = %self.peer, "connection closed: {e}");
                self.server.counters.malformed.add(1);
                let fault = Fault::new(e.to_string());
                write_fault(Wire::Rpcx, self.out.small(), head, b"", b"", &fault, Pairs::NONE);
                self.state = State::Closing;
                Ok(())
            }
            FrameError::Magic | FrameError::Length | FrameError::Metadata => {
                Err(End::Bad(e.to_string()))
            }
        }
    }

    /// Sends what there is; whether all was sent.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.out.is_empty() && !self.waits.is_stalled() {
            return Ok(true);
        }
        if self.io.poll_send(cx, &mut self.out)?.is_ready() {
            self.waits.is_sent();
            return Ok(true);
        }
        self.waits.is_unsent(self.out.len() + self.io.unsent() as u64);
        Ok(false)
    }

    /// Receives, if something more can be done with it; whether something has come.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let wants = match self.state {
            State::Open => self.takes_calls(),
            State::Closing => false,
            State::Closed(_) => true,
        };
        if !wants || self.ended {
            return Ok(false);
        }
        match self.waits.receive(cx, &mut self.io, &mut self.rbuf)? {
            Poll::Ready(0) => {
                (self.ended, self.waits.midway) = (true, None);
                Ok(true)
            }
            Poll::Ready(_) => Ok(true),
            Poll::Pending => Ok(false),
        }
    }

    /// Sees to being woken in time, unless it is late already.
    fn wait(&mut self, cx: &Context<'_>) -> Result<(), End> {
        let limits = &self.server.limits;
        let idle = self.calls.is_empty() && self.out.is_empty();
        if idle && self.rbuf.is_empty() {
            // Who is idle holds no buffer.
            pool::give(std::mem::take(&mut self.rbuf));
            self.out.release();
        }
        let mut due = self.waits.due(limits, idle);
        if let State::Closed(until) = self.state {
            if self.waits.now >= until {
                return Err(End::Shut);
            }
            due.0 = until;
        }
        match self.ticket.phase() {
            Phase::Serving => {}
            Phase::Draining => match self.ticket.linger(self.waits.now) {
                // Callers need not send on a connection that is about to end; who does is answered.
                Some(until) => due.0 = due.0.min(until),
                None if self.state == State::Open => {
                    self.state = State::Closing;
                    cx.waker().wake_by_ref();
                }
                None => {}
            },
            Phase::Ending => return Err(End::Shut),
        }
        if self.waits.now >= due.0 && self.ticket.phase() == Phase::Serving {
            if self.waits.is_stalled() {
                // Else the kernel would keep what the caller does not take.
                self.io.reset();
            }
            return Err(End::Late(due.1));
        }
        self.pusher.0.wakes(cx, self.has_room());
        let group = self.ticket.group();
        self.deadline.get_or_insert_with(|| Deadline::new(group, cx.waker())).set(due.0);
        Ok(())
    }
}

/// Those who push hear of the connection's end.
pub(super) struct Pushing(pub(super) Pusher);

impl Drop for Pushing {
    fn drop(&mut self) {
        self.0.lock().gone = true;
    }
}

/// Appends a frame that has a buffer of its own.
pub(super) fn put(out: &mut Outbox, frame: BytesMut) {
    if frame.len() > pool::BUFFER / 4 {
        out.push(frame.freeze());
    } else {
        out.small().extend_from_slice(&frame);
        pool::give(frame);
    }
}

/// Calls that a connection has left.
pub(super) struct Rate {
    per_second: u32,
    /// Thousandths.
    left: u64,
    since: Moment,
}

impl Rate {
    pub(super) fn new(per_second: u32, now: Moment) -> Self {
        Self { per_second, left: u64::from(per_second) * 2000, since: now }
    }

    pub(super) fn spend(&mut self, now: Moment) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let rate = u64::from(self.per_second);
        let passed = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_add(passed.saturating_mul(rate)).min(rate * 2000);
        self.since = now;
        let may = self.left >= 1000;
        if may {
            self.left -= 1000;
        }
        may
    }
}

/// What becomes of the connection after a frame.
#[derive(PartialEq, Eq)]
enum Next {
    Another,
    Close,
}

/// What is needed to begin a call.
struct Taking<'a> {
    out: &'a mut Outbox,
    calls: &'a mut FuturesUnordered<Box<Pending>>,
    server: &'a Arc<Shared>,
    pusher: &'a Pusher,
    rate: &'a mut Rate,
    peer: Peer,
    now: Moment,
}

impl Taking<'_> {
    fn take(&mut self, cx: &mut Context<'_>, frame: Frame<'_>) -> Result<Next, End> {
        let asks = matches!(frame.head.mode, Mode::Call | Mode::OneWay | Mode::Heartbeat);
        if asks && !self.rate.spend(self.now) {
            self.server.counters.refused.add(1);
            self.fail(&frame, Fault::new("request reached rate limit"));
            return Ok(Next::Another);
        }
        if matches!(frame.head.mode, Mode::Call | Mode::OneWay) {
            let Frame { service, method, metadata, .. } = frame;
            let refusal =
                self.server.admit(&Asking { peer: &self.peer, service, method, metadata });
            if let Err(refusal) = refusal {
                self.server.counters.refused.add(1);
                let (fault, next) = match refusal {
                    Refusal::Call(fault) => (fault, Next::Another),
                    Refusal::Connection(fault) => (fault, Next::Close),
                };
                self.fail(&frame, fault);
                return Ok(next);
            }
        }
        let (number, most) = (frame.head.compression.number(), self.server.limits.decompressed());
        let compressions = &self.server.compressions;
        let payload = match compressions.unpack(number, Cow::Borrowed(frame.payload), most) {
            Ok(payload) => payload,
            Err(e @ DecompressError::TooLong(_)) => {
                self.fail(&frame, Fault::from(e));
                return Ok(Next::Another);
            }
            Err(e) => return Err(End::Bad(e.to_string())),
        };
        match frame.head.mode {
            Mode::Call | Mode::OneWay => self.call(cx, frame, payload),
            Mode::Heartbeat => {
                self.server.counters.heartbeats.add(1);
                rpcx::echo(self.out.small(), &frame);
            }
            // Answers to nothing that was asked.
            Mode::Answer | Mode::Failure | Mode::Echo => {}
        }
        Ok(Next::Another)
    }

    fn call(&mut self, cx: &mut Context<'_>, frame: Frame<'_>, payload: Cow<'_, [u8]>) {
        self.server.counters.calls.add(1);
        let Some(route) = self.server.route(frame.service) else {
            let name = String::from_utf8_lossy(frame.service);
            self.fail(&frame, Fault::new(format!("rpcx: can't find service {name}")));
            return;
        };
        let limit = self.server.limits.call_timeout;
        let mut deadline = if limit.is_zero() { Moment::NEVER } else { self.now.after(limit) };
        if !frame.metadata.is_empty()
            && let Some(millis) = frame.metadata.text(TIMEOUT_KEY).and_then(|t| t.parse().ok())
        {
            deadline = deadline.min(self.now.after(Duration::from_millis(millis)));
        }
        let (server, pusher, peer) = (self.server, self.pusher, self.peer);
        let out = self.out.small();
        let wire = Wire::Rpcx;
        let exchange =
            Exchange { frame, payload, deadline, peer, route, pusher, server, wire, out };
        let Outcome(Done::Later(mut pending)) = route.service.call(exchange) else { return };
        match pending.start(cx) {
            Poll::Ready(answer) => put(self.out, answer),
            Poll::Pending => self.calls.push(pending),
        }
    }

    fn fail(&mut self, frame: &Frame<'_>, fault: Fault) {
        if frame.head.mode == Mode::Call {
            self.server.counters.faults.add(1);
            let (head, out) = (&frame.head, self.out.small());
            let wire = Wire::Rpcx;
            write_fault(wire, out, head, frame.service, frame.method, &fault, Pairs::NONE);
        }
    }
}
