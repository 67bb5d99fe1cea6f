//! The client's side of a request's stream: its head, its content, its trailers.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hemi_core::quic::quinn::RecvStream;
use hemi_proto::http1::BodyLength;
use hemi_proto::http3::{Code, Fault, Part, RequestStream};
use hemi_proto::message::{Content, MessageError, RequestReader, TrailerReader};
use http::{HeaderMap, StatusCode, Version};
use tokio_util::io::poll_read_buf;

use super::End;
use super::link::Link;
use super::respond::Outgoing;
use crate::Request;
use crate::body::{Body, BodyError, Feed, incoming};
use crate::conn::watch::{Cut, Pace, Watch};
use crate::http_config::{HttpConfig, Limit};

/// Bytes that are read in one go: of heads, and of content.
const HEAD: usize = 4 << 10;
const PIECE: usize = 64 << 10;

/// Bytes of a request that are skipped once it has its answer, at most.
const REST: usize = 64 << 10;

/// What comes on the stream of a request.
pub(super) struct Receiver {
    id: u64,
    recv: RecvStream,
    buf: BytesMut,
    parts: RequestStream,
    /// The field section that is to be read next: of the head, then of the trailers.
    section: Option<Bytes>,
    /// All of the stream has been read.
    ended: bool,
    /// Bytes read for nobody.
    skipped: usize,
}

/// The content of a request on its way to whoever reads it.
pub(super) struct Upload {
    feed: Feed,
    /// The client waits for a 100 before it sends.
    expected: bool,
    received: u64,
    most: u64,
    pace: Pace,
    fault: Option<Limit>,
    over: bool,
}

impl Receiver {
    /// With a buffer that earlier ones have left.
    pub(super) fn new(recv: RecvStream, buf: BytesMut) -> Self {
        let id = recv.id().into();
        Self {
            id,
            recv,
            buf,
            parts: RequestStream::default(),
            section: None,
            ended: false,
            skipped: 0,
        }
    }

    /// Whether the request came before the handshake was over, so that it may be a replay.
    pub(super) fn is_early(&self) -> bool {
        self.recv.is_0rtt()
    }

    /// Reads the head into a request; or says with which status it is refused.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        link: &Link,
        req: &mut Request,
    ) -> Poll<Result<Option<StatusCode>, End>> {
        let limits = &link.server.heads;
        while self.section.is_none() {
            match self.parts.read(&mut self.buf, limits.head_size)? {
                Some(Part::Head(section)) => self.section = Some(section),
                Some(Part::HeadTooLarge) => {
                    link.cancel(self.id);
                    link.hit(Limit::HeadSize);
                    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                    return Poll::Ready(Ok(Some(status)));
                }
                Some(Part::Data(_) | Part::Trailers(_)) => {}
                None if ready!(self.poll_more(cx, HEAD))? == 0 => {
                    self.parts.end(&self.buf)?;
                    return Poll::Ready(Err(Fault::Stream(Code::RequestIncomplete).into()));
                }
                None => {}
            }
        }
        // Mostly the stream ends with the head, and that is known by now.
        if let Poll::Ready(more) = self.poll_more(cx, HEAD) {
            more?;
        }
        let content = match self.ended && self.buf.is_empty() {
            true => Content::None,
            false => Content::Follows,
        };
        let section = self.section.as_ref().map_or_else(Bytes::new, Bytes::clone);
        let mut reader = RequestReader::default();
        let line = |name: &_, value| reader.line(name, value, limits);
        ready!(link.decode(self.id, &section, line, cx))?;
        self.section = None;
        let finished = reader.finish(req.head_mut(), limits, Version::HTTP_3, content);
        Poll::Ready(match finished {
            Ok(()) => {
                if let BodyLength::Sized(length) = req.head().framing {
                    self.parts.promise(length);
                }
                Ok(None)
            }
            Err(MessageError::Refused(e)) => {
                link.hit(Limit::of_head(e));
                Ok(Some(e.status()))
            }
            Err(MessageError::Malformed(e)) => {
                link.hit(Limit::BadHead);
                tracing::debug!(peer = %link.peer(), "malformed request: {}", e.name());
                Err(Fault::Stream(Code::MessageError).into())
            }
        })
    }

    /// Reads on: how many bytes; 0 at the end.
    pub(super) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<std::io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if self.buf.capacity() - self.buf.len() < room / 4 {
            self.buf.reserve(room);
        }
        let read = ready!(poll_read_buf(Pin::new(&mut self.recv), cx, &mut self.buf))?;
        self.ended = read == 0;
        Poll::Ready(Ok(read))
    }

    /// Whether the client can send nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// Skips what the client still sends; over at its end, or when it is too much.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.ended && self.skipped < REST {
            self.buf.clear();
            match ready!(self.poll_more(cx, HEAD)) {
                Ok(read) => self.skipped += read,
                Err(_) => break,
            }
        }
        Poll::Ready(())
    }

    /// The next bytes of a tunnel; none at its end.
    pub(super) fn poll_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, End>> {
        loop {
            match self.parts.read(&mut self.buf, 0)? {
                Some(Part::Data(piece)) => return Poll::Ready(Ok(Some(piece))),
                Some(_) => {}
                None if ready!(self.poll_more(cx, PIECE / 4))? == 0 => {
                    self.parts.end(&self.buf)?;
                    return Poll::Ready(Ok(None));
                }
                None => {}
            }
        }
    }

    /// Says that what follows are the bytes of another protocol.
    pub(super) fn tunnel(&mut self) {
        self.parts.tunnel();
    }

    /// Tells the client to send no more, if it still does.
    pub(super) fn stop(&mut self, code: Code) {
        if !self.ended {
            self.ended = true;
            // It fails where the stream has ended already.
            let _ = self.recv.stop(code.value().into());
        }
    }

    /// The memory, for others.
    pub(super) fn into_buf(mut self) -> BytesMut {
        let mut buf = std::mem::take(&mut self.buf);
        buf.clear();
        buf
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The answer does without the rest (RFC 9114 section 4.1).
        self.stop(Code::NoError);
    }
}

