//! One request and its answer on a connection to a node: both contents flow at the same time, each no
//! faster than the other side takes it. How they are framed is the business of a [`Codec`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hemi_core::backend::Pick;
use hemi_core::clock;
use hemi_core::io::{Io, Outbox, Socket, pool, relay};
use hemi_core::{BoxFuture, Explain};
use hemi_proto::fields::Fields;
use hemi_web::{
    Body, BodyError, BoxError, Interim, Passed, Response, SendError, Undelivered, Upgraded,
};
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde::Deserialize;

use super::conns::{Conn, Conns};
use crate::failover::{broke_off, silent};

/// Bytes of a request that are gathered before they are sent.
const GATHERED: usize = 64 << 10;

/// An answer that has come with this many bytes is copied to memory of its own size.
const SMALL: usize = 4 << 10;

/// How a protocol frames the content of a request, and an answer.
pub(super) trait Codec: Send + Unpin + 'static {
    /// Frames a piece of the request's content, which is not empty.
    fn put_data(&mut self, out: &mut Outbox, data: Bytes);

    /// Ends the request's content.
    fn put_end(&mut self, out: &mut Outbox, trailers: &HeaderMap);

    /// Whether it takes a piece of the request's content now: else it has one that the node has to ask for.
    fn takes_data(&self) -> bool {
        true
    }

    /// Whether the node has asked for what [`Codec::put_more`] gives.
    fn is_asked(&self) -> bool {
        false
    }

    /// Frames what the node has asked for.
    fn put_more(&mut self, out: &mut Outbox) {
        let _ = out;
    }

    /// Takes the head of the answer from what has come, when all of it is there; `hints` are what comes
    /// before it.
    fn read_head(
        &mut self,
        buf: &mut BytesMut,
        hints: Option<&Interim>,
    ) -> Result<Option<Head>, BoxError>;

    /// Takes the next piece of its content.
    fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BoxError>;

    /// Bytes of content that are still to come, if that is known.
    fn remaining(&self) -> Option<u64>;

    /// Bytes of content that come next as they are, if that is known.
    fn unframed(&self) -> Option<u64> {
        None
    }

    /// So many of these went past.
    fn skip(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// The node has closed its side: an error, if that is not how an answer ends.
    fn close(&mut self) -> Result<(), BoxError>;

    /// Whether all of the content has been taken.
    fn is_ended(&self) -> bool;

    /// Whether the connection can carry another request then.
    fn may_keep(&self) -> bool;
}

/// The head of an answer.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: Fields,
    /// Both sides go on in another protocol, in which nothing may pass for as long as this.
    pub(super) upgrades: Option<Duration>,
}

/// One step of reading content.
pub(super) enum Decoded {
    /// Some, never empty.
    Data(Bytes),
    /// There was no more in what has come.
    NeedMore,
    /// The end.
    End(Option<HeaderMap>),
}

/// How long the nodes of a backend may take.
#[derive(Clone, Copy, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct TimesConfig {
    /// How long a node may take from the whole request to the head of its answer.
    pub answer_timeout: Duration,
    /// How long the next piece of an answer's content may take.
    pub read_timeout: Duration,
    /// How long a node may take to make room for more of a request.
    pub write_timeout: Duration,
}

impl Default for TimesConfig {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { answer_timeout: minute, read_timeout: minute, write_timeout: minute / 2 }
    }
}

/// What all exchanges of a backend share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) conns: Conns,
    pub(super) times: TimesConfig,
}

impl Shared {
    /// Sends a request on an idle connection to the node, or else on a new one, by the exchange that
    /// `begin` makes.
    pub(super) async fn send<C: Codec>(
        &self,
        mut pick: Pick,
        mut body: Body,
        hints: Option<&Interim>,
        mut begin: impl FnMut(Conn, Pick, Body) -> Box<Exchange<C>> + Send,
    ) -> Result<Response, Box<Undelivered>> {
        if let Some(conn) = self.conns.take(pick.endpoint()) {
            match begin(conn, pick, body).run(hints).await {
                // A connection that was idle may be found closed just when it is used: nobody's fault.
                Err(undelivered) if undelivered.unseen => match *undelivered {
                    Undelivered { body: Some(untouched), pick: again, .. } => {
                        (body, pick) = (untouched, again);
                        self.conns.forget(pick.endpoint());
                    }
                    undelivered => return Err(Box::new(undelivered)),
                },
                done => return done,
            }
        }
        match self.conns.connect(&pick).await {
            Ok(conn) => begin(conn, pick, body).run(hints).await,
            Err(error) => {
                Err(Box::new(Undelivered { error, pick, unseen: true, body: Some(body) }))
            }
        }
    }
}

