//! An HTTP/2 connection (RFC 9113): frames in, answers out, all that are ready in one write.
//!
//! What needs no waiting is answered where its head was read. What waits runs as a future within the
//! connection's own task, and is polled when its own waker says so.

mod content;
mod respond;
mod standing;
mod stream;
mod tunnel;
mod upload;
mod wakes;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::clock::{self, Moment};
use hemi_core::gate::{Phase, Ticket};
use hemi_core::io::{Io, Outbox, pool};
use hemi_core::listen::Peer;
use hemi_core::panics::catch;
use hemi_core::tls::TlsInfo;
use hemi_proto::http2::{Config, Connection, ErrorCode, Event, Settings, Shutdown};
use tracing::{debug, error};

use self::stream::Streams;
use self::wakes::Wakes;
use super::watch::{Cut, Pace, Watch};
use crate::Request;
use crate::http_config::Limit;
use crate::httpx::Shared;

/// Bytes of answers that are gathered before they are sent.
const GATHERED: usize = 128 << 10;

/// Rounds of reading, answering and sending in a row, before others of the core get their turn.
const TURN: u32 = 16;

/// A client may go on for this long before the connection is closed under it, so that it gets to read what
/// was sent last.
const LINGER: Duration = Duration::from_secs(5);

/// Bytes that are read of it meanwhile, at most: as much as may have been on its way.
const LINGER_BYTES: usize = 4 << 20;

/// Patience that a client wins back by each second that passes.
const CALM: u32 = 5;

/// What a connection has come to when HTTP/2 begins on it.
pub(super) struct Start<I> {
    pub(super) io: I,
    /// What has been read already.
    pub(super) rbuf: BytesMut,
    /// What has been put to be sent already.
    pub(super) out: Outbox,
    /// The request that is awaited, or with which the client has upgraded from HTTP/1.1.
    pub(super) req: Request,
    /// The settings of a client that has upgraded.
    pub(super) upgraded: Option<Settings>,
    pub(super) watch: Watch,
    pub(super) server: Arc<Shared>,
}

/// Serves one connection, whose client has chosen HTTP/2 by ALPN, to its end.
pub(crate) fn serve<I: Io>(
    io: I,
    tls: Option<Arc<TlsInfo>>,
    peer: Peer,
    ticket: Ticket,
    server: Arc<Shared>,
) -> impl Future<Output = ()> + Send {
    go_on(Start {
        io,
        rbuf: BytesMut::new(),
        out: Outbox::default(),
        req: Request::awaited(peer, tls),
        upgraded: None,
        watch: Watch::new(ticket),
        server,
    })
}

/// Serves one connection from here to its end.
pub(super) async fn go_on<I: Io>(start: Start<I>) {
    let peer = start.req.peer();
    let mut conn = Conn::new(start);
    let served = catch(pin!(poll_fn(|cx| conn.poll(cx)))).await;
    for stream in conn.streams.drain() {
        stream.end(&conn.server);
    }
    match served {
        Ok(Ok(())) => {}
        Ok(Err(cut)) => conn.cut(&cut),
        Err(panic) => error!(%peer, "connection panicked: {panic}"),
    }
}

struct Conn<I> {
    io: I,
    rbuf: BytesMut,
    out: Outbox,
    proto: Connection,
    /// The request under way; its memory serves those that need no waiting one after the other.
    req: Request,
    /// Requests that wait, and answers that take their time.
    streams: Streams,
    wakes: Option<Arc<Wakes>>,
    watch: Watch,
    server: Arc<Shared>,
    peer: Peer,
    /// How fast the client takes what is sent.
    pace: Pace,
    /// When the connection is too old for another request.
    until: Moment,
    /// When there last was a request under way.
    active: Moment,
    /// Since when a frame has been there in part.
    midway: Option<Moment>,
    requests: u32,
    /// About now: when the connection was last known to have waited.
    now: Moment,
    /// The request of a client that has upgraded, which is answered when the client has begun, too: others
    /// than the smallest answers are too much for some before.
    upgraded: Option<Box<Request>>,
    /// Once all was sent and the client has been told so: how many more bytes it may send.
    closing: Option<usize>,
}

