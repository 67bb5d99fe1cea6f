//! The content of a request on its way from the connection to whoever reads it.

use std::task::Context;

use bytes::{Bytes, BytesMut};
use hemi_core::clock::Moment;
use hemi_proto::http1::BodyLength;
use hemi_proto::http2::End;
use http::{HeaderMap, StatusCode};

use super::Line;
use crate::body::{Body, BodyError, Feed, incoming};
use crate::conn::watch::Pace;
use crate::http_config::{HttpConfig, Limit};

/// The content of one request. What waits to be read is bounded by the window of its stream.
pub(super) struct Upload {
    feed: Feed,
    /// What came first, as it came,
    first: Bytes,
    /// and what came after it, copied together: pieces may be small, and share large buffers.
    more: BytesMut,
    /// The end has come, with these trailers.
    end: Option<Option<HeaderMap>>,
    is_over: bool,
    /// The client waits for a 100 before it sends.
    expected: bool,
    received: u64,
    most: u64,
    pace: Pace,
    /// The reader waits for the client.
    starved: bool,
    fault: Option<Limit>,
}

impl Upload {
    /// Content framed as the head says, at most `most` bytes; and the body to read it by.
    pub(super) fn new(framing: BodyLength, expected: bool, most: u64) -> (Self, Body) {
        let len = match framing {
            BodyLength::Sized(len) => Some(len),
            _ => None,
        };
        let (feed, body) = incoming(len);
        let upload = Self {
            feed,
            first: Bytes::new(),
            more: BytesMut::new(),
            end: None,
            is_over: false,
            expected,
            received: 0,
            most,
            pace: Pace::default(),
            starved: false,
            fault: None,
        };
        (upload, Body::incoming(body))
    }

    /// Takes what has come.
    pub(super) fn receive(&mut self, data: Bytes, stream: u32, line: &mut Line<'_>) {
        self.expected = false;
        self.received += data.len() as u64;
        self.pace.progress(data.len() as u64);
        if self.fault.is_some() || self.feed.is_abandoned() {
            line.proto.read(stream, data.len(), line.out.small());
        } else if self.received > self.most && !self.feed.is_unlimited() {
            line.proto.read(stream, data.len(), line.out.small());
            self.fail(Limit::BodySize, BodyError::TooLarge(self.most));
            self.abandon(stream, line);
        } else if self.first.is_empty() && self.more.is_empty() {
            self.first = data;
        } else {
            self.more.extend_from_slice(&data);
        }
    }

    /// All has come.
    pub(super) fn received_all(&mut self, trailers: Option<HeaderMap>) {
        self.end = Some(trailers);
    }

    /// Gives the reader what it waits for; `true` if it got something, or the end.
    pub(super) fn pump(&mut self, cx: &Context<'_>, stream: u32, line: &mut Line<'_>) -> bool {
        self.starved = false;
        if self.is_over || !self.feed.wanted(cx) {
            return false;
        }
        let piece = if self.first.is_empty() {
            self.more.split().freeze()
        } else {
            std::mem::take(&mut self.first)
        };
        if !piece.is_empty() {
            line.proto.read(stream, piece.len(), line.out.small());
            self.feed.give(piece);
            return true;
        }
        if let Some(trailers) = self.end.take() {
            self.is_over = true;
            self.feed.end(Ok(trailers));
            return true;
        }
        if std::mem::take(&mut self.expected)
            && let Some(head) = line.proto.head(stream, line.out.small())
        {
            head.status(StatusCode::CONTINUE).finish(End::No);
        }
        self.starved = true;
        false
    }

    /// Lets go of what nobody reads any more.
    pub(super) fn abandon(&mut self, stream: u32, line: &mut Line<'_>) {
        let unread = self.first.len() + self.more.len();
        (self.first, self.more) = (Bytes::new(), BytesMut::new());
        if unread > 0 {
            line.proto.read(stream, unread, line.out.small());
        }
        line.proto.stop_reading(stream);
    }

    /// Until when the client has to send more, if it is waited for.
    pub(super) fn due(&mut self, config: &HttpConfig) -> Moment {
        if self.starved && !self.feed.is_unlimited() {
            self.pace.wait(config.body_timeout, config)
        } else {
            Moment::NEVER
        }
    }

    /// The client has taken too long.
    pub(super) fn expire(&mut self) {
        self.starved = false;
        self.fail(Limit::BodyTimeout, BodyError::Cut);
    }

    /// Whether nobody can read it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.feed.is_abandoned()
    }

    /// Bytes of it that have come.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The answer that the content's fault calls for, and its name.
    pub(super) fn fault(&self) -> Option<(StatusCode, Limit)> {
        let limit = self.fault?;
        let status = match limit {
            Limit::BodySize => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::REQUEST_TIMEOUT,
        };
        Some((status, limit))
    }

    fn fail(&mut self, limit: Limit, error: BodyError) {
        self.fault = Some(limit);
        self.is_over = true;
        self.feed.end(Err(error));
    }
}