/// Tells of a node that it has begun to answer so.
pub(super) fn answered(pick: &Pick, status: StatusCode, began: Instant) {
    match status.is_server_error() {
        true => pick.answered_badly(),
        false => pick.answered(began.elapsed()),
    }
}

/// A request, and the answer to it.
pub(super) struct Exchange<C> {
    shared: Arc<Shared>,
    conn: Conn,
    pick: Pick,
    codec: C,
    rbuf: BytesMut,
    out: Outbox,
    upload: Upload,
    /// Content that came with the head,
    ahead: VecDeque<Bytes>,
    /// and what came of reading on.
    then: Option<Result<Decoded, BoxError>>,
}

/// The content of the request.
struct Upload {
    body: Body,
    /// Bytes that are still to come, if that is known.
    left: Option<u64>,
    /// Something was taken of the body.
    begun: bool,
    /// All of it has been framed.
    ended: bool,
}

impl<C: Codec> Exchange<C> {
    /// A request whose head is in `out` already, and whose content follows.
    pub(super) fn new(
        shared: Arc<Shared>,
        conn: Conn,
        pick: Pick,
        codec: C,
        out: Outbox,
        body: Body,
    ) -> Box<Self> {
        let left = body.len();
        let upload = Upload { body, left, begun: false, ended: false };
        Box::new(Self {
            shared,
            conn,
            pick,
            codec,
            rbuf: BytesMut::new(),
            out,
            upload,
            ahead: VecDeque::new(),
            then: None,
        })
    }

    /// Sends the request, and receives the head of the answer.
    pub(super) async fn run(
        mut self: Box<Self>,
        hints: Option<&Interim>,
    ) -> Result<Response, Box<Undelivered>> {
        let used = self.conn.is_used();
        self.conn.requests += 1;
        let began = clock::exact();
        let mut seen = false;
        match poll_fn(|cx| self.poll_head(cx, hints, &mut seen)).await {
            Ok(head) => {
                answered(&self.pick, head.status, began);
                self.conn.patience.renew();
                Ok(self.respond(head))
            }
            Err(error) => {
                // A connection that was idle may have been closed just when the request was sent.
                let broken = matches!(error, SendError::Broken(_) | SendError::Closed);
                let unseen = used && broken && !seen;
                let body = (!self.upload.begun).then(|| std::mem::take(&mut self.upload.body));
                Err(Box::new(Undelivered { error, pick: self.pick, unseen, body }))
            }
        }
    }

