//! Answers on their way into the outbox: heads, and contents that are there or still come.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hemi_core::clock::{self, Moment};
use hemi_core::gate::Phase;
use hemi_core::io::{Io, LONG, Splice};
use hemi_core::panics::catch_call;
use hemi_proto::http1::{
    encode_chunk_head, encode_content_length, encode_last_chunk, encode_status_line,
};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, SERVER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{StatusCode, Version};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Asked, Conn, Cut, GATHERED, Heard, Next, Upload};
use crate::body::{Body, BoxError, Inner, Piece};
use crate::conn::watch::Pace;
use crate::http_config::Limit;
use crate::httpx::{Shared, Standing};
use crate::response::{KEEP_ALIVE, Until};
use crate::{Prepared, Response, error_page};

/// What a body gives; none after its end.
type NextFrame = Option<Result<http_body::Frame<Bytes>, crate::BodyError>>;

impl<I: Io + AsyncRead + AsyncWrite> Conn<I> {
    /// Puts the most common kind of answer into the outbox, in the shortest way; returns the bytes of its
    /// content. None if it is of another kind.
    pub(super) fn respond_whole(&mut self, response: &Response, asked: Asked) -> Option<u64> {
        let prepared = response.as_whole().filter(|_| response.status() == StatusCode::OK)?;
        self.put_whole(prepared, asked).then(|| prepared.content_len())
    }

    /// Puts a prepared answer; `false` if it is not to be sent as it was prepared.
    pub(super) fn put_whole(&mut self, prepared: &Prepared, asked: Asked) -> bool {
        let plain = asked.is_plain() && self.may_go_on(asked).is_ok();
        if plain {
            let out = self.out.small();
            self.server.put_start(out, StatusCode::OK, Standing::Both, self.now);
            out.extend_from_slice(prepared.http1_whole());
        }
        plain
    }

