//! Heads as HTTP/3 has them.

use bytes::{Bytes, BytesMut};
use hemi_proto::http1::HeadLimits;
use hemi_proto::http3::qpack::{Decoded, Decoder, StaticEncoder};
use hemi_proto::http3::{Code, put_headers_head};
use hemi_proto::message::{FieldName, MessageError, ResponseFields, ResponseReader, TrailerReader};
use hemi_web::{BoxError, Outgoing};
use http::header::SEC_WEBSOCKET_KEY;
use http::{HeaderMap, Method};

use crate::backends::http1::expects_content;

/// Appends the HEADERS frame of a request with content of this length, if that is known.
pub(super) fn put_head(request: &Outgoing<'_>, length: Option<u64>, out: &mut BytesMut) {
    let mut section = BytesMut::new();
    StaticEncoder::put_prefix(&mut section);
    let mut put = |name: &str, value: &[u8]| StaticEncoder::put_line(name, value, &mut section);
    // RFC 9220: an extended CONNECT, as in HTTP/2 (RFC 8441, 4).
    let method = if request.upgrade.is_some() { Method::CONNECT } else { request.method.clone() };
    put(":method", method.as_str().as_bytes());
    if request.upgrade.is_some() {
        put(":protocol", b"websocket");
    }
    put(":scheme", if request.secure { &b"https"[..] } else { b"http" });
    put(":authority", &request.authority);
    put(":path", request.target);
    for (name, value) in request.fields.iter() {
        let name = name.to_ascii_lowercase();
        // Which nobody has to prove to have read (RFC 8441, 5).
        if request.upgrade.is_some() && name == SEC_WEBSOCKET_KEY.as_str().as_bytes() {
            continue;
        }
        // Names are tokens.
        put(str::from_utf8(&name).unwrap_or_default(), value);
    }
    if request.trailers {
        put("te", b"trailers");
    }
    match length {
        _ if request.upgrade.is_some() => {}
        Some(0) if !expects_content(request.method) => {}
        Some(length) => put("content-length", length.to_string().as_bytes()),
        None => {}
    }
    put_section(&section, out);
}

/// Appends the HEADERS frame of trailers.
pub(super) fn put_trailers(trailers: &HeaderMap, out: &mut BytesMut) {
    let mut section = BytesMut::new();
    StaticEncoder::put_prefix(&mut section);
    for (name, value) in trailers {
        StaticEncoder::put_line(name.as_str(), value.as_bytes(), &mut section);
    }
    put_section(&section, out);
}

fn put_section(section: &[u8], out: &mut BytesMut) {
    put_headers_head(section.len() as u64, out);
    out.extend_from_slice(section);
}

/// What is wrong with a field section: with the connection, or with the message.
pub(super) enum Bad {
    Connection(Code),
    Message(BoxError),
}

/// Reads the head of an answer.
pub(super) fn read_head(section: &Bytes, limits: &HeadLimits) -> Result<ResponseFields, Bad> {
    let mut reader = ResponseReader::default();
    lines(section, |name, value| reader.line(name, value, limits))?;
    reader.finish().map_err(|e| Bad::Message(e.into()))
}

/// Reads the trailers of an answer.
pub(super) fn read_trailers(section: &Bytes) -> Result<HeaderMap, Bad> {
    let mut reader = TrailerReader::default();
    lines(section, |name, value| reader.line(name, value))?;
    reader.finish().map_err(|e| Bad::Message(MessageError::from(e).into()))
}

fn lines(section: &Bytes, line: impl FnMut(&FieldName, Bytes)) -> Result<(), Bad> {
    // The node was told that there is no table.
    match Decoder::new(0, 0).decode(0, section, line) {
        Ok(Decoded::Whole) => Ok(()),
        Ok(Decoded::Blocked(_)) => Err(Bad::Connection(Code::DecompressionFailed)),
        Err(code) => Err(Bad::Connection(code)),
    }
}
