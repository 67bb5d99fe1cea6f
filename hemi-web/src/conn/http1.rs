//! An HTTP/1 connection: heads in, answers out in their order, all that are ready in one write.

mod h2c;
mod respond;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use hemi_core::clock::{self, Moment};
use hemi_core::gate::{Phase, Ticket};
use hemi_core::io::{Io, Outbox, pool};
use hemi_core::listen::Peer;
use hemi_core::panics::catch;
use hemi_core::tls::TlsInfo;
use hemi_proto::http1::{HeadError, HeadReader};
use hemi_proto::http2::Settings;
use http::{Method, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, error};

use self::h2c::Preface;
use self::respond::Framing;
use super::exchange::Moved;
use super::http2;
use super::upload::{Heard, Line, Upload};
use super::watch::{Cut, Pace, Watch};
use crate::http_config::Limit;
use crate::httpx::Shared;
use crate::upgrade::Upgraded;
use crate::webapp::{Answered, Begun, Position, Start, Webapp};
use crate::{Interim, Request, Response, Scheme};

/// Bytes of answers that are gathered before they are sent.
const GATHERED: usize = 64 << 10;

/// Requests of one client in a row, before others of the core get their turn.
const TURN: u32 = 128;

/// A client that is still sending may go on for this long before the connection is closed under it, so
/// that it gets to read its answer.
const LINGER: std::time::Duration = std::time::Duration::from_secs(5);

/// Serves one connection, which may be one of TLS, to its end.
pub(crate) fn serve<I>(
    io: I,
    tls: Option<Arc<TlsInfo>>,
    peer: Peer,
    ticket: Ticket,
    server: Arc<Shared>,
) -> impl Future<Output = ()> + Send
where
    I: Io + AsyncRead + AsyncWrite,
{
    go_on(io, BytesMut::new(), tls, peer, ticket, server)
}

/// The same, where this has been read already.
pub(crate) async fn go_on<I>(
    io: I,
    rbuf: BytesMut,
    tls: Option<Arc<TlsInfo>>,
    peer: Peer,
    ticket: Ticket,
    server: Arc<Shared>,
) where
    I: Io + AsyncRead + AsyncWrite,
{
    let mut conn = Conn {
        io,
        rbuf,
        out: Outbox::default(),
        heads: HeadReader::default(),
        req: Request::awaited(peer, tls),
        watch: Watch::new(ticket),
        server,
        peer,
        until: Moment::NEVER,
        requests: 0,
        now: clock::now(),
    };
    let served = catch(pin!(conn.run())).await;
    match served {
        Ok(None) => {}
        Ok(Some(Leave::Upgrade(response))) => Box::pin(conn.hand_over(response)).await,
        Ok(Some(Leave::Http2(settings))) => Box::pin(conn.go_on(settings)).await,
        Err(panic) => error!(%peer, "connection panicked: {panic}"),
    }
}

struct Conn<I> {
    io: I,
    rbuf: BytesMut,
    out: Outbox,
    heads: HeadReader,
    /// The request under way; its memory serves one after the other.
    req: Request,
    watch: Watch,
    server: Arc<Shared>,
    peer: Peer,
    /// When the connection is too old for another request.
    until: Moment,
    requests: u32,
    /// About now: when the connection was last known to have waited.
    now: Moment,
}

/// What was read of a request's head.
enum Head {
    /// All of it.
    Complete,
    /// Nothing: the client has closed.
    None,
    /// It is HTTP/2 that the client speaks.
    Http2,
    Bad(HeadError),
}

/// What becomes of the connection after an answer.
enum Next {
    Another,
    Close,
    /// Close, when the client, who is still sending, has had time to read the answer.
    Linger,
    Leave(Box<Leave>),
}

/// For what a connection leaves HTTP/1.
enum Leave {
    /// What this response says.
    Upgrade(Response),
    /// HTTP/2; with the client's settings, if it has asked for it.
    Http2(Option<Settings>),
}

/// What the head of an answer needs to know of its request.
#[derive(Clone, Copy)]
struct Asked {
    head: bool,
    version: Version,
    keep_alive: bool,
}

impl Asked {
    /// What is assumed of a head that can't be read.
    const UNKNOWN: Self = Self { head: false, version: Version::HTTP_11, keep_alive: false };

    /// Whether its answer has content, and no field about the connection.
    fn is_plain(self) -> bool {
        !self.head && self.version == Version::HTTP_11
    }
}