impl Upload {
    /// Content framed as the head says, at most `most` bytes; and the body to read it by.
    pub(super) fn new(framing: BodyLength, expected: bool, most: u64) -> (Self, Body) {
        let len = match framing {
            BodyLength::Sized(len) => Some(len),
            _ => None,
        };
        let (feed, body) = incoming(len);
        let (pace, fault) = (Pace::default(), None);
        let upload = Self { feed, expected, received: 0, most, pace, fault, over: false };
        (upload, Body::incoming(body))
    }

    /// The answer that the content's fault calls for, and its name.
    pub(super) fn fault(&self) -> Option<(StatusCode, Limit)> {
        let limit = self.fault?;
        let status = match limit {
            Limit::BodySize => StatusCode::PAYLOAD_TOO_LARGE,
            Limit::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        Some((status, limit))
    }

    /// Bytes of it that have come.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Gives the reader what it waits for; `true` if it got something, or the end.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        receiver: &mut Receiver,
        out: &mut Outgoing,
        link: &Link,
        watch: &mut Watch,
    ) -> Result<bool, End> {
        if self.over || !self.feed.wanted(cx) {
            return Ok(false);
        }
        loop {
            if receiver.section.is_some() {
                return self.trailers(cx, receiver, link);
            }
            match receiver.parts.read(&mut receiver.buf, 0)? {
                Some(Part::Data(piece)) => {
                    self.received += piece.len() as u64;
                    if self.received > self.most && !self.feed.is_unlimited() {
                        return Ok(self.fail(Limit::BodySize, BodyError::TooLarge(self.most)));
                    }
                    self.feed.give(piece);
                    return Ok(true);
                }
                Some(Part::Trailers(section)) => {
                    receiver.section = Some(section);
                    continue;
                }
                Some(Part::Head(_) | Part::HeadTooLarge) => continue,
                None => {}
            }
            if std::mem::take(&mut self.expected) {
                out.put_interim(link, receiver.id, StatusCode::CONTINUE, &HeaderMap::new());
                let _ = out.poll_flush(cx)?;
            }
            match receiver.poll_more(cx, PIECE) {
                Poll::Ready(Ok(0)) => {
                    return match receiver.parts.end(&receiver.buf) {
                        Ok(()) => Ok(self.end(Ok(None))),
                        Err(Fault::Stream(_)) => Ok(self.fail(Limit::BadBody, BodyError::Cut)),
                        Err(fault) => Err(fault.into()),
                    };
                }
                Poll::Ready(Ok(got)) => {
                    self.pace.progress(got as u64);
                    watch.unlimited();
                }
                // The client has taken the request back, or is gone.
                Poll::Ready(Err(e)) => {
                    self.fail(Limit::BadBody, BodyError::Cut);
                    return Err(e.into());
                }
                Poll::Pending => return self.wait(cx, &link.server.config, watch),
            }
        }
    }

    fn wait(
        &mut self,
        cx: &Context<'_>,
        config: &HttpConfig,
        watch: &mut Watch,
    ) -> Result<bool, End> {
        if self.feed.is_unlimited() {
            watch.unlimited();
        } else {
            watch.until(self.pace.wait(config.body_timeout, config), Limit::BodyTimeout);
        }
        match watch.pending(cx) {
            Err(Cut::Limit(Limit::BodyTimeout)) => {
                Ok(self.fail(Limit::BodyTimeout, BodyError::Cut))
            }
            other => Ok(other.map(|()| false)?),
        }
    }

    fn trailers(
        &mut self,
        cx: &mut Context<'_>,
        receiver: &mut Receiver,
        link: &Link,
    ) -> Result<bool, End> {
        let mut reader = TrailerReader::default();
        let section = receiver.section.as_ref().map_or_else(Bytes::new, Bytes::clone);
        match link.decode(receiver.id, &section, |name, value| reader.line(name, value), cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(decoded) => decoded?,
        }
        receiver.section = None;
        match reader.finish() {
            Ok(trailers) => Ok(self.end(Ok(Some(trailers)))),
            Err(_) => Ok(self.fail(Limit::BadBody, BodyError::Cut)),
        }
    }

    fn end(&mut self, end: Result<Option<HeaderMap>, BodyError>) -> bool {
        self.over = true;
        self.feed.end(end);
        true
    }

    fn fail(&mut self, limit: Limit, error: BodyError) -> bool {
        self.fault = Some(limit);
        self.end(Err(error))
    }
}

/// Polls a future once that is made anew each time.
pub(super) fn poll_once<F: Future>(cx: &mut Context<'_>, future: F) -> Poll<F::Output> {
    pin!(future).poll(cx)
}
