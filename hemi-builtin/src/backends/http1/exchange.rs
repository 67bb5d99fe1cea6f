//! One request and its answer on a connection to a node: both contents flow at the same time, each no
//! faster than the other side takes it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hemi_core::backend::Pick;
use hemi_core::clock;
use hemi_core::deadline::Patience;
use hemi_core::io::{Io, Outbox, pool, relay};
use hemi_proto::http1::{
    BodyDecoder, BodyError as FramingError, BodyLength, Decoded, HeadLimits, HeadReader,
    ResponseHead, encode_chunk_head, encode_content_length, encode_last_chunk,
};
use hemi_web::{Body, BoxError, Outgoing, Response, SendError, Undelivered, Upgraded};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Shared;
use super::pool::Conn;

/// Bytes of a request that are gathered before they are sent.
const GATHERED: usize = 64 << 10;

/// Room for the next piece of an answer that is known to be long.
const PIECE: usize = 64 << 10;

/// Answers on the way to the answer, at most.
const INTERIM: usize = 16;

/// A request, and the answer to it.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    conn: Conn,
    pick: Pick,
    rbuf: BytesMut,
    out: Outbox,
    upload: Upload,
    /// Of the answer's content.
    decoder: BodyDecoder,
    /// The node allows for another request after this one.
    keep_alive: bool,
    patience: Patience,
}

/// The content of the request.
struct Upload {
    body: Body,
    framing: Framing,
    /// Something was taken of the body.
    begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Sized(u64),
    Chunked,
    /// All of it is in the outbox, or there was none.
    Done,
}

/// An answer's head, as far as it has come.
struct Incoming<'a> {
    method: &'a Method,
    wants_upgrade: bool,
    heads: HeadReader,
    fields: HeaderMap,
    /// Answers on the way to it that have come.
    interim: usize,
    /// Something has come.
    seen: bool,
}

impl Exchange {
    pub(super) fn new(shared: Arc<Shared>, conn: Conn, pick: Pick) -> Self {
        Self {
            shared,
            conn,
            pick,
            rbuf: BytesMut::new(),
            out: Outbox::default(),
            upload: Upload { body: Body::empty(), framing: Framing::Done, begun: false },
            decoder: BodyDecoder::new(BodyLength::None),
            keep_alive: false,
            patience: Patience::default(),
        }
    }

    /// Sends the request, and receives the head of the answer.
    pub(super) async fn run(
        mut self,
        request: &mut Outgoing<'_>,
    ) -> Result<Response, Box<Undelivered>> {
        self.put_head(request);
        let mut incoming = Incoming {
            method: request.method,
            wants_upgrade: request.upgrade.is_some(),
            heads: HeadReader::default(),
            fields: HeaderMap::new(),
            interim: 0,
            seen: false,
        };
        self.upload.body = std::mem::take(&mut request.body);
        let used = self.conn.is_used();
        self.conn.requests += 1;
        let began = clock::exact();
        match poll_fn(|cx| self.poll_head(cx, &mut incoming)).await {
            Ok(head) => {
                self.pick.answered(began.elapsed());
                self.patience.renew();
                Ok(self.respond(head))
            }
            Err(error) => {
                // A connection that was idle may have been closed just when the request was sent.
                let broken = matches!(error, SendError::Broken(_) | SendError::Closed);
                let unseen = used && broken && !incoming.seen;
                let body = (!self.upload.begun).then(|| std::mem::take(&mut self.upload.body));
                Err(Box::new(Undelivered { error, pick: self.pick, unseen, body }))
            }
        }
    }