impl<I: Io + AsyncRead + AsyncWrite> Conn<I> {
    /// Serves until the connection is to end, or to be handed over.
    async fn run(&mut self) -> Option<Leave> {
        let next = match self.exchanges().await {
            Ok(next) => next,
            Err(cut) => {
                self.cut(&cut);
                return None;
            }
        };
        if matches!(next, Next::Close | Next::Linger) {
            self.io.last();
        }
        match (next, self.flush().await) {
            (Next::Linger, Ok(())) => self.linger().await,
            (Next::Leave(leave), Ok(())) => return Some(*leave),
            (_, Ok(())) => {}
            (_, Err(cut)) => self.cut(&cut),
        }
        None
    }

    /// Leaves the connection to what the response to an upgrade said; what only requests need goes now.
    fn hand_over(self, mut response: Response) -> impl Future<Output = ()> + Send {
        let Self { io, rbuf, mut watch, server, peer, .. } = self;
        watch.unlimited();
        let work = response
            .take_upgrade()
            .map(|go_on| go_on(Upgraded::new(rbuf.freeze(), io, watch.outlook())));
        async move {
            let Some(work) = work else { return };
            let mut work = catch(work);
            let done = poll_fn(|cx| match Pin::new(&mut work).poll(cx) {
                Poll::Ready(done) => Poll::Ready(done),
                // When the time to drain is over, the work is dropped.
                Poll::Pending if watch.pending(cx).is_err() => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            });
            if let Err(panic) = done.await {
                server.counters.panics.add(1);
                error!(%peer, "upgraded connection panicked: {panic}");
            }
        }
    }

    /// Goes on with HTTP/2.
    fn go_on(self, upgraded: Option<Settings>) -> impl Future<Output = ()> + Send {
        let Self { io, rbuf, out, req, watch, server, .. } = self;
        http2::go_on(http2::Start { io, rbuf, out, req, upgraded, watch, server })
    }

    fn cut(&mut self, cut: &Cut) {
        match cut {
            Cut::Limit(limit) => {
                if *limit == Limit::SendTimeout {
                    // Else the kernel would keep what the client does not take.
                    self.io.reset();
                }
                self.hit(*limit);
            }
            Cut::Gone(e) => debug!(peer = %self.peer, "connection lost: {e}"),
            Cut::Shut => {}
        }
    }

