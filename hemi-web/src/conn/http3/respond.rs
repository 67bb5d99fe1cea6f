//! Answers on their way: heads in QPACK, contents in DATA frames.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use hemi_core::clock::{self, Moment};
use hemi_core::quic::quinn::SendStream;
use hemi_proto::date::format_date;
use hemi_proto::http3::qpack::StaticEncoder;
use hemi_proto::http3::{Code, put_data_head, put_headers_head};
use hemi_proto::priority::Priority;
use http::StatusCode;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, SERVER, TRANSFER_ENCODING, UPGRADE,
};
use http_body::Frame;

use super::End;
use super::link::Link;
use super::receive::poll_once;
use crate::Response;
use crate::body::{Body, Inner};
use crate::httpx::Shared;
use crate::response::KEEP_ALIVE;

/// Content of up to this many bytes is copied behind the head.
const SMALL: usize = 1 << 10;

/// Room that is made for heads in one go.
const ROOM: usize = 4 << 10;

/// What is to be sent on the stream of a request.
pub(super) struct Outgoing {
    send: SendStream,
    /// Where heads are put together.
    small: BytesMut,
    queue: VecDeque<Bytes>,
    /// Bytes in it.
    waiting: usize,
    /// Bytes of content so far, and as many as the head has promised.
    content: u64,
    promised: Option<u64>,
}

/// The end of a content that is told by its head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// There is none, and no field says so.
    None,
    Known(u64),
    Unknown,
}

impl Length {
    fn of(response: &Response, len: Option<u64>, is_head: bool) -> Self {
        let status = response.status();
        if status.is_informational() || matches!(status.as_u16(), 204 | 304) {
            return Self::None;
        }
        if status == StatusCode::RESET_CONTENT {
            return Self::Known(0);
        }
        match len {
            // What a HEAD is answered without may be of any length: who knows it has put the field (RFC 9110, 8.6).
            Some(0) if is_head => Self::None,
            Some(len) => Self::Known(len),
            None => Self::Unknown,
        }
    }
}

impl Outgoing {
    pub(super) fn new(send: SendStream, small: BytesMut) -> Self {
        let queue = VecDeque::new();
        Self { send, small, queue, waiting: 0, content: 0, promised: None }
    }