    /// `seen`: whether something has come.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        hints: Option<&Interim>,
        seen: &mut bool,
    ) -> Poll<Result<Head, SendError>> {
        loop {
            // Who answers early need not take all of the content.
            let sent = match self.poll_upload(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(e @ SendError::Content(_))) => return Poll::Ready(Err(e)),
                // It may have answered before it closed the connection.
                Poll::Ready(Err(_)) => true,
                Poll::Pending => false,
            };
            let head = self.codec.read_head(&mut self.rbuf, hints);
            if let Some(head) = head.map_err(SendError::Malformed)? {
                return Poll::Ready(Ok(head));
            }
            if self.codec.is_asked() {
                continue;
            }
            self.reserve();
            match self.conn.socket.poll_recv(cx, &mut self.rbuf) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(SendError::Closed)),
                Poll::Ready(Ok(_)) => {
                    *seen = true;
                    self.shrink();
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(SendError::Broken(e))),
                Poll::Pending => {
                    self.rest();
                    let (what, limit) = match sent {
                        true => ("answer", self.shared.times.answer_timeout),
                        // It is the client that is waited for, who has a deadline of his own.
                        false if self.out.is_empty() => return Poll::Pending,
                        false => ("room for the request", self.shared.times.write_timeout),
                    };
                    return match self.conn.patience.is_over(cx, limit) {
                        true => Poll::Ready(Err(SendError::Timeout { what, limit })),
                        false => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Makes room for what the node sends next: for much of it, if its answers are long.
    fn reserve(&mut self) {
        let room = if self.conn.long { pool::LARGE } else { pool::BUFFER };
        if self.rbuf.is_empty() && self.rbuf.capacity() < room {
            self.rest();
            self.rbuf = if self.conn.long { pool::take_large() } else { pool::take() };
        } else if self.rbuf.capacity() == self.rbuf.len() {
            self.rbuf.reserve(room);
        }
    }

    /// Holds no buffer without need.
    fn rest(&mut self) {
        if self.rbuf.is_empty() {
            pool::give(std::mem::take(&mut self.rbuf));
        }
    }

    /// Gives the buffer of the pool back, if little has come: it is held for as long as the answer is sent.
    fn shrink(&mut self) {
        if self.rbuf.len() <= SMALL && self.rbuf.capacity() >= pool::BUFFER {
            let small = BytesMut::from(&self.rbuf[..]);
            pool::give(std::mem::replace(&mut self.rbuf, small));
        }
    }

    /// Sends what there is of the request; ready when all of it has gone.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            if self.codec.is_asked() {
                self.codec.put_more(&mut self.out);
            }
            while !self.upload.ended && self.codec.takes_data() && self.out.in_memory() < GATHERED {
                match self.upload.poll_put(cx, &mut self.codec, &mut self.out) {
                    Poll::Ready(put) => put.map_err(SendError::Content)?,
                    Poll::Pending => break,
                }
            }
            let waiting = self.out.len();
            if waiting == 0 {
                // Else the client is waited for, who has a deadline of his own.
                let all = self.upload.ended || !self.codec.takes_data();
                return if all { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let sent = self.conn.socket.poll_send(cx, &mut self.out);
            if self.out.len() < waiting {
                self.conn.patience.renew();
            }
            ready!(sent).map_err(SendError::Broken)?;
        }
    }

    fn respond(self: Box<Self>, head: Head) -> Response {
        let response = Response::passed_on(head.status, head.headers);
        match head.upgrades {
            Some(idle) => response.go_on(self.tunnel(idle)),
            None => response.with_body(self.into_body()),
        }
    }

    /// The content of the answer: at once, if all of it has come.
    fn into_body(mut self: Box<Self>) -> Body {
        let left = self.codec.remaining();
        self.conn.long = left.is_some_and(|left| left > pool::BUFFER as u64);
        if left.is_some_and(|left| left > self.rbuf.len() as u64) {
            return Body::passed_on(Answer::new(left, self));
        }
        loop {
            match self.codec.decode(&mut self.rbuf) {
                Ok(Decoded::Data(piece)) => self.ahead.push_back(piece),
                // What has no content may still have a length, in answer to HEAD.
                Ok(Decoded::End(None)) if left.is_some() || !self.ahead.is_empty() => break,
                step => {
                    self.then = Some(step).filter(|step| !matches!(step, Ok(Decoded::NeedMore)));
                    return Body::passed_on(Answer::new(left, self));
                }
            }
            if self.codec.is_ended() {
                break;
            }
        }
        let pieces = std::mem::take(&mut self.ahead);
        self.finish();
        match pieces.len() {
            0 => Body::empty(),
            1 => pieces.into_iter().next().unwrap_or_default().into(),
            _ => Bytes::from(pieces.iter().flatten().copied().collect::<Vec<u8>>()).into(),
        }
    }

    /// The answer is over: keeps the connection, if nothing is left on it in either direction.
    fn finish(mut self) {
        let clean = self.rbuf.is_empty()
            && self.out.is_empty()
            && self.upload.ended
            && self.codec.is_ended()
            && self.codec.may_keep();
        pool::give(std::mem::take(&mut self.rbuf));
        self.out.release();
        if clean {
            if self.conn.long
                && let Some(socket) = self.conn.socket.socket()
            {
                socket.expect();
            }
            self.shared.conns.give(self.pick.endpoint(), self.conn);
        }
    }

    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BoxError>> {
        if let Some(piece) = self.ahead.pop_front() {
            return Poll::Ready(Ok(Some(Frame::data(piece))));
        }
        // Whether the node takes the rest of the request is its business now.
        if !self.upload.ended || !self.out.is_empty() || self.codec.is_asked() {
            let _ = self.poll_upload(cx);
        }
        loop {
            let then = self.then.take();
            match then.unwrap_or_else(|| self.codec.decode(&mut self.rbuf))? {
                Decoded::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Decoded::End(trailers) => return Poll::Ready(Ok(trailers.map(Frame::trailers))),
                Decoded::NeedMore if self.codec.is_asked() => {
                    let _ = self.poll_upload(cx);
                    continue;
                }
                Decoded::NeedMore => {}
            }
            self.reserve();
            match self.conn.socket.poll_recv(cx, &mut self.rbuf) {
                Poll::Ready(Ok(0)) => return Poll::Ready(self.codec.close().map(|()| None)),
                Poll::Ready(Ok(got)) => {
                    self.conn.long |= got >= pool::BUFFER;
                    self.conn.patience.renew();
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e.into())),
                Poll::Pending => {
                    self.rest();
                    return match self.conn.patience.is_over(cx, self.shared.times.read_timeout) {
                        true => Poll::Ready(Err(silent(self.shared.times.read_timeout))),
                        false => Poll::Pending,
                    };
                }
            }
        }
    }

    /// What both sides do after a 101.
    fn tunnel(self, idle: Duration) -> impl FnOnce(Upgraded) -> BoxFuture<'static, ()> {
        let Self { mut conn, pick, mut rbuf, .. } = self;
        let early = rbuf.split().freeze();
        move |mut client: Upgraded| {
            Box::pin(async move {
                // However it ends, both connections do.
                let _ = relay(&mut conn.socket, &mut client, early, idle).await;
                drop(pick);
            })
        }
    }
}

