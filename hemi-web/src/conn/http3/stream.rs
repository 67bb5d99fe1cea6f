//! A request and its answer, on a stream of their own.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hemi_core::clock::{self, Moment};
use hemi_core::gate::Phase;
use hemi_core::panics::{catch, catch_call};
use hemi_core::quic::quinn::{RecvStream, SendStream};
use hemi_proto::http3::{Code, Fault};
use hemi_proto::priority::Priority;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body::Body as _;
use tracing::{debug, error};

use super::End;
use super::flow::Flow;
use super::link::Link;
use super::receive::{Receiver, Upload};
use super::respond::Outgoing;
use super::tunnel::Tunnel;
use crate::body::Body;
use crate::conn::exchange::Moved;
use crate::conn::watch::{Cut, Pace, Watch};
use crate::http_config::Limit;
use crate::httpx::Shared;
use crate::response::Until;
use crate::upgrade::Upgraded;
use crate::webapp::{Answered, Begun, Position, Webapp};
use crate::{Interim, Request, Response};

/// Bytes of an answer that are gathered before they are sent.
const GATHERED: usize = 64 << 10;

/// So long a client may take to end a request that has its answer.
const REST: Duration = Duration::from_secs(1);

const PRIORITY: HeaderName = HeaderName::from_static("priority");
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// One request, from its first byte to the last of its answer.
pub(super) struct Stream {
    link: Arc<Link>,
    id: u64,
    receiver: Receiver,
    out: Outgoing,
    req: Request,
    began: Option<Instant>,
    upload: Option<Box<Upload>>,
    watch: Watch,
}

/// The memory of requests that were answered at once, for the next.
pub(super) struct Spare {
    req: Request,
    read: BytesMut,
    write: BytesMut,
    watch: Watch,
}

/// What became of a request for now.
pub(super) enum Step {
    /// It has its answer.
    Over,
    GoOn(From),
}

/// Where a request goes on in its task.
pub(super) enum From {
    /// Its head is still to come.
    Head,
    /// Somebody has to wait for the answer.
    Waits(Position),
    /// The answer is there, but not all of it is on its way: what is left of its content.
    Answered(Answered, Option<Body>),
    /// All of the answer is on its way, but the request has not ended.
    Sent,
    /// The stream goes on in another protocol.
    Upgrade(Answered),
}

impl Spare {
    pub(super) fn new(link: &Link) -> Box<Self> {
        let req = Request::awaited(link.peer(), Some(link.tls.clone()));
        let watch = Watch::of_part(link.outlook.clone());
        Box::new(Self { req, read: BytesMut::new(), write: BytesMut::new(), watch })
    }
}

impl Stream {
    pub(super) fn new(
        link: Arc<Link>,
        send: SendStream,
        recv: RecvStream,
        spare: Box<Spare>,
    ) -> Self {
        let Spare { req, read, write, watch } = *spare;
        Self {
            id: send.id().into(),
            receiver: Receiver::new(recv, read),
            out: Outgoing::new(send, write),
            req,
            began: None,
            upload: None,
            watch,
            link,
        }
    }

    /// Answers the request, if nobody has to wait.
    pub(super) fn begin(&mut self, server: &Shared, cx: &mut Context<'_>) -> Result<Step, End> {
        let Poll::Ready(refused) = self.poll_head(cx)? else { return Ok(Step::GoOn(From::Head)) };
        let webapp = self.route(server, refused);
        let begun = self.ask(server, webapp, refused);
        let from = self.start(server, webapp, begun);
        if let From::Answered(answered, None) = &from
            && self.out.poll_flush(cx)?.is_ready()
        {
            self.out.finish();
            self.record(server, webapp, answered, self.out.content());
            let over = self.receiver.is_over();
            return Ok(if over { Step::Over } else { Step::GoOn(From::Sent) });
        }
        Ok(Step::GoOn(from))
    }