    /// Bytes that wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.waiting + self.small.len()
    }

    /// Bytes of content so far.
    pub(super) fn content(&self) -> u64 {
        self.content
    }

    /// Puts an answer, but for content that still comes, which is returned.
    pub(super) fn put(
        &mut self,
        link: &Link,
        id: u64,
        is_head: bool,
        response: &mut Response,
    ) -> Option<Body> {
        let body = response.take_body();
        let length = Length::of(response, body.len(), is_head);
        self.put_head(link, id, response, length);
        if is_head || matches!(length, Length::None | Length::Known(0)) {
            return None;
        }
        match body.into_loaded() {
            Inner::Empty => None,
            Inner::Bytes(bytes) => {
                self.put_data(bytes);
                None
            }
            other => {
                self.promised = match length {
                    Length::Known(length) => Some(length),
                    _ => None,
                };
                Some(Body::from_inner(other))
            }
        }
    }

    /// Puts the next frame of a content; true if it was the last.
    pub(super) fn put_frame(
        &mut self,
        link: &Link,
        id: u64,
        frame: Frame<Bytes>,
    ) -> Result<bool, End> {
        match frame.into_data() {
            Ok(data) => {
                if !data.is_empty() {
                    self.put_data(data);
                }
                if self.promised.is_some_and(|promised| self.content > promised) {
                    return Err(io::Error::from(io::ErrorKind::InvalidData).into());
                }
                Ok(false)
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { return Ok(false) };
                self.put_section(link, id, None, &trailers);
                Ok(true)
            }
        }
    }

    /// Whether the content was as long as the head has promised.
    pub(super) fn check_length(&self) -> io::Result<()> {
        match self.promised {
            Some(promised) if promised != self.content => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Puts an answer before the answer (RFC 8297), but for fields that are about the connection.
    pub(super) fn put_interim(
        &mut self,
        link: &Link,
        id: u64,
        status: StatusCode,
        fields: &HeaderMap,
    ) {
        self.put_section(link, id, Some(status), fields);
    }

    /// Says that the stream goes on in another protocol: what is a 101 elsewhere (RFC 9220, RFC 8441
    /// section 5).
    pub(super) fn put_agreed(&mut self, link: &Link, id: u64, response: &Response) {
        self.put_section(link, id, Some(StatusCode::OK), response.headers());
    }

    fn put_section(
        &mut self,
        link: &Link,
        id: u64,
        status: Option<StatusCode>,
        fields: &HeaderMap,
    ) {
        let fields = fields.iter().filter(|(name, _)| **name != CONTENT_LENGTH && !is_ours(name));
        let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let mut section = BytesMut::new();
        link.encode(|encoder| encoder.encode(id, status, fields, &mut section));
        put_headers_head(section.len() as u64, &mut self.small);
        self.small.extend_from_slice(&section);
    }

    fn put_head(&mut self, link: &Link, id: u64, response: &Response, length: Length) {
        if self.small.capacity() - self.small.len() < ROOM / 8 {
            self.small.reserve(ROOM);
        }
        let known = match length {
            Length::Known(length) => Some(length),
            _ => None,
        };
        match response.prepared_fields() {
            // The same for everybody: nothing is looked up.
            Some(prepared) => {
                let (fields, sized) = prepared.qpack_fields(known);
                let length = known.filter(|_| !sized).map(ContentLength::new);
                let length = length.as_ref().map_or(&b""[..], ContentLength::as_bytes);
                let mut line = BytesMut::new();
                if !length.is_empty() {
                    StaticEncoder::put_line("content-length", length, &mut line);
                }
                with_start(&link.server, response.status(), |start| {
                    let all = start.len() + fields.len() + line.len();
                    put_headers_head(all as u64, &mut self.small);
                    self.small.extend_from_slice(start);
                });
                self.small.extend_from_slice(fields);
                self.small.extend_from_slice(&line);
            }
            None => self.put_fields(link, id, response, length),
        }
    }

    /// Puts the fields that a handlet has made, but for those that are the connection's business.
    fn put_fields(&mut self, link: &Link, id: u64, response: &Response, length: Length) {
        let map = response.headers();
        let status = response.status();
        // RFC 9110, 8.6: an answer without content may still name a length, but for 1xx and 204.
        let keeps_length = length == Length::None && status != StatusCode::NO_CONTENT;
        let own = map
            .iter()
            .filter(|(name, _)| !is_ours(name) && (**name != CONTENT_LENGTH || keeps_length))
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let knows_date = map.contains_key(DATE);
        let date = format_date(clock::calendar());
        let date = (!knows_date).then_some(("date", &date[..]));
        // Of one who knows the date we need not say who answers.
        let server = link.server.config.server_field.0.as_ref();
        let server = server.filter(|_| !knows_date && !map.contains_key(SERVER));
        let server = server.map(|server| ("server", server.as_bytes()));
        let length = match length {
            Length::Known(length) => Some(ContentLength::new(length)),
            _ => None,
        };
        let length = length.as_ref().map(|length| ("content-length", length.as_bytes()));
        let fields = server.into_iter().chain(date).chain(own).chain(length);
        let mut section = BytesMut::new();
        link.encode(|encoder| encoder.encode(id, Some(status), fields, &mut section));
        put_headers_head(section.len() as u64, &mut self.small);
        self.small.extend_from_slice(&section);
    }

    fn put_data(&mut self, data: Bytes) {
        self.content += data.len() as u64;
        put_data_head(data.len() as u64, &mut self.small);
        if data.len() <= SMALL {
            self.small.extend_from_slice(&data);
        } else {
            self.gather();
            self.waiting += data.len();
            self.queue.push_back(data);
        }
    }

    /// Puts bytes of a tunnel.
    pub(super) fn put_tunnel(&mut self, bytes: &[u8]) {
        put_data_head(bytes.len() as u64, &mut self.small);
        self.small.extend_from_slice(bytes);
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            let small = self.small.split().freeze();
            self.waiting += small.len();
            self.queue.push_back(small);
        }
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        self.gather();
        while !self.queue.is_empty() {
            let chunks = self.queue.make_contiguous();
            match poll_once(cx, self.send.write_chunks(chunks)) {
                Poll::Ready(written) => {
                    let written = written?;
                    self.waiting -= written.bytes;
                    self.queue.drain(..written.chunks);
                }
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }

    /// The same, where all has to go.
    pub(super) fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx)?);
        Poll::Ready(Ok(()))
    }

    /// Says that this was all.
    pub(super) fn finish(&mut self) {
        // It fails where the client has taken the request back.
        let _ = self.send.finish();
    }

    /// Breaks off, for the client to notice.
    pub(super) fn reset(&mut self, code: Code) {
        self.queue.clear();
        let _ = self.send.reset(code.value().into());
    }

    /// Is over when the client takes the request back, or is gone.
    pub(super) fn stopped(&self) -> impl Future<Output = io::Error> + Send + use<> {
        let stopped = self.send.stopped();
        async {
            match stopped.await {
                Ok(_) => io::ErrorKind::ConnectionReset.into(),
                Err(e) => io::Error::from(e),
            }
        }
    }

    /// Has the answer go before or after others, or along with them.
    pub(super) fn prioritize(&mut self, id: u64, priority: Priority) {
        let _ = self.send.set_priority(rank(id, priority));
    }

    /// The memory, for others.
    pub(super) fn into_buf(self) -> BytesMut {
        self.small
    }
}