impl Upload {
    /// Frames the next piece.
    fn poll_put<C: Codec>(
        &mut self,
        cx: &mut Context<'_>,
        codec: &mut C,
        out: &mut Outbox,
    ) -> Poll<Result<(), BodyError>> {
        let frame = match self.left {
            Some(0) => None,
            _ => ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?,
        };
        self.begun |= frame.is_some();
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                if let Some(left) = &mut self.left {
                    // Whoever made the body has said how long it is.
                    *left = left.checked_sub(data.len() as u64).ok_or(BodyError::Cut)?;
                }
                if !data.is_empty() {
                    codec.put_data(out, data);
                }
            }
            Some(Err(trailers)) => {
                codec.put_end(out, &trailers.into_trailers().unwrap_or_default());
                self.ended = true;
            }
            None if matches!(self.left, Some(1..)) => return Poll::Ready(Err(BodyError::Cut)),
            None => {
                codec.put_end(out, &HeaderMap::new());
                self.ended = true;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The content of an answer that has not come whole.
struct Answer<C> {
    left: Option<u64>,
    exchange: Option<Box<Exchange<C>>>,
    /// It has broken off, and that was logged.
    broken: bool,
}

impl<C> Answer<C> {
    fn new(left: Option<u64>, exchange: Box<Exchange<C>>) -> Self {
        Self { left, exchange: Some(exchange), broken: false }
    }

    /// Logs why it has broken off, once.
    fn broke(&mut self, error: BoxError) -> BoxError {
        if !std::mem::replace(&mut self.broken, true)
            && let Some(exchange) = &self.exchange
        {
            broke_off(&exchange.pick, &error);
        }
        error
    }
}

impl<C: Codec> HttpBody for Answer<C> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(exchange) = &mut this.exchange else { return Poll::Ready(None) };
        let frame = ready!(exchange.poll_content(cx));
        if let (Ok(Some(frame)), Some(left)) = (&frame, &mut this.left) {
            *left -= frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        let nothing_ahead = exchange.ahead.is_empty() && exchange.then.is_none();
        let over = nothing_ahead && exchange.codec.is_ended() && frame.is_ok();
        if over && let Some(exchange) = this.exchange.take() {
            exchange.finish();
        }
        Poll::Ready(frame.map_err(|e| this.broke(e)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<C: Codec> Passed for Answer<C> {
    fn source(&mut self) -> Option<(&mut Socket, u64)> {
        let Exchange { conn, codec, rbuf, out, upload, ahead, then, .. } =
            self.exchange.as_deref_mut()?;
        let nothing_ahead = rbuf.is_empty() && ahead.is_empty() && then.is_none();
        let quiet = nothing_ahead && out.is_empty() && upload.ended;
        let left = codec.unframed().filter(|_| quiet)?;
        Some((conn.socket.socket()?, left))
    }

    fn took(&mut self, bytes: u64) -> Result<(), BoxError> {
        let Some(exchange) = self.exchange.as_deref_mut().filter(|_| bytes > 0) else {
            return Ok(());
        };
        if exchange.codec.unframed().is_none_or(|left| left < bytes) {
            return Err("more was taken than there was".into());
        }
        exchange.codec.skip(bytes);
        exchange.conn.patience.renew();
        if let Some(left) = &mut self.left {
            *left -= bytes;
        }
        Ok(())
    }

    fn waits(&mut self, cx: &mut Context<'_>) -> Result<(), BoxError> {
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
        let limit = exchange.shared.times.read_timeout;
        match exchange.conn.patience.is_over(cx, limit) {
            true => Err(self.broke(silent(limit))),
            false => Ok(()),
        }
    }

    fn fails(&mut self, error: io::Error) -> BoxError {
        self.broke(error.into())
    }
}