/// What a round of work has come to.
enum Round {
    /// There may be more to do.
    Go,
    /// There is nothing to do before something happens.
    Wait,
    /// The connection is over.
    Over,
}

impl<I: Io> Conn<I> {
    fn new(start: Start<I>) -> Self {
        let Start { io, rbuf, mut out, mut req, upgraded, watch, server } = start;
        let config = Config { heads: server.heads, ..Config::default() };
        let mut proto = Connection::new(config, out.small());
        let upgraded = upgraded.map(|settings| {
            proto.upgraded(settings, req.head());
            let next = req.sibling();
            Box::new(std::mem::replace(&mut req, next))
        });
        let (now, peer) = (clock::now(), req.peer());
        Self {
            io,
            rbuf,
            out,
            proto,
            req,
            streams: Streams::default(),
            wakes: None,
            watch,
            peer,
            pace: Pace::default(),
            until: now.after(server.conn_age(&peer)),
            active: now,
            midway: None,
            requests: 0,
            now,
            upgraded,
            closing: None,
            server,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        let server = self.server.clone();
        for _ in 0..TURN {
            let round =
                if self.closing.is_some() { self.linger(cx)? } else { self.round(cx, &server)? };
            match round {
                Round::Go => {}
                Round::Wait => return Poll::Pending,
                Round::Over => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn round(&mut self, cx: &mut Context<'_>, server: &Arc<Shared>) -> Result<Round, Cut> {
        let mut busy = false;
        if self.out.in_memory() < GATHERED {
            match self.poll_recv(cx)? {
                Poll::Ready(0) => return Ok(Round::Over),
                Poll::Ready(_) => busy = true,
                Poll::Pending => {}
            }
        }
        if self.watch.phase() != Phase::Serving && self.proto.shutdown() == Shutdown::No {
            self.proto.shut_down(self.out.small());
            self.streams.wake_all();
        }
        self.take_frames(server);
        busy |= self.poll_woken(server);
        self.fill();
        if !self.out.is_empty() {
            busy |= self.poll_send(cx)?;
        }
        if self.proto.is_over() && self.out.is_empty() {
            return Ok(self.close());
        }
        if busy { Ok(Round::Go) } else { self.wait(cx) }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, Cut> {
        if self.rbuf.capacity() == 0 {
            self.rbuf = pool::take();
        } else if self.rbuf.capacity() == self.rbuf.len() {
            self.rbuf.reserve(pool::BUFFER);
        }
        let Poll::Ready(got) = self.io.poll_recv(cx, &mut self.rbuf)? else {
            return Ok(Poll::Pending);
        };
        let now = clock::now();
        let seconds = now.since(self.now).as_secs();
        if seconds > 0 {
            self.proto.earn(CALM.saturating_mul(seconds.try_into().unwrap_or(u32::MAX)));
        }
        self.now = now;
        Ok(Poll::Ready(got))
    }

    /// Acts on the frames that have come, for as long as there is room for what they ask for.
    fn take_frames(&mut self, server: &Arc<Shared>) {
        while self.out.in_memory() < GATHERED {
            let (head, out) = (self.req.head_mut(), self.out.small());
            match self.proto.receive(&mut self.rbuf, head, out) {
                Ok(event) => {
                    if !self.proto.is_midway() {
                        self.answer_upgraded(server);
                    }
                    match event {
                        Some(event) => self.event(event, server),
                        None => return,
                    }
                }
                Err(e) => {
                    if e.code == ErrorCode::ENHANCE_YOUR_CALM {
                        server.hit(&self.peer, Limit::Glitches);
                    }
                    debug!(peer = %self.peer, "connection error: {e}");
                    for stream in self.streams.drain() {
                        stream.end(server);
                    }
                    return;
                }
            }
        }
    }

    fn answer_upgraded(&mut self, server: &Arc<Shared>) {
        let Some(upgraded) = self.upgraded.take() else { return };
        let mut next = std::mem::replace(&mut self.req, *upgraded);
        self.request(1, server);
        std::mem::swap(self.req.head_mut(), next.head_mut());
    }

    fn event(&mut self, event: Event, server: &Arc<Shared>) {
        match event {
            Event::Request { stream } => self.request(stream, server),
            Event::Refused { stream, error } => {
                server.counters.requests.add(1);
                server.hit(&self.peer, Limit::of_head(error));
                debug!(peer = %self.peer, "bad request: {}", error.name());
                self.req.unread();
                server.record_refused(&mut self.req, error.status());
                self.refuse(stream, error.status());
            }
            Event::Malformed(fault) => {
                server.hit(&self.peer, Limit::BadHead);
                debug!(peer = %self.peer, "bad request: {}", fault.name());
            }
            Event::Data { stream, data } => {
                let (streams, mut line) = self.split();
                match streams.find(stream) {
                    Some(found) => {
                        found.receive(data, &mut line);
                        streams.wake(stream);
                    }
                    None => line.proto.read(stream, data.len(), line.out.small()),
                }
            }
            Event::End { stream, trailers } => {
                if let Some(found) = self.streams.find(stream) {
                    found.received_all(trailers);
                    self.streams.wake(stream);
                }
            }
            Event::Reset { stream, code } => {
                debug!(peer = %self.peer, stream, "stream reset: {code}");
                if let Some(stream) = self.streams.remove(stream) {
                    stream.end(server);
                }
            }
        }
    }

    /// Polls what asks for it; true if something did.
    fn poll_woken(&mut self, server: &Arc<Shared>) -> bool {
        if let Some(wakes) = &self.wakes {
            wakes.take(|stream| self.streams.wake(stream));
        }
        let woken = self.streams.take_woken();
        let busy = !woken.is_empty();
        for id in woken {
            let (streams, mut line) = self.split();
            let Some(stream) = streams.find(id) else { continue };
            if stream.poll(&mut line).is_ready()
                && let Some(stream) = streams.remove(id)
            {
                stream.end(server);
            }
        }
        busy
    }

    /// Puts content into the outbox, of those streams whose turn it is.
    fn fill(&mut self) {
        while self.out.in_memory() < GATHERED {
            let Some(turn) = self.proto.turn() else { break };
            let (streams, mut line) = self.split();
            let Some(stream) = streams.find(turn.stream) else {
                line.proto.set_ready(turn.stream, false);
                continue;
            };
            if stream.send(turn, &mut line).is_ready()
                && let Some(stream) = streams.remove(turn.stream)
            {
                stream.end(line.server);
            }
        }
    }

    /// Sends; true if all went.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<bool, Cut> {
        let before = self.out.len();
        let sent = self.io.poll_send(cx, &mut self.out)?.is_ready();
        let left = self.out.len();
        if left < before {
            self.pace.progress(before - left);
        }
        Ok(sent)
    }

    /// Has the task be polled again when something has happened, or has not for too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Result<Round, Cut> {
        if self.wakes.as_ref().is_some_and(|wakes| wakes.register(cx.waker())) {
            return Ok(Round::Go);
        }
        let config = &self.server.config;
        let is_idle = self.streams.is_empty();
        let mut due = (Moment::NEVER, Limit::IdleTimeout);
        let mut sooner = |at: Moment, limit| {
            if at < due.0 {
                due = (at, limit);
            }
        };
        // What is not read because too much waits to be sent is not the client's delay.
        let reads = self.out.in_memory() < GATHERED;
        if self.proto.is_midway() || (reads && !self.rbuf.is_empty()) {
            let since = *self.midway.get_or_insert(self.now);
            sooner(since.after(config.head_timeout), Limit::HeadTimeout);
        } else {
            self.midway = None;
            if is_idle {
                sooner(self.active.after(config.idle_timeout), Limit::IdleTimeout);
            }
        }
        if !self.out.is_empty() || self.proto.is_blocked() {
            sooner(self.pace.wait(config.send_timeout, config), Limit::SendTimeout);
        }
        if !is_idle {
            self.active = self.now;
            let blocked = |stream| self.proto.is_blocked_on(stream);
            sooner(self.streams.due(config, blocked), Limit::TotalTimeout);
        }
        self.watch.until(due.0, due.1);
        self.watch.idle = is_idle && self.midway.is_none();
        if self.rbuf.is_empty() {
            self.release();
        }
        match self.watch.pending(cx) {
            Ok(()) => Ok(Round::Wait),
            // Which is a stream's.
            Err(Cut::Limit(Limit::TotalTimeout)) => {
                self.expire();
                Ok(Round::Go)
            }
            Err(Cut::Limit(Limit::IdleTimeout)) if self.proto.shutdown() == Shutdown::No => {
                self.server.hit(&self.peer, Limit::IdleTimeout);
                self.proto.last_call(self.out.small());
                Ok(Round::Go)
            }
            Err(Cut::Shut) if is_idle && self.watch.phase() == Phase::Draining => {
                self.proto.last_call(self.out.small());
                // Which the socket takes, or never will.
                let _ = self.io.poll_send(cx, &mut self.out)?;
                Ok(Round::Over)
            }
            Err(cut) => Err(cut),
        }
    }

    /// Who is idle holds no buffer.
    fn release(&mut self) {
        pool::give(std::mem::take(&mut self.rbuf));
        self.out.release();
        if self.streams.is_empty() {
            self.streams.release();
            self.proto.release();
        }
    }

    /// Acts on deadlines of streams that have passed.
    fn expire(&mut self) {
        let now = clock::now();
        self.now = now;
        for id in self.streams.expired(now) {
            let Some(stream) = self.streams.find(id) else { continue };
            let limit = stream.expire(now, &self.server.config);
            self.server.hit(&self.peer, limit);
            if limit == Limit::BodyTimeout {
                self.streams.wake(id);
                continue;
            }
            self.proto.reset(id, ErrorCode::CANCEL, self.out.small());
            if let Some(stream) = self.streams.remove(id) {
                stream.end(&self.server);
            }
        }
    }

    /// All is sent: says so, and waits a while for the client to see it.
    fn close(&mut self) -> Round {
        if self.io.shutdown().is_err() {
            return Round::Over;
        }
        self.closing = Some(LINGER_BYTES);
        self.watch.until(clock::now().after(LINGER), Limit::IdleTimeout);
        self.watch.idle = true;
        Round::Go
    }

    fn linger(&mut self, cx: &mut Context<'_>) -> Result<Round, Cut> {
        self.rbuf.clear();
        if self.rbuf.capacity() == 0 {
            self.rbuf = pool::take();
        }
        match self.io.poll_recv(cx, &mut self.rbuf) {
            Poll::Ready(Ok(read @ 1..)) => {
                self.closing = self.closing.and_then(|left| left.checked_sub(read));
                Ok(if self.closing.is_some() { Round::Go } else { Round::Over })
            }
            Poll::Ready(_) => Ok(Round::Over),
            Poll::Pending => {
                self.rbuf.clear();
                self.release();
                Ok(if self.watch.pending(cx).is_ok() { Round::Wait } else { Round::Over })
            }
        }
    }

    /// The streams, and what they need of the connection.
    fn split(&mut self) -> (&mut Streams, Line<'_>) {
        let Self { streams, proto, out, server, watch, .. } = self;
        (streams, Line { proto, out, server, watch })
    }

    fn cut(&mut self, cut: &Cut) {
        match cut {
            Cut::Limit(limit) => {
                if *limit == Limit::SendTimeout {
                    // Else the kernel would keep what the client does not take.
                    self.io.reset();
                }
                self.server.hit(&self.peer, *limit);
            }
            Cut::Gone(e) => debug!(peer = %self.peer, "connection lost: {e}"),
            Cut::Shut => {}
        }
    }
}

/// The connection, as far as a stream needs it.
struct Line<'a> {
    proto: &'a mut Connection,
    out: &'a mut Outbox,
    server: &'a Arc<Shared>,
    watch: &'a Watch,
}