/// The place of an answer among those of a connection: quinn sends what is of the highest first, and of what is of
/// the same something of each in turn. So what can be used in parts shares a place, that of answers of whose priority
/// nothing was said if they are as urgent; what can't has one of its own, in the order of requests (RFC 9218 section 10).
fn rank(id: u64, priority: Priority) -> i32 {
    const PLACES: u32 = 1 << 27;
    let urgency = (3 - i32::from(priority.urgency)) * PLACES as i32;
    if priority.incremental {
        return urgency;
    }
    let request = (id / 4 % u64::from(PLACES - 1)) as i32;
    urgency + (PLACES as i32 - 1 - request)
}

/// Whether a field is about a connection of HTTP/1.
fn is_ours(name: &HeaderName) -> bool {
    [CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name)
        || *name == KEEP_ALIVE
        || name == "sec-websocket-accept"
}

/// A length as text.
struct ContentLength(Vec<u8>);

impl ContentLength {
    fn new(length: u64) -> Self {
        let mut text = Vec::with_capacity(20);
        hemi_proto::ascii::push_decimal(&mut text, length);
        Self(text)
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The start of a field section: its prefix, the status, and the fields that every answer has.
struct Start {
    server: u64,
    /// When the date is no longer right.
    until: Moment,
    bytes: BytesMut,
}

/// Gives the start of a field section to `put`; that of most answers is made once a second on each core.
fn with_start(server: &Shared, status: StatusCode, put: impl FnOnce(&[u8])) {
    thread_local! {
        static OK: RefCell<Option<Start>> = const { RefCell::new(None) };
    }
    if status != StatusCode::OK {
        return put(&make_start(server, status, clock::calendar()));
    }
    OK.with_borrow_mut(|kept| {
        let now = clock::now();
        let start = match kept.take() {
            Some(start) if now < start.until && start.server == server.id() => start,
            _ => {
                let time = clock::calendar();
                let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let left =
                    Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
                let bytes = make_start(server, status, time);
                Start { server: server.id(), until: now.after(left), bytes }
            }
        };
        put(&kept.insert(start).bytes);
    });
}

fn make_start(server: &Shared, status: StatusCode, time: SystemTime) -> BytesMut {
    let mut out = BytesMut::new();
    StaticEncoder::put_prefix(&mut out);
    StaticEncoder::put_status(status, &mut out);
    if let Some(name) = &server.config.server_field.0 {
        StaticEncoder::put_line("server", name.as_bytes(), &mut out);
    }
    StaticEncoder::put_line("date", &format_date(time), &mut out);
    out
}