    fn put_head(&mut self, request: &Outgoing<'_>) {
        let out = self.out.small();
        out.extend_from_slice(request.method.as_str().as_bytes());
        out.extend_from_slice(b" ");
        out.extend_from_slice(request.target);
        out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        out.extend_from_slice(request.authority.as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in request.headers {
            if !is_of_connection(name) && !(request.drops)(name) {
                put_field(out, name, value.as_bytes());
            }
        }
        for (name, value) in request.added {
            put_field(out, name, value.as_bytes());
        }
        if let Some(protocol) = request.upgrade {
            put_field(out, &UPGRADE, protocol.as_bytes());
            out.extend_from_slice(b"connection: upgrade\r\n");
        }
        self.upload.framing = match request.body.len() {
            Some(0) if !expects_content(request.method) => Framing::Done,
            Some(0) => {
                encode_content_length(out, 0);
                Framing::Done
            }
            Some(len) => {
                encode_content_length(out, len);
                Framing::Sized(len)
            }
            None => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                Framing::Chunked
            }
        };
        out.extend_from_slice(b"\r\n");
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut Incoming<'_>,
    ) -> Poll<Result<ResponseHead, SendError>> {
        loop {
            // Who answers early need not take all of the content.
            let sent = match self.poll_upload(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(e @ SendError::Content(_))) => return Poll::Ready(Err(e)),
                // It may have answered before it closed the connection.
                Poll::Ready(Err(_)) => true,
                Poll::Pending => false,
            };
            while let Some(head) = incoming.read(&mut self.rbuf, &self.shared.heads)? {
                if !head.status.is_informational() || head.upgrade {
                    return Poll::Ready(Ok(head));
                }
            }
            match self.conn.socket.poll_recv(cx, reserve(&mut self.rbuf, pool::BUFFER)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(SendError::Closed)),
                Poll::Ready(Ok(_)) => incoming.seen = true,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(SendError::Broken(e))),
                Poll::Pending => {
                    let config = &self.shared.config;
                    let (what, limit) = match sent {
                        true => ("answer", config.answer_timeout),
                        false => ("room for the request", config.write_timeout),
                    };
                    return match self.patience.is_over(cx, limit) {
                        true => Poll::Ready(Err(SendError::Timeout { what, limit })),
                        false => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Sends what there is of the request; ready when all of it has gone.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            while self.upload.framing != Framing::Done && self.out.in_memory() < GATHERED {
                match Pin::new(&mut self.upload.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.upload.put(frame, &mut self.out)?,
                    Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(SendError::Content(e))),
                    Poll::Ready(None) => self.upload.end(&mut self.out)?,
                    Poll::Pending => break,
                }
            }
            let waiting = self.out.len();
            if waiting == 0 {
                return match self.upload.framing {
                    Framing::Done => Poll::Ready(Ok(())),
                    // The client is waited for, who has a deadline of his own.
                    _ => Poll::Pending,
                };
            }
            let sent = self.conn.socket.poll_send(cx, &mut self.out);
            if self.out.len() < waiting {
                self.patience.renew();
            }
            match sent {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(SendError::Broken(e))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn respond(mut self, head: ResponseHead) -> Response {
        let mut response = if head.upgrade {
            self.into_tunnel()
        } else {
            self.decoder = BodyDecoder::new(head.framing);
            self.keep_alive = head.keep_alive;
            Response::new(head.status).with_body(self.into_body(head.framing))
        };
        *response.headers_mut() = head.headers;
        response
    }

    /// The content of the answer: at once, if all of it has come.
    fn into_body(mut self, framing: BodyLength) -> Body {
        let len = match framing {
            BodyLength::None | BodyLength::Sized(0) => Some(0),
            BodyLength::Sized(len) if len <= self.rbuf.len() as u64 => Some(len),
            _ => None,
        };
        match len {
            Some(len) => {
                let content = self.rbuf.split_to(len as usize).freeze();
                self.decoder = BodyDecoder::new(BodyLength::None);
                self.finish();
                content.into()
            }
            None => Body::stream(Answer {
                left: self.decoder.remaining(),
                exchange: Some(Box::new(self)),
            }),
        }
    }

    /// The answer is over: keeps the connection, if nothing is left on it in either direction.
    fn finish(mut self) {
        let clean = self.rbuf.is_empty()
            && self.out.is_empty()
            && self.upload.framing == Framing::Done
            && self.decoder.is_ended();
        pool::give(std::mem::take(&mut self.rbuf));
        self.out.release();
        let config = &self.shared.config;
        if clean && self.keep_alive && self.conn.requests < config.max_requests_per_conn {
            self.shared.pool.give(self.pick.endpoint(), self.conn);
        }
    }

    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BoxError>> {
        // Whether the node takes the rest of the request is its business now.
        if self.upload.framing != Framing::Done || !self.out.is_empty() {
            let _ = self.poll_upload(cx);
        }
        loop {
            match self.decoder.decode(&mut self.rbuf)? {
                Decoded::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Decoded::End(trailers) => return Poll::Ready(Ok(trailers.map(Frame::trailers))),
                Decoded::NeedMore => {}
            }
            let long = self.decoder.remaining().is_none_or(|left| left > pool::BUFFER as u64);
            let room = if long { PIECE } else { pool::BUFFER };
            match self.conn.socket.poll_recv(cx, reserve(&mut self.rbuf, room)) {
                Poll::Ready(Ok(0)) => {
                    self.decoder.finish().map_err(|_| FramingError::Incomplete)?;
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Ok(_)) => self.patience.renew(),
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e.into())),
                Poll::Pending => {
                    let limit = self.shared.config.read_timeout;
                    return match self.patience.is_over(cx, limit) {
                        true => Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut).into())),
                        false => Poll::Pending,
                    };
                }
            }
        }
    }

    /// An answer after which both sides go on in another protocol.
    fn into_tunnel(self) -> Response {
        let Self { shared, mut conn, pick, mut rbuf, .. } = self;
        let early = rbuf.split().freeze();
        Response::upgrade(move |mut client: Upgraded| async move {
            let idle = shared.config.tunnel_timeout;
            // However it ends, both connections do.
            let _ = relay(&mut conn.socket, &mut client, early, idle).await;
            drop(pick);
        })
    }
}

