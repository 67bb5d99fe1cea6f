//! Requests, and their answers on the way into the outbox.

use std::sync::Arc;

use bytes::BytesMut;
use hemi_core::clock::{self, Moment};
use hemi_core::io::Io;
use hemi_proto::http2::{End, HeadWriter};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, SERVER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, StatusCode};

use super::content::Content;
use super::standing::{date, with_standing};
use super::stream::{Sending, Stream, Work, ask_on, go_on};
use super::tunnel::tunnel;
use super::upload::Upload;
use super::{Conn, Line};
use crate::body::Body;
use crate::conn::exchange::Moved;
use crate::conn::watch::Pace;
use crate::http_config::Limit;
use crate::httpx::Shared;
use crate::response::KEEP_ALIVE;
use crate::upgrade::Upgraded;
use crate::webapp::{Answered, Begun, Webapp};
use crate::{Request, Response, error_page};

/// How long the content of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// There is none, and no field says so.
    None,
    Known(u64),
    Unknown,
}

impl<I: Io> Conn<I> {
    /// A request whose head has come: answers it, or has it wait.
    pub(super) fn request(&mut self, id: u32, server: &Arc<Shared>) {
        self.requests += 1;
        self.active = self.now;
        server.counters.requests.add(1);
        self.limit_requests(server);
        let head = self.req.head();
        let webapp = server.route(&self.req);
        let began = webapp.filter(|webapp| webapp.is_timed()).map(|_| clock::exact());
        let mut upload = None;
        if !head.framing.is_empty() {
            let most = webapp.map_or(0, |webapp| webapp.body_limit());
            let (up, body) = Upload::new(head.framing, head.expect_continue, most);
            upload = Some(up);
            self.req.set_body(body);
        }
        if let Err(status) = self.req.begin() {
            server.hit(&self.peer, Limit::BadHead);
            server.record_refused(&mut self.req, status);
            return self.refuse(id, status);
        }
        let begun = match webapp {
            Some(webapp) => server.ask(webapp, &mut self.req),
            None => Begun::Done(Answered::without_webapp(&self.req)),
        };
        match begun {
            Begun::Done(answered) if upload.is_none() && !self.req.wants_upgrade() => {
                self.answer_now(id, webapp, answered, began, server);
            }
            Begun::Done(answered) => {
                let mut stream = self.new_stream(id, webapp, began, upload);
                let req = self.take_request();
                let (streams, mut line) = self.split();
                stream.answer(req, answered, &mut line);
                streams.push(stream);
            }
            Begun::Waits(at) => {
                let Some(webapp) = webapp else { return };
                let mut stream = self.new_stream(id, Some(webapp), began, upload);
                let mut req = self.take_request();
                let interim = req.interim();
                let asking = ask_on(server.clone(), webapp.clone(), req, at);
                stream.work = Work::Asking(asking, interim);
                self.streams.push(stream);
            }
        }
    }

    /// Asks the client to begin no more streams, when there were many, or the connection is old.
    fn limit_requests(&mut self, server: &Shared) {
        let limit = if self.requests == server.config.max_requests_per_conn {
            Limit::RequestsPerConn
        } else if self.now >= self.until {
            self.until = Moment::NEVER;
            Limit::ConnAge
        } else {
            return;
        };
        server.hit(&self.peer, limit);
        self.proto.shut_down(self.out.small());
    }

    /// Takes the request that has come, and awaits another.
    fn take_request(&mut self) -> Request {
        let next = self.req.sibling();
        std::mem::replace(&mut self.req, next)
    }

    fn new_stream(
        &mut self,
        id: u32,
        webapp: Option<&Arc<Webapp>>,
        began: Option<std::time::Instant>,
        upload: Option<Upload>,
    ) -> Box<Stream> {
        let wakes = self.wakes.get_or_insert_default();
        let total = self.server.config.total_timeout;
        Box::new(Stream {
            id,
            waker: wakes.waker(id),
            webapp: webapp.cloned(),
            began,
            upload,
            early: BytesMut::new(),
            work: Work::Over,
            total: if total.is_zero() { Moment::NEVER } else { self.now.after(total) },
            due: Moment::NEVER,
        })
    }