    /// Puts an answer into the outbox, or streams it; returns the bytes of its content too.
    pub(super) async fn respond(
        &mut self,
        response: &mut Response,
        asked: Asked,
        upload: &mut Option<Box<Upload>>,
    ) -> Result<(Next, u64), Cut> {
        let may_go_on = self.may_go_on(asked);
        if let Err(Some(limit)) = may_go_on {
            self.hit(limit);
        }
        let body = response.take_body();
        let framing = Framing::of(response, &body, asked);
        // What somebody still reads may be what the answer is made of.
        let give_up = upload.as_ref().is_some_and(|upload| {
            upload.is_abandoned() && !upload.is_complete() && !upload.is_worth_reading()
        });
        let close = give_up || framing == Framing::UntilClose || may_go_on.is_err();
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
                Inner::Pieces(pieces) => {
                    for piece in pieces {
                        match piece {
                            Piece::Bytes(bytes) => self.out.push(bytes),
                            Piece::File(file, range) => self.out.push_file(file, range),
                        }
                    }
                    self.flush().await?;
                }
                other => {
                    let body = Body::from_inner(other);
                    let streamed =
                        Box::pin(self.stream(body, framing, response.until(), upload)).await;
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
                let dropped = poll_fn(|cx| upload.poll_drop(cx, &mut self.line())).await?;
                self.now = clock::now();
                if dropped { Next::Another } else { Next::Linger }
            }
            Some(_) => Next::Linger,
            None if !close => Next::Another,
            // Who does not know that this answer is the last may be sending already.
            None if asked.keep_alive || !self.rbuf.is_empty() => Next::Linger,
            None => Next::Close,
        };
        Ok((next, sent))
    }

    /// Sends content as it comes, and meanwhile receives the request's, if that is what it is made of.
    async fn stream(
        &mut self,
        mut body: Body,
        framing: Framing,
        until: Until,
        upload: &mut Option<Box<Upload>>,
    ) -> Result<u64, Cut> {
        let mut sent = 0;
        let mut heard = Heard::default();
        self.watch.unlimited();
        loop {
            if let (None, Framing::Sized(promised)) = (&upload, framing) {
                sent += self.splice(&mut body, promised - sent).await?;
            }
            let frame = poll_fn(|cx| {
                if until == Until::Drain && self.watch.phase() != Phase::Serving {
                    return Poll::Ready(Ok(None));
                }
                self.poll_frame(cx, &mut body, upload, &mut heard)
            });
            let frame = frame.await?;
            heard.renew(&self.server.config);
            let frame = match frame {
                Some(Ok(frame)) => frame,
                // Only an end that looks like none tells the client.
                Some(Err(e)) => {
                    let fault = upload.as_ref().and_then(|upload| upload.fault());
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

    /// Has the kernel pass on what it can, if that is much; returns how much it was.
    async fn splice(&mut self, body: &mut Body, left: u64) -> Result<u64, Cut> {
        let passed = body.as_passed().filter(|_| left >= LONG);
        let source = passed.and_then(|body| body.source().map(|(_, len)| len));
        let Some(len) = source.filter(|len| (LONG..=left).contains(len)) else { return Ok(0) };
        if self.io.socket().is_none() {
            return Ok(0);
        }
        let Some(mut splice) = Splice::new() else { return Ok(0) };
        self.flush().await?;
        self.watch.unlimited();
        let (mut pace, mut taken, mut passed) = (Pace::default(), 0, 0);
        while passed < len {
            let step = poll_fn(|cx| {
                let (Some(body), Some(to)) = (body.as_passed(), self.io.socket()) else {
                    return Poll::Ready(Err(Cut::Gone(ErrorKind::NotConnected.into())));
                };
                let before = taken;
                let Some((from, rest)) = body.source() else {
                    return Poll::Ready(Err(Cut::Gone(ErrorKind::UnexpectedEof.into())));
                };
                let step = splice.poll(cx, from, to, before + rest, &mut taken);
                body.took(taken - before).map_err(gone)?;
                if let Poll::Ready(step) = step {
                    return Poll::Ready(step.map_err(|e| match splice.sender_failed() {
                        true => gone(body.fails(e)),
                        false => e.into(),
                    }));
                }
                if splice.awaits_room() {
                    let config = &self.server.config;
                    self.watch.until(pace.wait(config.send_timeout, config), Limit::SendTimeout);
                } else {
                    self.watch.unlimited();
                    body.waits(cx).map_err(gone)?;
                }
                self.watch.pending(cx)?;
                Poll::Pending
            });
            let step = step.await?;
            pace.progress(step);
            passed += step;
            tokio::task::coop::consume_budget().await;
        }
        self.watch.unlimited();
        Ok(passed)
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body,
        upload: &mut Option<Box<Upload>>,
        heard: &mut Heard,
    ) -> Poll<Result<NextFrame, Cut>> {
        loop {
            match catch_call(|| Pin::new(&mut *body).poll_frame(cx)) {
                Ok(Poll::Ready(frame)) => return Poll::Ready(Ok(frame)),
                Ok(Poll::Pending) => {}
                Err(panic) => {
                    self.server.count_panic(&self.req, &panic);
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
                if upload.as_ref().is_none_or(|upload| upload.is_complete()) {
                    self.line().listen(cx, heard)?;
                }
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

    /// Answers what is no request, after which nothing on the connection can be trusted.
    pub(super) fn refuse(&mut self, status: StatusCode, asked: Asked) {
        let mut response = error_page::page(status);
        let body = response.take_body();
        self.put_head(&response, asked, Framing::of(&response, &body, asked), true);
        match body.into_inner() {
            Inner::Bytes(bytes) if !asked.head => self.out.push(bytes),
            _ => {}
        }
    }

    pub(super) fn put_head(
        &mut self,
        response: &Response,
        asked: Asked,
        framing: Framing,
        close: bool,
    ) {
        let out = self.out.small();
        let len = match framing {
            Framing::Sized(len) => Some(len),
            _ => None,
        };
        let mut told = false;
        match response.prepared_fields() {
            Some(prepared) => {
                self.server.put_start(out, response.status(), Standing::Both, self.now);
                let (fields, sized) = prepared.http1_fields(len);
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
}

fn gone(error: BoxError) -> Cut {
    Cut::Gone(std::io::Error::other(error))
}

/// Puts a 103 (RFC 8297) with these fields, but for those that are about the connection.
pub(super) fn put_early_hints(out: &mut BytesMut, fields: &HeaderMap) {
    encode_status_line(out, StatusCode::EARLY_HINTS);
    for (name, value) in fields {
        let about = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(name);
        if !about && name != KEEP_ALIVE {
            put_field(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn put_field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// How the end of an answer's content is told (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, and no field says so.
    None,
    Sized(u64),
    Chunked,
    UntilClose,
}

impl Framing {
    pub(super) fn of(response: &Response, body: &Body, asked: Asked) -> Self {
        let status = response.status();
        if status.is_informational() || matches!(status.as_u16(), 204 | 304) {
            return Self::None;
        }
        if status == StatusCode::RESET_CONTENT {
            // There is none, and this has to be said (RFC 9110, 15.3.6).
            return Self::Sized(0);
        }
        match body.len() {
            // What a HEAD is answered without may be of any length: who knows it has put the field (RFC 9110, 8.6).
            Some(0) if asked.head => Self::None,
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
    // RFC 9110, 8.6: an answer without content may still name a length, but for 1xx and 204.
    let keeps_length = framing == Framing::None
        && !response.status().is_informational()
        && response.status() != StatusCode::NO_CONTENT;
    if let Some(lines) = response.passed_fields() {
        let standing = Standing::beside(lines.has(&DATE), lines.has(&SERVER));
        server.put_start(out, response.status(), standing, now);
        for (name, value) in lines.lines() {
            if !is_ours(name, keeps_length) {
                out.reserve(name.len() + value.len() + 4);
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
        return;
    }
    let map = response.headers();
    // Faster than two looks into the map, which are most often in vain.
    let has = |sought: HeaderName| map.keys().any(|name| *name == sought);
    let standing = Standing::beside(has(DATE), has(SERVER));
    server.put_start(out, response.status(), standing, now);
    for (name, value) in map {
        if !is_ours(name.as_str().as_bytes(), keeps_length) {
            put_field(out, name, value);
        }
    }
}

/// Whether a field is the connection's business, by its name in any case.
fn is_ours(name: &[u8], keeps_length: bool) -> bool {
    match name.len() {
        10 => {
            name.eq_ignore_ascii_case(b"connection")
                || name.eq_ignore_ascii_case(KEEP_ALIVE.as_bytes())
        }
        14 => !keeps_length && name.eq_ignore_ascii_case(b"content-length"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    }
}