impl Incoming<'_> {
    /// The next head, when all of it has come: one of 1xx, or the answer's.
    fn read(
        &mut self,
        buf: &mut BytesMut,
        limits: &HeadLimits,
    ) -> Result<Option<ResponseHead>, SendError> {
        let head = self.heads.read_response(self.method, buf, &mut self.fields, limits);
        let malformed = |message: &str| SendError::Malformed(message.into());
        let Some(head) = head.map_err(|e| SendError::Malformed(e.into()))? else { return Ok(None) };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let agreed = self.wants_upgrade && head.upgrade;
            return agreed.then_some(Some(head)).ok_or_else(|| malformed("a 101 nobody asked for"));
        }
        if head.status.is_informational() {
            self.interim += 1;
            if self.interim > INTERIM {
                return Err(malformed("too many answers on the way to the answer"));
            }
        }
        Ok(Some(head))
    }
}

impl Upload {
    fn put(&mut self, frame: Frame<Bytes>, out: &mut Outbox) -> Result<(), SendError> {
        self.begun = true;
        match (frame.into_data(), &mut self.framing) {
            (Ok(data), Framing::Sized(left)) => {
                // Whoever made the body has said how long it is.
                *left = left.checked_sub(data.len() as u64).ok_or_else(overlong)?;
                out.push(data);
            }
            (Ok(data), Framing::Chunked) if !data.is_empty() => {
                encode_chunk_head(out.small(), data.len() as u64);
                out.push(data);
                out.small().extend_from_slice(b"\r\n");
            }
            (Err(frame), Framing::Chunked) => {
                if let Ok(trailers) = frame.into_trailers() {
                    encode_last_chunk(out.small(), &trailers);
                    self.framing = Framing::Done;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Outbox) -> Result<(), SendError> {
        match std::mem::replace(&mut self.framing, Framing::Done) {
            Framing::Chunked => encode_last_chunk(out.small(), &HeaderMap::new()),
            Framing::Sized(1..) => return Err(SendError::Content(hemi_web::BodyError::Cut)),
            Framing::Sized(0) | Framing::Done => {}
        }
        Ok(())
    }
}

fn overlong() -> SendError {
    SendError::Content(hemi_web::BodyError::Other("it is longer than it was said to be".into()))
}

/// The content of an answer that has not come whole.
struct Answer {
    left: Option<u64>,
    exchange: Option<Box<Exchange>>,
}

impl HttpBody for Answer {
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
        let over = exchange.decoder.is_ended() && frame.is_ok();
        if over && let Some(exchange) = this.exchange.take() {
            exchange.finish();
        }
        Poll::Ready(frame.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn reserve(buf: &mut BytesMut, room: usize) -> &mut BytesMut {
    if buf.capacity() == 0 {
        *buf = pool::take();
    }
    if buf.capacity() == buf.len() {
        buf.reserve(room);
    }
    buf
}

fn put_field(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Fields that are about one connection, or that the exchange makes itself.
fn is_of_connection(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]
        .contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Whether the content's length is told even if there is none (RFC 9110, 8.6).
fn expects_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