    /// Sends an answer that was there at once, of a request without content: nothing of it is kept if it can
    /// be sent at once, too.
    fn answer_now(
        &mut self,
        id: u32,
        webapp: Option<&Arc<Webapp>>,
        mut answered: Answered,
        began: Option<std::time::Instant>,
        server: &Arc<Shared>,
    ) {
        server.finish(webapp.map(|webapp| &**webapp), &mut self.req, &mut answered.response);
        let is_head = self.req.head().method == Method::HEAD;
        let now = self.now;
        let put = self.split().1.put_answer(id, &mut answered.response, is_head, now);
        match put {
            Put::All(sent) => {
                let moved = Moved { began, received: 0, sent };
                server.record(webapp.map(|webapp| &**webapp), &mut self.req, &answered, moved);
                self.req.end();
            }
            Put::Head(content) => {
                let mut stream = self.new_stream(id, webapp, began, None);
                let (req, pace) = (self.take_request(), Pace::default());
                stream.work = Work::Sending(Sending { req, answered, content, sent: 0, pace });
                self.streams.push(stream);
            }
        }
    }

    /// Answers what is no request.
    pub(super) fn refuse(&mut self, id: u32, status: StatusCode) {
        let mut response = error_page::page(status);
        let now = self.now;
        let (_, mut line) = self.split();
        if let Put::Head(_) = line.put_answer(id, &mut response, false, now) {
            // The window has no room for the page.
            line.proto.data(id, 0, End::Stream, line.out.small());
        }
        line.proto.stop_reading(id);
        self.req.end();
    }
}

impl Stream {
    /// Sends an answer, or its head, if the rest takes its time.
    pub(super) fn answer(&mut self, mut req: Request, mut answered: Answered, line: &mut Line<'_>) {
        // What the answer does not hold nobody reads any more.
        drop(req.take_body());
        if let Some(upload) = &mut self.upload {
            if let Some((status, limit)) = upload.fault() {
                line.server.hit(&req.peer(), limit);
                answered.response = status.into();
            }
            if upload.is_abandoned() {
                upload.abandon(self.id, line);
            }
        }
        line.server.finish(self.webapp.as_deref(), &mut req, &mut answered.response);
        if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.upgrade(req, answered, line);
        }
        if !self.early.is_empty() || req.wants_upgrade() {
            // Nobody goes on.
            line.proto.read(self.id, std::mem::take(&mut self.early).len(), line.out.small());
            line.proto.stop_reading(self.id);
        }
        let is_head = req.head().method == Method::HEAD;
        let put = line.put_answer(self.id, &mut answered.response, is_head, clock::now());
        let received = self.upload.as_ref().map_or(0, Upload::received);
        match put {
            Put::All(sent) => {
                let moved = Moved { began: self.began, received, sent };
                line.server.record(self.webapp.as_deref(), &mut req, &answered, moved);
            }
            Put::Head(content) => {
                let pace = Pace::default();
                self.work = Work::Sending(Sending { req, answered, content, sent: 0, pace });
            }
        }
    }

    /// Answers 200 in the place of 101 (RFC 8441, 5), and leaves the stream to what goes on.
    fn upgrade(&mut self, mut req: Request, mut answered: Answered, line: &mut Line<'_>) {
        let Some(work) = answered.response.take_upgrade() else { return };
        if let Some(head) = line.proto.head(self.id, line.out.small()) {
            let head = put_fields(
                head.status(StatusCode::OK),
                &answered.response,
                line.server,
                Length::None,
                clock::now(),
            );
            head.finish(End::No);
        }
        let moved = Moved { began: self.began, received: 0, sent: 0 };
        line.server.record(self.webapp.as_deref(), &mut req, &answered, moved);
        let (portal, tunnel) = tunnel(self.waker.clone());
        portal.receive(&std::mem::take(&mut self.early));
        let upgraded = Upgraded::foreign(tunnel, line.watch.outlook());
        self.total = Moment::NEVER;
        self.work = Work::Tunnel(go_on(work(upgraded)), portal);
    }
}

/// What was put of an answer.
enum Put {
    /// All, with so many bytes of content.
    All(u64),
    /// The head; this is to follow.
    Head(Content),
}

