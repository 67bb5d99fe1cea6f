//! An HTTP/1 connection: heads in, answers out in their order, all that are ready in one write.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hemi_core::clock::{self, Moment};
use hemi_core::gate::{Phase, Ticket};
use hemi_core::io::{Io, Outbox, pool};
use hemi_core::listen::Peer;
use hemi_core::panics::{Panicked, catch, catch_call};
use hemi_proto::http1::{
    HeadError, HeadReader, encode_chunk_head, encode_content_length, encode_last_chunk,
};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, SERVER, TRANSFER_ENCODING,
};
use http::{Method, StatusCode, Version};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, error};

use super::upload::{Line, Upload};
use super::watch::{Cut, Pace, Watch};
use crate::body::{Body, Inner};
use crate::error_page;
use crate::http_config::Limit;
use crate::httpx::{Shared, Standing};
use crate::record::Exchange;
use crate::upgrade::Upgraded;
use crate::webapp::{Answered, Webapp};
use crate::{Request, Response, Scheme};

/// Bytes of answers that are gathered before they are sent.
const GATHERED: usize = 64 << 10;

/// Requests of one client in a row, before others of the core get their turn.
const TURN: u32 = 128;

/// A client that is still sending may go on for this long before the connection is closed under it, so
/// that it gets to read its answer.
const LINGER: std::time::Duration = std::time::Duration::from_secs(5);

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Serves one connection to its end.
pub(crate) async fn serve<I>(io: I, peer: Peer, ticket: Ticket, server: Arc<Shared>)
where
    I: Io + AsyncRead + AsyncWrite,
{
    let conn = Conn {
        io,
        rbuf: BytesMut::new(),
        out: Outbox::default(),
        heads: HeadReader::default(),
        req: Request::awaited(peer, Scheme::Http),
        watch: Watch::new(ticket),
        server,
        peer,
        until: Moment::NEVER,
        requests: 0,
        now: clock::now(),
    };
    if let Err(panic) = catch(AssertUnwindSafe(conn.run())).await {
        error!(%peer, "connection panicked: {panic}");
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
    Bad(HeadError),
}

/// What a body gives; none after its end.
type NextFrame = Option<Result<http_body::Frame<Bytes>, crate::BodyError>>;

/// What becomes of the connection after an answer.
enum Next {
    Another,
    Close,
    /// Close, when the client, who is still sending, has had time to read the answer.
    Linger,
    Upgrade(Response),
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
}

impl<I: Io + AsyncRead + AsyncWrite> Conn<I> {
    async fn run(mut self) {
        let next = match self.exchanges().await {
            Ok(next) => next,
            Err(cut) => return self.cut(&cut),
        };
        let sent = self.flush().await;
        match (next, sent) {
            (Next::Linger, Ok(())) => self.linger().await,
            (Next::Upgrade(mut response), Ok(())) => {
                let early = self.rbuf.split().freeze();
                if let Some(go_on) = response.take_upgrade() {
                    let Self { io, mut watch, server, peer, .. } = self;
                    watch.unlimited();
                    let work = go_on(Upgraded::new(early, io, watch.outlook()));
                    let mut work = pin!(catch(AssertUnwindSafe(work)));
                    let done = poll_fn(|cx| match work.as_mut().poll(cx) {
                        Poll::Ready(done) => Poll::Ready(Ok::<_, Cut>(done)),
                        Poll::Pending => watch.pending(cx).map_or_else(|cut| Poll::Ready(Err(cut)), |()| Poll::Pending),
                    });
                    if let Ok(Err(panic)) = done.await {
                        server.counters.panics.add(1);
                        error!(%peer, "upgraded connection panicked: {panic}");
                    }
                }
            }
            (_, Ok(())) => {}
            (_, Err(cut)) => self.cut(&cut),
        }
    }

    fn cut(&mut self, cut: &Cut) {
        match cut {
            Cut::Limit(limit) => {
                if *limit == Limit::SendTimeout {
                    // Else the kernel would keep what the client does not take.
                    self.io.reset();
                }
                self.server.counters.limit(*limit).add(1);
                debug!(peer = %self.peer, limit = limit.name(), "connection closed");
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
                    self.server.counters.limit(Limit::HeadTimeout).add(1);
                    self.refuse(StatusCode::REQUEST_TIMEOUT, Asked::UNKNOWN);
                    return Ok(Next::Close);
                }
                Err(cut) => return Err(cut),
            };
            let next = match head {
                Head::Complete => self.exchange(&server).await?,
                Head::None => return Ok(Next::Close),
                Head::Bad(e) => {
                    self.server.counters.limit(Limit::BadHead).add(1);
                    debug!(peer = %self.peer, "bad request: {}", e.name());
                    self.refuse(e.status(), Asked::UNKNOWN);
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
            let (head, limits) = (self.req.head_mut(), &self.server.heads);
            match self.heads.read_request(&mut self.rbuf, head, limits) {
                Ok(true) => {
                    self.watch.idle = false;
                    return Ok(Head::Complete);
                }
                Ok(false) => {}
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

    /// Sends all that waits to be sent.
    async fn flush(&mut self) -> Result<(), Cut> {
        let mut pace = Pace::default();
        let mut waiting = self.out.len();
        let mut waited = false;
        let sent = poll_fn(|cx| match self.io.poll_send(cx, &mut self.out)? {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => {
                waited = true;
                let left = self.out.len();
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
            return Ok(Next::Linger);
        }
        let webapp = server.route(self.req.hostname());
        let (mut upload, body) = match head.framing.is_empty() {
            true => (None, Body::empty()),
            false => {
                let most = webapp.map_or(0, |webapp| webapp.max_body_size());
                let (upload, body) = Upload::new(head.framing, head.expect_continue, most);
                (Some(upload), body)
            }
        };
        if let Err(status) = self.req.begin(body) {
            self.refuse(status, asked);
            return Ok(Next::Linger);
        }
        let mut answered = match webapp {
            Some(webapp) => self.answer(webapp, upload.as_mut()).await?,
            None => Answered { response: StatusCode::NOT_FOUND.into(), logged: true },
        };
        if let Some((status, limit)) = upload.as_ref().and_then(Upload::fault) {
            server.counters.limit(limit).add(1);
            answered.response = error_page::page(status);
        }
        let status = answered.response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS && self.req.wants_upgrade() {
            self.put_head(&answered.response, asked, Framing::None, false);
            return Ok(Next::Upgrade(answered.response));
        }
        if status.is_informational() {
            error!(peer = %self.peer, "a handlet answered {status}, which is no answer");
            answered.response = StatusCode::INTERNAL_SERVER_ERROR.into();
        }
        // What the answer does not hold nobody reads any more.
        drop(self.req.take_body());
        let status = answered.response.status();
        let (next, sent) = self.respond(&mut answered.response, asked, &mut upload).await?;
        if let Some(logger) = webapp.and_then(|w| w.logger()).filter(|_| answered.logged) {
            logger.log(&Exchange { req: &self.req, status, sent, at: clock::calendar() });
        }
        if self.out.in_memory() >= GATHERED {
            self.flush().await?;
        }
        self.watch.total(Moment::NEVER);
        self.req.end();
        Ok(next)
    }

    /// Asks the webapp, and meanwhile hands it the request's content as it asks for it.
    async fn answer(
        &mut self,
        webapp: &Webapp,
        upload: Option<&mut Upload>,
    ) -> Result<Answered, Cut> {
        if upload.is_none() {
            match catch_call(|| webapp.answer_now(&mut self.req)) {
                Ok(Some(answered)) => return Ok(answered),
                Ok(None) => {}
                Err(panic) => return Ok(self.panicked(&panic)),
            }
        } else if self.req.body().len().is_some_and(|len| len > webapp.max_body_size()) {
            self.server.counters.limit(Limit::BodySize).add(1);
            return Ok(Answered { response: StatusCode::PAYLOAD_TOO_LARGE.into(), logged: true });
        }
        // Kept out of the connection's own state, which an idle one pays for.
        let answered = Box::pin(self.answer_later(webapp, upload)).await;
        self.now = clock::now();
        answered
    }

    async fn answer_later(
        &mut self,
        webapp: &Webapp,
        mut upload: Option<&mut Upload>,
    ) -> Result<Answered, Cut> {
        self.watch.unlimited();
        let result = {
            let Self { req, io, rbuf, out, watch, server, .. } = self;
            let mut answer = pin!(catch(AssertUnwindSafe(webapp.answer(req))));
            let mut line = Line { io, rbuf, out, watch, config: &server.config };
            poll_fn(|cx| {
                loop {
                    if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
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
                        line.watch.pending(cx)?;
                        return Poll::Pending;
                    }
                }
            })
            .await?
        };
        result.map_or_else(|panic| Ok(self.panicked(&panic)), Ok)
    }

    fn count_panic(&self, panic: &Panicked) {
        self.server.counters.panics.add(1);
        error!(peer = %self.peer, "handlet panicked: {panic}");
    }

    fn panicked(&self, panic: &Panicked) -> Answered {
        self.count_panic(panic);
        Answered { response: StatusCode::INTERNAL_SERVER_ERROR.into(), logged: true }
    }

    /// Puts an answer into the outbox, or streams it; returns the bytes of its content too.
    async fn respond(
        &mut self,
        response: &mut Response,
        asked: Asked,
        upload: &mut Option<Upload>,
    ) -> Result<(Next, u64), Cut> {
        let body = response.take_body();
        let framing = Framing::of(response, &body, asked);
        // What somebody still reads may be what the answer is made of.
        let give_up = upload.as_mut().filter(|upload| upload.is_abandoned()).is_some_and(|upload| {
            upload.drop_buffered(&mut self.rbuf);
            !upload.is_complete() && !upload.is_worth_reading()
        });
        let close = give_up || framing == Framing::UntilClose || !self.may_go_on(asked);
        self.put_head(response, asked, framing, close);
        let mut sent = 0;
        if !asked.head && !matches!(framing, Framing::None | Framing::Sized(0)) {
            sent = body.len().unwrap_or_default();
            match body.into_inner() {
                Inner::Empty => {}
                Inner::Bytes(bytes) => self.out.push(bytes),
                Inner::File(file, range) => {
                    self.out.push_file(file, range);
                    // What follows would have to wait anyway.
                    self.flush().await?;
                }
                other => {
                    let body = Body::from_inner(other);
                    let streamed = Box::pin(self.stream(body, framing, upload)).await;
                    if streamed.is_err() && framing == Framing::UntilClose {
                        self.io.reset();
                    }
                    sent = streamed?;
                    self.now = clock::now();
                }
            }
        }
        let next = match upload.as_mut().filter(|upload| !upload.is_complete()) {
            Some(upload) if !close && upload.is_worth_reading() => {
                self.flush().await?;
                poll_fn(|cx| upload.poll_drop(cx, &mut self.line())).await?;
                self.now = clock::now();
                Next::Another
            }
            Some(_) => Next::Linger,
            None if !close => Next::Another,
            // Who does not know that this answer is the last may be sending already.
            None if asked.keep_alive || !self.rbuf.is_empty() => Next::Linger,
            None => Next::Close,
        };
        Ok((next, sent))
    }

    fn line(&mut self) -> Line<'_, I> {
        let Self { io, rbuf, out, watch, server, .. } = self;
        Line { io, rbuf, out, watch, config: &server.config }
    }

    /// Sends content as it comes, and meanwhile receives the request's, if that is what it is made of.
    async fn stream(
        &mut self,
        mut body: Body,
        framing: Framing,
        upload: &mut Option<Upload>,
    ) -> Result<u64, Cut> {
        let mut sent = 0;
        self.watch.unlimited();
        loop {
            let frame = poll_fn(|cx| self.poll_frame(cx, &mut body, upload)).await?;
            let frame = match frame {
                Some(Ok(frame)) => frame,
                // Only an end that looks like none tells the client.
                Some(Err(e)) => {
                    let fault = upload.as_ref().and_then(Upload::fault);
                    let gone = || Cut::Gone(std::io::Error::other(e));
                    return Err(fault.map_or_else(gone, |(_, limit)| Cut::Limit(limit)));
                }
                None => break,
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    sent += data.len() as u64;
                    if matches!(framing, Framing::Sized(promised) if sent > promised) {
                        // The client would take the rest for another answer.
                        return Err(Cut::Gone(std::io::ErrorKind::InvalidData.into()));
                    }
                    self.put_data(data, framing);
                }
                Err(frame) => {
                    if let (Ok(trailers), Framing::Chunked) = (frame.into_trailers(), framing) {
                        encode_last_chunk(self.out.small(), &trailers);
                        return Ok(sent);
                    }
                }
            }
            if self.out.in_memory() >= GATHERED {
                self.flush().await?;
                self.watch.unlimited();
            }
        }
        match framing {
            Framing::Chunked => encode_last_chunk(self.out.small(), &HeaderMap::new()),
            Framing::Sized(promised) if sent != promised => {
                return Err(Cut::Gone(std::io::ErrorKind::UnexpectedEof.into()));
            }
            _ => {}
        }
        Ok(sent)
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body,
        upload: &mut Option<Upload>,
    ) -> Poll<Result<NextFrame, Cut>> {
        loop {
            match catch_call(|| Pin::new(&mut *body).poll_frame(cx)) {
                Ok(Poll::Ready(frame)) => return Poll::Ready(Ok(frame)),
                Ok(Poll::Pending) => {}
                Err(panic) => {
                    self.count_panic(&panic);
                    return Poll::Ready(Err(Cut::Gone(std::io::Error::other("a body panicked"))));
                }
            }
            if let Poll::Ready(sent) = self.io.poll_send(cx, &mut self.out) {
                sent?;
            }
            let fed = match upload {
                Some(upload) => upload.pump(cx, &mut self.line())?,
                None => false,
            };
            if !fed {
                self.watch.pending(cx)?;
                return Poll::Pending;
            }
        }
    }

    fn put_data(&mut self, data: Bytes, framing: Framing) {
        if framing == Framing::Chunked {
            encode_chunk_head(self.out.small(), data.len() as u64);
            self.out.push(data);
            self.out.small().extend_from_slice(b"\r\n");
        } else {
            self.out.push(data);
        }
    }

    fn may_go_on(&self, asked: Asked) -> bool {
        let limit = if self.requests >= self.server.config.max_requests_per_conn {
            Limit::RequestsPerConn
        } else if asked.keep_alive && self.now >= self.until {
            Limit::ConnAge
        } else {
            return asked.keep_alive && self.watch.phase() == Phase::Serving;
        };
        self.server.counters.limit(limit).add(1);
        false
    }

    /// Answers what is no request, after which nothing on the connection can be trusted.
    fn refuse(&mut self, status: StatusCode, asked: Asked) {
        let mut response = error_page::page(status);
        let body = response.take_body();
        self.put_head(&response, asked, Framing::of(&response, &body, asked), true);
        match body.into_inner() {
            Inner::Bytes(bytes) if !asked.head => self.out.push(bytes),
            _ => {}
        }
    }

    fn put_head(&mut self, response: &Response, asked: Asked, framing: Framing, close: bool) {
        let out = self.out.small();
        let len = match framing {
            Framing::Sized(len) => Some(len),
            _ => None,
        };
        let mut told = false;
        match response.prepared_fields() {
            Some(prepared) => {
                self.server.put_start(out, response.status(), Standing::Both, self.now);
                let (fields, sized) = prepared.http1(len);
                out.extend_from_slice(fields);
                told = sized;
            }
            None => put_fields(out, response, &self.server, framing, self.now),
        }
        match framing {
            Framing::Sized(len) if !told => encode_content_length(out, len),
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::Sized(_) | Framing::None | Framing::UntilClose => {}
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            out.extend_from_slice(b"connection: upgrade\r\n");
        } else if close {
            out.extend_from_slice(b"connection: close\r\n");
        } else if asked.version == Version::HTTP_10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
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
}

/// How the end of an answer's content is told (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is none, and no field says so.
    None,
    Sized(u64),
    Chunked,
    UntilClose,
}

impl Framing {
    fn of(response: &Response, body: &Body, asked: Asked) -> Self {
        let status = response.status();
        if status.is_informational() || matches!(status.as_u16(), 204 | 304) {
            return Self::None;
        }
        if status == StatusCode::RESET_CONTENT {
            // There is none, and this has to be said (RFC 9110, 15.3.6).
            return Self::Sized(0);
        }
        match body.len() {
            // What a HEAD is answered without may be of a length that only the handlet knows.
            Some(0) if asked.head && response.headers().contains_key(CONTENT_LENGTH) => Self::None,
            Some(len) => Self::Sized(len),
            None if asked.version == Version::HTTP_10 => Self::UntilClose,
            None => Self::Chunked,
        }
    }
}

/// Puts the fields that a handlet has made, but for those that are the connection's business.
fn put_fields(
    out: &mut BytesMut,
    response: &Response,
    server: &Shared,
    framing: Framing,
    now: Moment,
) {
    let map = response.headers();
    // RFC 9110, 8.6: an answer without content may still name a length, but for 1xx and 204.
    let keeps_length = framing == Framing::None
        && !response.status().is_informational()
        && response.status() != StatusCode::NO_CONTENT;
    let standing = match (map.contains_key(DATE), map.contains_key(SERVER)) {
        (false, false) => Standing::Both,
        (false, true) => Standing::Date,
        // Of one who knows the date we need not say who answers.
        (true, _) => Standing::None,
    };
    server.put_start(out, response.status(), standing, now);
    for (name, value) in map {
        let ours = *name == CONNECTION
            || *name == TRANSFER_ENCODING
            || *name == KEEP_ALIVE
            || (*name == CONTENT_LENGTH && !keeps_length);
        if !ours {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}
