//! The content of a request on its way from the connection to whoever reads it.

use std::io;
use std::task::{Context, Poll};

use bytes::BytesMut;
use hemi_core::clock::{self, Moment};
use hemi_core::io::{Io, Outbox, pool};
use hemi_proto::http1::{BodyDecoder, BodyLength, CONTINUE, Decoded};
use http::StatusCode;

use super::watch::{Cut, Pace, Watch};
use crate::body::{Body, BodyError, Feed, incoming};
use crate::http_config::{HttpConfig, Limit};

/// Room for the next piece of content that is known to be long.
const PIECE: usize = 64 << 10;

/// Content up to this many bytes that nobody read is read and dropped, to keep the connection.
const DROPPED: u64 = 64 << 10;

/// The content of one request.
pub(super) struct Upload {
    feed: Feed,
    decoder: BodyDecoder,
    /// The client waits for a 100 before it sends.
    expected: bool,
    received: u64,
    /// Bytes that nobody read.
    dropped: u64,
    most: u64,
    pace: Pace,
    fault: Option<Limit>,
}

/// The connection, as far as an upload needs it.
pub(super) struct Line<'a, I> {
    pub(super) io: &'a mut I,
    pub(super) rbuf: &'a mut BytesMut,
    pub(super) out: &'a mut Outbox,
    pub(super) watch: &'a mut Watch,
    pub(super) config: &'a HttpConfig,
}

impl<I: Io> Line<'_, I> {
    /// Reads ahead while an answer is still made, at most a buffer, to learn if nobody waits for it any more.
    /// Who only sends no more may still wait, but not for long.
    pub(super) fn listen(&mut self, cx: &mut Context<'_>, heard: &mut Heard) -> Result<(), Cut> {
        while heard.until.is_none() && self.rbuf.len() < pool::BUFFER {
            if self.rbuf.capacity() == 0 {
                *self.rbuf = pool::take();
            } else if self.rbuf.capacity() == self.rbuf.len() {
                self.rbuf.reserve(pool::BUFFER);
            }
            match self.io.poll_recv(cx, self.rbuf) {
                Poll::Ready(Ok(1..)) => continue,
                Poll::Ready(Ok(0)) => {}
                // Over TLS that is an end of which nothing was said.
                Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {}
                Poll::Ready(Err(e)) => return Err(e.into()),
                Poll::Pending => break,
            }
            heard.until = Some(clock::now().after(self.config.half_closed_timeout));
        }
        if let Some(until) = heard.until {
            self.watch.until(until, Limit::HalfClosedTimeout);
        }
        // Who waits holds no buffer.
        if self.rbuf.is_empty() {
            pool::give(std::mem::take(self.rbuf));
        }
        Ok(())
    }
}

/// What was heard of a client who waits for its answer.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// It has said that it sends no more, and is waited for until then.
    until: Option<Moment>,
}

impl Heard {
    /// Something goes to the client, which it may still take.
    pub(super) fn renew(&mut self, config: &HttpConfig) {
        self.until = self.until.map(|_| clock::now().after(config.half_closed_timeout));
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
        let decoder = BodyDecoder::new(framing);
        let (pace, fault) = (Pace::default(), None);
        (
            Self { feed, decoder, expected, received: 0, dropped: 0, most, pace, fault },
            Body::incoming(body),
        )
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

    /// Bytes of it that have come; of what nobody read, with the heads of chunks.
    pub(super) fn received(&self) -> u64 {
        self.received + self.dropped
    }

    /// Whether all of it has come.
    pub(super) fn is_complete(&self) -> bool {
        self.decoder.is_ended()
    }

    /// Whether nobody can read it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.feed.is_abandoned()
    }

    /// Whether what is left seems so little that reading it costs less than a new connection.
    pub(super) fn is_worth_reading(&self) -> bool {
        self.fault.is_none()
            && !self.expected
            && self.decoder.remaining().unwrap_or(self.dropped) <= DROPPED
    }

