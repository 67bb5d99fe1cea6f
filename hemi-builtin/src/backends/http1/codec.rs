//! HTTP/1.1 as a backend speaks it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hemi_core::io::Outbox;
use hemi_proto::http1::{
    BodyDecoder, BodyLength, Decoded as Content, HeadLimits, HeadReader, encode_chunk_head,
    encode_content_length, encode_last_chunk,
};
use hemi_web::{BoxError, Outgoing};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::backends::exchange::{Codec, Decoded, Head};

/// Answers on the way to the answer, at most.
const INTERIM: usize = 16;

/// One request, and the answer to it.
pub(super) struct Http1 {
    method: Method,
    /// How long nothing may pass after an upgrade, if the client wants one.
    upgrade: Option<Duration>,
    chunked: bool,
    limits: HeadLimits,
    heads: HeadReader,
    /// Memory for the answer's fields.
    fields: HeaderMap,
    /// Answers on the way to the answer that have come.
    interim: usize,
    /// Of the answer's content.
    decoder: BodyDecoder,
    keep_alive: bool,
}

impl Http1 {
    /// Puts the head of a request into `out`.
    pub(super) fn begin(
        request: &Outgoing<'_>,
        limits: HeadLimits,
        tunnel_timeout: Duration,
        out: &mut Outbox,
    ) -> Self {
        let chunked = put_head(request, out.small());
        Self {
            method: request.method.clone(),
            upgrade: request.upgrade.map(|_| tunnel_timeout),
            chunked,
            limits,
            heads: HeadReader::default(),
            fields: HeaderMap::new(),
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

    fn read_head(&mut self, buf: &mut BytesMut) -> Result<Option<Head>, BoxError> {
        loop {
            let head =
                self.heads.read_response(&self.method, buf, &mut self.fields, &self.limits)?;
            let Some(head) = head else { return Ok(None) };
            let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if switches && !(self.upgrade.is_some() && head.upgrade) {
                return Err("a 101 that nobody asked for".into());
            }
            if head.status.is_informational() && !switches {
                self.interim += 1;
                if self.interim > INTERIM {
                    return Err("too many answers on the way to the answer".into());
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
fn put_head(request: &Outgoing<'_>, out: &mut BytesMut) -> bool {
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
    let len = request.body.len();
    match len {
        Some(0) if !expects_content(request.method) => {}
        Some(len) => encode_content_length(out, len),
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    len.is_none()
}

fn put_field(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Fields that are about one connection, or made anew.
fn is_of_connection(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]
        .contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Whether the content's length is told even if there is none (RFC 9110, 8.6).
fn expects_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