    /// Gives the request a task.
    pub(super) fn go_on(mut self, from: From) {
        let under_way = self.link.under_way();
        tokio::spawn(async move {
            let ran = catch(Box::pin(self.run(from))).await;
            match ran {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(answered))) => self.hand_over(answered).await,
                Ok(Err(end)) => {
                    if let Err(End::Fault(Fault::Connection(code))) = self.abort(end) {
                        self.link.fail(code);
                    }
                }
                Err(panic) => {
                    error!(peer = %self.link.peer(), "stream panicked: {panic}");
                    self.out.reset(Code::InternalError);
                }
            }
            drop(under_way);
        });
    }

    /// Goes on to the end, or until the stream is to be handed over after the answer returned.
    async fn run(&mut self, mut from: From) -> Result<Option<Answered>, End> {
        let link = self.link.clone();
        let server = &*link.server;
        let mut webapp = self.route(server, None);
        loop {
            from = match from {
                From::Head => {
                    let refused = self.head().await?;
                    webapp = self.route(server, refused);
                    let begun = self.ask(server, webapp, refused);
                    self.start(server, webapp, begun)
                }
                From::Waits(at) => {
                    let answered = match webapp {
                        Some(webapp) => self.answer_later(server, webapp, at).await?,
                        None => Answered::without_webapp(&self.req),
                    };
                    self.start(server, webapp, Begun::Done(answered))
                }
                From::Answered(mut answered, body) => {
                    let sent = self.send(&mut answered.response, body).await;
                    // Who was cut under way has a line in the log too.
                    let bytes = sent.as_ref().map_or(0, |()| self.out.content());
                    self.record(server, webapp, &answered, bytes);
                    sent?;
                    From::Sent
                }
                From::Sent => {
                    self.rest().await;
                    return Ok(None);
                }
                From::Upgrade(answered) => {
                    self.flush().await?;
                    self.record(server, webapp, &answered, 0);
                    return Ok(Some(answered));
                }
            };
        }
    }

    /// Reads the head; or says with which status it is refused.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Result<Poll<Option<StatusCode>>, End> {
        match self.receiver.poll_head(cx, &self.link, &mut self.req) {
            Poll::Ready(read) => read.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    async fn head(&mut self) -> Result<Option<StatusCode>, End> {
        let wait = self.link.server.config.head_timeout;
        self.watch.until(clock::now().after(wait), Limit::HeadTimeout);
        poll_fn(|cx| match self.poll_head(cx)? {
            Poll::Ready(refused) => Poll::Ready(Ok(refused)),
            Poll::Pending => {
                self.watch.pending(cx)?;
                Poll::Pending
            }
        })
        .await
    }

    /// The webapp that is asked; none if there is none for the host, or the head is refused.
    fn route<'s>(&self, server: &'s Shared, refused: Option<StatusCode>) -> Option<&'s Webapp> {
        if refused.is_some() { None } else { server.route(&self.req).map(|webapp| &**webapp) }
    }

    /// Asks the webapp, until somebody has to wait.
    fn ask(
        &mut self,
        server: &Shared,
        webapp: Option<&Webapp>,
        refused: Option<StatusCode>,
    ) -> Begun {
        server.counters.requests.add(1);
        if !server.config.total_timeout.is_zero() {
            self.watch.total(clock::now().after(server.config.total_timeout));
        }
        self.req.set_peer(self.link.peer());
        self.prioritize();
        if let Some(status) = refused {
            server.record_refused(&mut self.req, status);
        }
        let refused = refused.or_else(|| self.judge(server));
        self.began = webapp.filter(|webapp| webapp.is_timed()).map(|_| clock::exact());
        let head = self.req.head();
        if !head.framing.is_empty() {
            let most = webapp.map_or(0, |webapp| webapp.body_limit());
            let (upload, body) = Upload::new(head.framing, head.expect_continue, most);
            self.upload = Some(Box::new(upload));
            self.req.set_body(body);
        }
        if let Some(status) = refused.or_else(|| self.req.begin().err()) {
            return Begun::Done(Answered::without_rule(status));
        }
        match webapp {
            Some(webapp) => server.ask(webapp, &mut self.req),
            None => Begun::Done(Answered::without_webapp(&self.req)),
        }
    }

    /// With which status a request is refused, whose head is as it should be.
    fn judge(&mut self, server: &Shared) -> Option<StatusCode> {
        if server.is_misdirected(&self.req, &self.link.tls) {
            self.link.hit(Limit::Misdirected);
            return Some(StatusCode::MISDIRECTED_REQUEST);
        }
        if self.receiver.is_early() {
            // Others might have recorded it, and send it again (RFC 8470, 5).
            if !self.req.head().method.is_safe() {
                return Some(StatusCode::TOO_EARLY);
            }
            let early = HeaderValue::from_static("1");
            let _ = self.req.head_mut().headers.try_insert(EARLY_DATA, early);
        }
        None
    }

    /// Heeds how urgent the answer is (RFC 9218).
    fn prioritize(&mut self) {
        let told = self.link.priority(self.id);
        let field = || self.req.field(&PRIORITY).map(Priority::parse);
        if let Some(priority) = told.or_else(field) {
            self.out.prioritize(self.id, priority);
        }
    }

    /// Asks on, and meanwhile hands the webapp the request's content as it asks for it.
    async fn answer_later(
        &mut self,
        server: &Shared,
        webapp: &Webapp,
        at: Position,
    ) -> Result<Answered, End> {
        self.watch.unlimited();
        let interim = self.req.interim();
        if let Some(interim) = &interim {
            interim.reset();
        }
        let Self { link, id, req, receiver, out, upload, watch, .. } = self;
        let mut answer = pin!(server.ask_on(webapp, req, at));
        let mut taken_back = pin!(out.stopped());
        poll_fn(|cx| {
            loop {
                let answered = answer.as_mut().poll(cx);
                for fields in interim.iter().flat_map(Interim::take) {
                    out.put_interim(link, *id, StatusCode::EARLY_HINTS, &fields);
                }
                if let Poll::Ready(answered) = answered {
                    return Poll::Ready(Ok(answered));
                }
                if let Poll::Ready(why) = taken_back.as_mut().poll(cx) {
                    return Poll::Ready(Err(End::Cut(Cut::Gone(why))));
                }
                let fed = match upload {
                    Some(upload) => upload.pump(cx, receiver, out, link, watch)?,
                    None => false,
                };
                if !fed {
                    let _ = out.poll_flush(cx)?;
                    watch.pending(cx)?;
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Puts the last hand to an answer, and its start on the way.
    fn start(&mut self, server: &Shared, webapp: Option<&Webapp>, begun: Begun) -> From {
        let mut answered = match begun {
            Begun::Done(answered) => answered,
            Begun::Waits(at) => return From::Waits(at),
        };
        if let Some(upload) = &self.upload {
            // What the answer does not hold nobody reads any more.
            drop(self.req.take_body());
            if let Some((status, limit)) = upload.fault() {
                self.link.hit(limit);
                answered.response = status.into();
            }
        }
        server.finish(webapp, &mut self.req, &mut answered.response);
        if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.out.put_agreed(&self.link, self.id, &answered.response);
            return From::Upgrade(answered);
        }
        let is_head = self.req.head().method == Method::HEAD;
        let body = self.out.put(&self.link, self.id, is_head, &mut answered.response);
        From::Answered(answered, body)
    }

    /// Sends what is left of an answer, and meanwhile receives what it is made of.
    async fn send(&mut self, response: &mut Response, body: Option<Body>) -> Result<(), End> {
        if let Some(mut body) = body {
            self.watch.unlimited();
            let mut taken_back = pin!(self.out.stopped());
            loop {
                let until_drain = response.until() == Until::Drain;
                let frame = poll_fn(|cx| {
                    if until_drain && self.watch.phase() != Phase::Serving {
                        return Poll::Ready(Ok(None));
                    }
                    match self.poll_frame(cx, &mut body) {
                        Poll::Pending => taken_back.as_mut().poll(cx).map(|why| Err(why.into())),
                        ready => ready,
                    }
                });
                let Some(frame) = frame.await? else { break };
                let over = self.out.put_frame(&self.link, self.id, frame)?;
                if over {
                    break;
                }
                if self.out.waiting() >= GATHERED {
                    self.flush().await?;
                    self.watch.unlimited();
                }
            }
            self.out.check_length()?;
        }
        self.flush().await?;
        self.out.finish();
        Ok(())
    }

    /// Lets the client end its request, if that takes little, before it is told to send no more: some take that for
    /// a failure (RFC 9114 section 4.1).
    async fn rest(&mut self) {
        self.watch.until(clock::now().after(REST), Limit::BodyTimeout);
        let Self { receiver, watch, .. } = self;
        poll_fn(|cx| match receiver.poll_rest(cx) {
            Poll::Pending if watch.pending(cx).is_ok() => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
        self.receiver.stop(Code::NoError);
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body,
    ) -> Poll<Result<Option<http_body::Frame<Bytes>>, End>> {
        loop {
            match catch_call(|| Pin::new(&mut *body).poll_frame(cx)) {
                Ok(Poll::Ready(None)) => return Poll::Ready(Ok(None)),
                Ok(Poll::Ready(Some(Ok(frame)))) => return Poll::Ready(Ok(Some(frame))),
                Ok(Poll::Ready(Some(Err(e)))) => {
                    let fault = self.upload.as_ref().and_then(|upload| upload.fault());
                    let gone = || Cut::Gone(std::io::Error::other(e));
                    let cut = fault.map_or_else(gone, |(_, limit)| Cut::Limit(limit));
                    return Poll::Ready(Err(cut.into()));
                }
                Ok(Poll::Pending) => {}
                Err(panic) => {
                    self.link.server.count_panic(&self.req, &panic);
                    return Poll::Ready(Err(std::io::Error::other("a body panicked").into()));
                }
            }
            // What is there need not wait for what is not.
            let _ = self.out.poll_flush(cx)?;
            let Self { receiver, out, link, watch, upload, .. } = self;
            let fed = match upload {
                Some(upload) => upload.pump(cx, receiver, out, link, watch)?,
                None => false,
            };
            if !fed {
                self.watch.pending(cx)?;
                return Poll::Pending;
            }
        }
    }

    /// Sends all that waits to be sent.
    async fn flush(&mut self) -> Result<(), End> {
        let Self { out, watch, link, .. } = self;
        let config = &link.server.config;
        let mut pace = Pace::default();
        let mut waiting = out.waiting();
        poll_fn(|cx| match out.poll_flush(cx)? {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => {
                let left = out.waiting();
                if left < waiting {
                    pace.progress((waiting - left) as u64);
                    waiting = left;
                }
                watch.until(pace.wait(config.send_timeout, config), Limit::SendTimeout);
                watch.pending(cx)?;
                Poll::Pending
            }
        })
        .await
    }

    fn record(&mut self, server: &Shared, webapp: Option<&Webapp>, answered: &Answered, sent: u64) {
        let received = self.upload.as_ref().map_or(0, |upload| upload.received());
        let moved = Moved { began: self.began, received, sent };
        server.record(webapp, &mut self.req, answered, moved);
    }

    /// Leaves the stream to what the response to an upgrade said.
    async fn hand_over(self, mut answered: Answered) {
        let Some(go_on) = answered.response.take_upgrade() else { return };
        let Self { link, id, mut receiver, out, mut watch, .. } = self;
        receiver.tunnel();
        watch.total(Moment::NEVER);
        watch.unlimited();
        let tunnel = Tunnel::new(receiver, out);
        let upgraded = Upgraded::foreign(tunnel, link.outlook.clone());
        let flow = Flow::open(link.clone(), id);
        let mut work = catch(go_on(upgraded.with_flow(flow)));
        let done = poll_fn(|cx| match Pin::new(&mut work).poll(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            // When the time to drain is over, the work is dropped.
            Poll::Pending if watch.pending(cx).is_err() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        if let Err(panic) = done.await {
            link.server.counters.panics.add(1);
            error!(peer = %link.peer(), "upgraded stream panicked: {panic}");
        }
    }

    /// Ends the stream before its time, unless the whole connection has to end.
    pub(super) fn abort(&mut self, end: End) -> Result<(), End> {
        let code = match end {
            End::Fault(Fault::Connection(_)) => return Err(end),
            End::Fault(Fault::Stream(code)) => code,
            End::Cut(Cut::Limit(limit)) => {
                self.link.hit(limit);
                Code::RequestCancelled
            }
            End::Cut(Cut::Gone(e)) => {
                debug!(peer = %self.link.peer(), "stream lost: {e}");
                Code::InternalError
            }
            End::Cut(Cut::Shut) => Code::RequestCancelled,
        };
        self.link.cancel(self.id);
        self.out.reset(code);
        self.receiver.stop(code);
        Ok(())
    }

    /// Leaves its memory to others.
    pub(super) fn into_spare(self) -> Box<Spare> {
        let Self { mut req, receiver, out, mut watch, .. } = self;
        req.end();
        watch.total(Moment::NEVER);
        Box::new(Spare { req, read: receiver.into_buf(), write: out.into_buf(), watch })
    }
}