    /// Drops what is in the read buffer already.
    pub(super) fn drop_buffered(&mut self, rbuf: &mut BytesMut) {
        if self.fault.is_some() || self.expected {
            return;
        }
        let before = rbuf.len();
        loop {
            match self.decoder.decode(rbuf) {
                Ok(Decoded::Data(_)) => {}
                Ok(Decoded::NeedMore | Decoded::End(_)) => break,
                Err(e) => {
                    self.fail(Limit::BadBody, e.into());
                    break;
                }
            }
        }
        self.dropped += (before - rbuf.len()) as u64;
    }

    /// Gives the reader what it waits for; `true` if it got something, or the end.
    pub(super) fn pump<I: Io>(
        &mut self,
        cx: &mut Context<'_>,
        line: &mut Line<'_, I>,
    ) -> Result<bool, Cut> {
        if self.fault.is_some() || self.is_complete() || !self.feed.wanted(cx) {
            return Ok(false);
        }
        loop {
            match self.decoder.decode(line.rbuf) {
                Ok(Decoded::Data(piece)) => {
                    self.received += piece.len() as u64;
                    if self.received > self.most && !self.feed.is_unlimited() {
                        return Ok(self.fail(Limit::BodySize, BodyError::TooLarge(self.most)));
                    }
                    self.feed.give(piece);
                    if self.is_complete() {
                        self.feed.end(Ok(None));
                    }
                    return Ok(true);
                }
                Ok(Decoded::End(trailers)) => {
                    self.feed.end(Ok(trailers));
                    return Ok(true);
                }
                Ok(Decoded::NeedMore) => {}
                Err(e) => return Ok(self.fail(Limit::BadBody, e.into())),
            }
            if std::mem::take(&mut self.expected) {
                line.out.small().extend_from_slice(CONTINUE);
            }
            if let Poll::Ready(sent) = line.io.poll_send(cx, line.out) {
                sent?;
            }
            let long = self.decoder.remaining().is_none_or(|left| left > pool::BUFFER as u64);
            line.rbuf.reserve(if long { PIECE } else { pool::BUFFER });
            match line.io.poll_recv(cx, line.rbuf)? {
                Poll::Ready(0) => return Ok(self.fail(Limit::BadBody, BodyError::Cut)),
                Poll::Ready(got) => {
                    self.pace.progress(got as u64);
                    line.watch.unlimited();
                }
                Poll::Pending => {
                    if self.feed.is_unlimited() {
                        line.watch.unlimited();
                    } else {
                        let at = self.pace.wait(line.config.body_timeout, line.config);
                        line.watch.until(at, Limit::BodyTimeout);
                    }
                    return match line.watch.pending(cx) {
                        Err(Cut::Limit(Limit::BodyTimeout)) => {
                            Ok(self.fail(Limit::BodyTimeout, BodyError::Cut))
                        }
                        other => other.map(|()| false),
                    };
                }
            }
        }
    }

    /// Reads and drops what is left; `false` if it is no content, or too much of it.
    pub(super) fn poll_drop<I: Io>(
        &mut self,
        cx: &mut Context<'_>,
        line: &mut Line<'_, I>,
    ) -> Poll<Result<bool, Cut>> {
        loop {
            self.drop_buffered(line.rbuf);
            if self.is_complete() || !self.is_worth_reading() {
                return Poll::Ready(Ok(self.is_complete()));
            }
            line.rbuf.reserve(pool::BUFFER);
            match line.io.poll_recv(cx, line.rbuf)? {
                Poll::Ready(0) => return Poll::Ready(Err(Cut::Limit(Limit::BadBody))),
                Poll::Ready(got) => self.pace.progress(got as u64),
                Poll::Pending => {
                    let at = self.pace.wait(line.config.body_timeout, line.config);
                    line.watch.until(at, Limit::BodyTimeout);
                    line.watch.pending(cx)?;
                    return Poll::Pending;
                }
            }
        }
    }

    fn fail(&mut self, limit: Limit, error: BodyError) -> bool {
        self.fault = Some(limit);
        self.feed.end(Err(error));
        true
    }
}