    async fn exchanges(&mut self) -> Result<Next, Cut> {
        let server = self.server.clone();
        self.until = self.now.after(server.conn_age(&self.peer));
        loop {
            let head = match self.next_head().await {
                Ok(head) => head,
                // Of the silent nothing is known: neither do they get an answer.
                Err(Cut::Limit(Limit::HeadTimeout)) if self.heads.is_midway() => {
                    self.hit(Limit::HeadTimeout);
                    self.refuse(StatusCode::REQUEST_TIMEOUT, Asked::UNKNOWN);
                    self.req.unread();
                    server.record_refused(&mut self.req, StatusCode::REQUEST_TIMEOUT);
                    return Ok(Next::Close);
                }
                Err(cut) => return Err(cut),
            };
            let next = match head {
                Head::Complete => self.exchange(&server).await?,
                Head::None => return Ok(Next::Close),
                Head::Http2 => return Ok(Next::Leave(Box::new(Leave::Http2(None)))),
                // Who speaks neither, where both are spoken, is not answered in one of them.
                Head::Bad(HeadError::MalformedVersion)
                    if self.requests == 0 && server.config.h2c_prior_knowledge =>
                {
                    self.hit(Limit::BadHead);
                    return Ok(Next::Close);
                }
                Head::Bad(e) => {
                    self.hit(Limit::of_head(e));
                    debug!(peer = %self.peer, "bad request: {}", e.name());
                    self.refuse(e.status(), Asked::UNKNOWN);
                    if e != HeadError::MalformedTarget {
                        self.req.unread();
                    }
                    server.record_refused(&mut self.req, e.status());
                    Next::Linger
                }
            };
            if !matches!(next, Next::Another) {
                return Ok(next);
            }
            if self.requests.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads the next head into the request.
    async fn next_head(&mut self) -> Result<Head, Cut> {
        let mut awaited = None;
        loop {
            let preface = self.preface();
            if preface == Preface::Whole {
                return Ok(Head::Http2);
            }
            let (head, limits) = (self.req.head_mut(), &self.server.heads);
            match self.heads.read_request(&mut self.rbuf, head, limits) {
                Ok(true) => {
                    self.watch.idle = false;
                    return Ok(Head::Complete);
                }
                Ok(false) => {}
                Err(_) if preface == Preface::Part => {}
                Err(e) => return Ok(Head::Bad(e)),
            }
            if !self.out.is_empty() {
                self.flush().await?;
            }
            let midway = self.heads.is_midway();
            // The first head is due from the connection's start, others from their first byte.
            let limit = match midway || self.requests == 0 {
                true => Limit::HeadTimeout,
                false => Limit::IdleTimeout,
            };
            if awaited.replace(limit) != Some(limit) {
                let config = &self.server.config;
                let wait = match limit {
                    Limit::HeadTimeout => config.head_timeout,
                    _ => config.idle_timeout,
                };
                self.watch.until(self.now.after(wait), limit);
            }
            self.watch.idle = !midway;
            if self.recv().await? == 0 {
                return Ok(Head::None);
            }
        }
    }

    /// What the bytes that have come say, if they are the first ones and HTTP/2 may follow.
    fn preface(&self) -> Preface {
        let may_follow = self.requests == 0
            && self.server.config.h2c_prior_knowledge
            && self.req.scheme() == Scheme::Http;
        if may_follow { Preface::of(&self.rbuf) } else { Preface::No }
    }

    async fn recv(&mut self) -> Result<usize, Cut> {
        poll_fn(|cx| {
            if self.rbuf.capacity() == 0 {
                self.rbuf = pool::take();
            } else if self.rbuf.capacity() == self.rbuf.len() {
                self.rbuf.reserve(pool::BUFFER);
            }
            match self.io.poll_recv(cx, &mut self.rbuf)? {
                Poll::Ready(got) => {
                    self.now = clock::now();
                    Poll::Ready(Ok(got))
                }
                Poll::Pending => {
                    // Who is idle holds no buffer.
                    if self.rbuf.is_empty() {
                        pool::give(std::mem::take(&mut self.rbuf));
                        self.out.release();
                    }
                    self.watch.pending(cx)?;
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Bytes that wait to be sent.
    fn waiting(&self) -> u64 {
        self.out.len() + self.io.unsent() as u64
    }

    /// Sends all that waits to be sent.
    async fn flush(&mut self) -> Result<(), Cut> {
        let mut pace = Pace::default();
        let mut waiting = self.waiting();
        let mut waited = false;
        let sent = poll_fn(|cx| match self.io.poll_send(cx, &mut self.out)? {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => {
                waited = true;
                let left = self.waiting();
                if left < waiting {
                    pace.progress(waiting - left);
                    waiting = left;
                }
                let config = &self.server.config;
                self.watch.until(pace.wait(config.send_timeout, config), Limit::SendTimeout);
                self.watch.pending(cx)?;
                Poll::Pending
            }
        })
        .await;
        if waited {
            self.now = clock::now();
        }
        sent
    }

    /// One request and its answer.
    async fn exchange(&mut self, server: &Shared) -> Result<Next, Cut> {
        if server.config.h2c_upgrade
            && self.req.scheme() == Scheme::Http
            && let Some(settings) = h2c::take_offer(self.req.head_mut())
        {
            self.out.small().extend_from_slice(h2c::SWITCHING);
            return Ok(Next::Leave(Box::new(Leave::Http2(Some(settings)))));
        }
        self.requests += 1;
        server.counters.requests.add(1);
        if !server.config.total_timeout.is_zero() {
            self.watch.total(self.now.after(server.config.total_timeout));
        }
        let head = self.req.head();
        let asked = Asked {
            head: head.method == Method::HEAD,
            version: head.version,
            keep_alive: head.keep_alive,
        };
        if head.method == Method::CONNECT {
            // Any 2xx would tell the client that it has a tunnel (RFC 9110, 9.3.6).
            self.refuse(StatusCode::NOT_IMPLEMENTED, asked);
            server.record_refused(&mut self.req, StatusCode::NOT_IMPLEMENTED);
            return Ok(Next::Linger);
        }
        let webapp = server.route(&self.req).map(|webapp| &**webapp);
        let began = webapp.filter(|webapp| webapp.is_timed()).map(|_| clock::exact());
        let mut upload = None;
        if !head.framing.is_empty() {
            let most = webapp.map_or(0, |webapp| webapp.body_limit());
            let (up, body) = Upload::new(head.framing, head.expect_continue, most);
            upload = Some(Box::new(up));
            self.req.set_body(body);
        }
        if let Err(status) = self.req.begin() {
            self.hit(Limit::BadHead);
            self.refuse(status, asked);
            server.record_refused(&mut self.req, status);
            return Ok(Next::Linger);
        }
        let challenge = server.answer_challenge(&self.req);
        let webapp = webapp.filter(|_| challenge.is_none());
        let mut answered = match (challenge, webapp) {
            (Some(answer), _) => Answered::by_server(answer),
            (None, Some(webapp)) => match server.start(webapp, &mut self.req) {
                Start::Whole(prepared) => {
                    if upload.is_none() && self.put_whole(prepared, asked) {
                        return self.end_exchange(Next::Another).await;
                    }
                    Answered::whole(prepared)
                }
                Start::Begun(Begun::Done(answered)) => answered,
                // Kept out of the connection's own state, which an idle one pays for.
                Start::Begun(Begun::Waits(at)) => {
                    Box::pin(self.answer_later(webapp, at, upload.as_deref_mut())).await?
                }
            },
            (None, None) => Answered::without_webapp(&self.req),
        };
        if let Some(upload) = &mut upload {
            // What the answer does not hold nobody reads any more.
            drop(self.req.take_body());
            if upload.is_abandoned() {
                upload.drop_buffered(&mut self.rbuf);
            }
        }
        if let Some((status, limit)) = upload.as_ref().and_then(|upload| upload.fault()) {
            self.hit(limit);
            answered.response = status.into();
        }
        server.finish(webapp, &mut self.req, &mut answered.response);
        if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.put_head(&answered.response, asked, Framing::None, false);
            let moved = Moved { began, ..Moved::default() };
            server.record(webapp, &mut self.req, &answered, moved);
            self.watch.total(Moment::NEVER);
            if self.rbuf.is_empty() {
                pool::give(std::mem::take(&mut self.rbuf));
            }
            return Ok(Next::Leave(Box::new(Leave::Upgrade(answered.response))));
        }
        let whole = match upload {
            None => self.respond_whole(&answered.response, asked),
            Some(_) => None,
        };
        let next = if let Some(sent) = whole {
            server.record(webapp, &mut self.req, &answered, Moved { began, received: 0, sent });
            Next::Another
        } else {
            let responded = self.respond(&mut answered.response, asked, &mut upload).await;
            // Who was cut under way has a line in the log too.
            let sent = responded.as_ref().map_or(0, |(_, sent)| *sent);
            let received = upload.map_or(0, |upload| upload.received());
            server.record(webapp, &mut self.req, &answered, Moved { began, received, sent });
            responded?.0
        };
        self.end_exchange(next).await
    }

    /// Makes room for the next request.
    async fn end_exchange(&mut self, next: Next) -> Result<Next, Cut> {
        if self.out.in_memory() >= GATHERED {
            self.flush().await?;
        }
        self.watch.total(Moment::NEVER);
        self.req.end();
        Ok(next)
    }

    /// Asks on, and meanwhile hands the webapp the request's content as it asks for it.
    async fn answer_later(
        &mut self,
        webapp: &Webapp,
        at: Position,
        mut upload: Option<&mut Upload>,
    ) -> Result<Answered, Cut> {
        self.watch.unlimited();
        let interim = self.req.interim();
        if let Some(interim) = &interim {
            interim.reset();
        }
        let result = {
            let Self { req, io, rbuf, out, watch, server, .. } = self;
            let mut answer = pin!(server.ask_on(webapp, req, at));
            let mut line = Line { io, rbuf, out, watch, config: &server.config };
            let mut heard = Heard::default();
            poll_fn(|cx| {
                loop {
                    let answered = answer.as_mut().poll(cx);
                    for fields in interim.iter().flat_map(Interim::take) {
                        respond::put_early_hints(line.out.small(), &fields);
                    }
                    if let Poll::Ready(answered) = answered {
                        return Poll::Ready(Ok::<_, Cut>(answered));
                    }
                    let fed = match &mut upload {
                        Some(upload) => upload.pump(cx, &mut line)?,
                        None => false,
                    };
                    if !fed {
                        // The answers before this one need not wait for it.
                        if let Poll::Ready(sent) = line.io.poll_send(cx, line.out) {
                            sent?;
                        }
                        // What comes before the content is read is left to who reads it.
                        if upload.as_ref().is_none_or(|upload| upload.is_complete()) {
                            line.listen(cx, &mut heard)?;
                        }
                        line.watch.pending(cx)?;
                        return Poll::Pending;
                    }
                }
            })
            .await
        };
        self.now = clock::now();
        result
    }

    fn hit(&self, limit: Limit) {
        self.server.hit(&self.peer, limit);
    }

    /// Says that nothing more comes, and waits a while for the client to see it.
    async fn linger(&mut self) {
        if self.io.shutdown().is_err() {
            return;
        }
        self.watch.until(clock::now().after(LINGER), Limit::IdleTimeout);
        self.watch.idle = true;
        loop {
            self.rbuf.clear();
            match self.recv().await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// Whether another request may follow; else, which limit forbids it, if one does.
    fn may_go_on(&self, asked: Asked) -> Result<(), Option<Limit>> {
        if !asked.keep_alive || self.watch.phase() != Phase::Serving {
            Err(None)
        } else if self.requests >= self.server.config.max_requests_per_conn {
            Err(Some(Limit::RequestsPerConn))
        } else if self.now >= self.until {
            Err(Some(Limit::ConnAge))
        } else {
            Ok(())
        }
    }

    fn line(&mut self) -> Line<'_, I> {
        let Self { io, rbuf, out, watch, server, .. } = self;
        Line { io, rbuf, out, watch, config: &server.config }
    }
}
