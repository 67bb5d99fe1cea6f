//! HTTP/1.1 as a backend speaks it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hemi_core::io::Outbox;
use hemi_proto::http1::{
    BodyDecoder, BodyLength, Decoded as Content, HeadLimits, HeadReader, encode_chunk_head,
    encode_content_length, encode_last_chunk,
};
use hemi_proto::websocket::handshake::{key, proves};
use hemi_web::{BoxError, Interim, Outgoing};
use http::header::SEC_WEBSOCKET_ACCEPT;
use http::{HeaderMap, Method, StatusCode};

use crate::backends::exchange::{Codec, Decoded, Head};

/// Answers on the way to the answer, at most.
const INTERIM: usize = 16;

/// One request, and the answer to it.
pub(in crate::backends) struct Http1 {
    method: Method,
    /// How long nothing may pass after an upgrade, if the client wants one.
    upgrade: Option<Duration>,
    /// What a node has to prove to have read, if the client has not sent a key of its own.
    key: Option<String>,
    chunked: bool,
    limits: HeadLimits,
    heads: HeadReader,
    /// Answers on the way to the answer that have come.
    interim: usize,
    /// Of the answer's content.
    decoder: BodyDecoder,
    keep_alive: bool,
}

impl Http1 {
    /// Of a request that was sent in another way, with its content as it is.
    pub(in crate::backends) fn answering(method: Method, limits: HeadLimits) -> Self {
        Self {
            method,
            upgrade: None,
            key: None,
            chunked: false,
            limits,
            heads: HeadReader::default(),
            interim: 0,
            decoder: BodyDecoder::new(BodyLength::None),
            keep_alive: false,
        }
    }

    /// Puts the head of a request with content of this length, if that is known, into `out`.
    pub(super) fn begin(
        request: &Outgoing<'_>,
        len: Option<u64>,
        limits: HeadLimits,
        tunnel_timeout: Duration,
        out: &mut Outbox,
    ) -> Self {
        let key = websocket_key(request);
        let chunked = put_head(request, len, key.as_deref(), out.small());
        Self {
            method: request.method.clone(),
            upgrade: request.upgrade.map(|_| tunnel_timeout),
            key,
            chunked,
            limits,
            heads: HeadReader::default(),
            interim: 0,
            decoder: BodyDecoder::new(BodyLength::None),
            keep_alive: false,
        }
    }
}

impl Codec for Http1 {
    fn put_data(&mut self, out: &mut Outbox, data: Bytes) {
        if self.chunked {
            encode_chunk_head(out.small(), data.len() as u64);
            out.push(data);
            out.small().extend_from_slice(b"\r\n");
        } else {
            out.push(data);
        }
    }

    fn put_end(&mut self, out: &mut Outbox, trailers: &HeaderMap) {
        if self.chunked {
            encode_last_chunk(out.small(), trailers);
        }
    }

    fn read_head(
        &mut self,
        buf: &mut BytesMut,
        hints: Option<&Interim>,
    ) -> Result<Option<Head>, BoxError> {
        loop {
            let head = self.heads.read_response(&self.method, buf, &self.limits)?;
            let Some(mut head) = head else { return Ok(None) };
            let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if switches && !(self.upgrade.is_some() && head.upgrade) {
                return Err("a 101 that nobody asked for".into());
            }
            if let Some(key) = self.key.as_ref().filter(|_| switches) {
                if !proves(&head.headers, key) {
                    return Err("the node does not prove that it speaks WebSocket".into());
                }
                head.headers.remove(SEC_WEBSOCKET_ACCEPT);
            }
            if head.status.is_informational() && !switches {
                self.interim += 1;
                if self.interim > INTERIM {
                    return Err("too many answers on the way to the answer".into());
                }
                if head.status == StatusCode::EARLY_HINTS {
                    _ = hints.map(|hints| hints.push(head.headers.into()));
                }
                continue;
            }
            self.decoder = BodyDecoder::new(head.framing);
            self.keep_alive = head.keep_alive;
            return Ok(Some(Head {
                status: head.status,
                headers: head.headers,
                upgrades: self.upgrade.filter(|_| switches),
            }));
        }
    }

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BoxError> {
        Ok(match self.decoder.decode(buf)? {
            Content::Data(data) => Decoded::Data(data),
            Content::NeedMore => Decoded::NeedMore,
            Content::End(trailers) => Decoded::End(trailers),
        })
    }

    fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    fn unframed(&self) -> Option<u64> {
        // What ends with the connection is not known to be there.
        self.decoder.remaining()
    }

    fn skip(&mut self, bytes: u64) {
        self.decoder.skip(bytes);
    }

    fn close(&mut self) -> Result<(), BoxError> {
        Ok(self.decoder.finish()?)
    }

    fn is_ended(&self) -> bool {
        self.decoder.is_ended()
    }

    fn may_keep(&self) -> bool {
        self.keep_alive
    }
}

/// Returns whether the content is to be sent in chunks.
fn put_head(
    request: &Outgoing<'_>,
    len: Option<u64>,
    key: Option<&str>,
    out: &mut BytesMut,
) -> bool {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(request.target);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(&request.authority);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(request.fields.as_bytes());
    if let Some(protocol) = request.upgrade {
        out.extend_from_slice(b"upgrade: ");
        out.extend_from_slice(protocol);
        out.extend_from_slice(b"\r\nconnection: upgrade\r\n");
    }
    if let Some(key) = key {
        out.extend_from_slice(b"sec-websocket-key: ");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match len {
        Some(0) if !expects_content(request.method) => {}
        Some(len) => encode_content_length(out, len),
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    len.is_none()
}

/// A key for a WebSocket that a client of HTTP/2 or HTTP/3 asks for, where there are none.
fn websocket_key(request: &Outgoing<'_>) -> Option<String> {
    let has_key = |(name, _): (&[u8], &[u8])| name.eq_ignore_ascii_case(b"sec-websocket-key");
    let wanted = request.upgrade?.eq_ignore_ascii_case(b"websocket");
    if !wanted || request.fields.iter().any(has_key) {
        return None;
    }
    let mut random = [0; 16];
    // Without, the node refuses.
    getrandom::fill(&mut random).ok().map(|()| key(random))
}

/// Whether the content's length is told even if there is none (RFC 9110, 8.6).
pub(in crate::backends) fn expects_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