impl Line<'_> {
    /// Puts an answer into the outbox, or its head, if its content is long or still to come.
    fn put_answer(&mut self, id: u32, response: &mut Response, is_head: bool, now: Moment) -> Put {
        let room = self.proto.room_of(id);
        if let Some(prepared) = response.as_whole()
            && !is_head
            && prepared.content().len() <= room
            && response.status() == StatusCode::OK
        {
            let content = prepared.content();
            let Some(head) = self.proto.head(id, self.out.small()) else { return Put::All(0) };
            let head = head.status(StatusCode::OK);
            let head = with_standing(self.server, now, |standing| head.standing(standing));
            let (fields, _) = prepared.hpack_fields(Some(content.len() as u64));
            let head = head.encoded(fields);
            if content.is_empty() {
                head.finish(End::Stream);
            } else {
                head.finish(End::No);
                self.proto.data(id, content.len(), End::Stream, self.out.small());
                self.out.push(content.clone());
            }
            return Put::All(content.len() as u64);
        }
        let body = response.take_body();
        let length = length(response, &body, is_head);
        let is_over = is_head || matches!(length, Length::None | Length::Known(0));
        let end = if is_over { End::Stream } else { End::No };
        let Some(head) = self.proto.head(id, self.out.small()) else { return Put::All(0) };
        let head = put_fields(head.status(response.status()), response, self.server, length, now);
        head.finish(end);
        if is_over {
            return Put::All(0);
        }
        match body.in_memory() {
            Some(bytes) if bytes.len() <= room => {
                self.proto.data(id, bytes.len(), End::Stream, self.out.small());
                self.out.push(bytes.clone());
                Put::All(bytes.len() as u64)
            }
            _ => Put::Head(Content::new(body)),
        }
    }
}

/// Sends a 103 (RFC 8297) with these fields, but for those that are about the connection.
pub(super) fn put_early_hints(id: u32, fields: &HeaderMap, line: &mut Line<'_>) {
    let Some(head) = line.proto.head(id, line.out.small()) else { return };
    let mut head = head.status(StatusCode::EARLY_HINTS);
    for (name, value) in fields {
        if !is_ours(name) {
            head = head.field(name, value);
        }
    }
    head.finish(End::No);
}

/// Puts all fields, those that every answer has first.
fn put_fields<'a>(
    head: HeadWriter<'a>,
    response: &Response,
    server: &Shared,
    length: Length,
    now: Moment,
) -> HeadWriter<'a> {
    let known = match length {
        Length::Known(len) => Some(len),
        Length::None | Length::Unknown => None,
    };
    if let Some(prepared) = response.prepared_fields() {
        let head = with_standing(server, now, |standing| head.standing(standing));
        let (fields, told) = prepared.hpack_fields(known);
        let head = head.encoded(fields);
        return match known {
            Some(len) if !told => head.content_length(len),
            _ => head,
        };
    }
    let map = response.headers();
    let mut head = match (map.contains_key(DATE), map.contains_key(SERVER)) {
        (false, false) => with_standing(server, now, |standing| head.standing(standing)),
        (false, true) => head.field(&DATE, &date()),
        // Of one who knows the date we need not say who answers.
        (true, _) => head,
    };
    // RFC 9110, 8.6: an answer without content may still name a length, but for 1xx and 204.
    let status = response.status();
    let keeps_length =
        length == Length::None && !status.is_informational() && status != StatusCode::NO_CONTENT;
    for (name, value) in map {
        if !is_ours(name) || (*name == CONTENT_LENGTH && keeps_length) {
            head = head.field(name, value);
        }
    }
    match known {
        Some(len) => head.content_length(len),
        None => head,
    }
}

/// Fields that HTTP/2 has not, or that the connection sees to (RFC 9113, 8.2.2).
fn is_ours(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(name)
        || name == KEEP_ALIVE
        || name == "proxy-connection"
}

fn length(response: &Response, body: &Body, is_head: bool) -> Length {
    let status = response.status();
    if status.is_informational() || matches!(status.as_u16(), 204 | 304) {
        return Length::None;
    }
    if status == StatusCode::RESET_CONTENT {
        // There is none, and this has to be said (RFC 9110, 15.3.6).
        return Length::Known(0);
    }
    match body.len() {
        // What a HEAD is answered without may be of any length: who knows it has put the field (RFC 9110, 8.6).
        Some(0) if is_head => Length::None,
        Some(len) => Length::Known(len),
        None => Length::Unknown,
    }
}
