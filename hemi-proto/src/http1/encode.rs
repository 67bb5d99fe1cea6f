//! Writes heads and chunks, appending to a write buffer.
//!
//! No byte that ends a line can get in: `HeaderName`, `HeaderValue`, `Method` and `StatusCode`
//! can't hold one, and targets are checked.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode};
use thiserror::Error;

use super::target::is_target_byte;
use crate::ascii::{push_decimal, push_hex};

/// The interim response that asks for the content of a request with `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends a whole response head: status line, fields and the empty line. Also for 1xx.
pub fn encode_response(out: &mut BytesMut, status: StatusCode, headers: &HeaderMap) {
    out.reserve(32 + fields_size(headers));
    encode_status_line(out, status);
    encode_fields(out, headers);
    out.extend_from_slice(b"\r\n");
}

/// Appends a status line with its CRLF. The version is always the one we speak, 1.1 (RFC 9110
/// section 6.2), also to a client of HTTP/1.0.
pub fn encode_status_line(out: &mut BytesMut, status: StatusCode) {
    if let Some(line) = common_status_line(status) {
        out.extend_from_slice(line);
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The registered reason phrase of `status`; empty for an unregistered one.
pub fn reason_phrase(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}

/// Appends the fields of `headers`, each with its CRLF, without the empty line.
pub fn encode_fields(out: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a whole request head. `target` is sent as it is, in whichever form fits the method.
pub fn encode_request(
    out: &mut BytesMut,
    method: &Method,
    target: &[u8],
    headers: &HeaderMap,
) -> Result<(), InvalidTarget> {
    if target.is_empty() || !target.iter().all(|&b| is_target_byte(b)) {
        return Err(InvalidTarget);
    }
    out.reserve(32 + target.len() + fields_size(headers));
    out.extend_from_slice(method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    encode_fields(out, headers);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// A request target that is empty or has a byte that no target may have.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("request target has a forbidden byte")]
pub struct InvalidTarget;

/// Appends the line before `size` bytes of chunk data. CRLF is to follow the data.
///
/// Nothing is appended for 0, which would end the content: use [`encode_last_chunk`] for that.
pub fn encode_chunk_head(out: &mut BytesMut, size: u64) {
    if size > 0 {
        push_hex(out, size);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the last chunk, with the fields of `trailers`, and the empty line that ends the content.
pub fn encode_last_chunk(out: &mut BytesMut, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    encode_fields(out, trailers);
    out.extend_from_slice(b"\r\n");
}

fn fields_size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

macro_rules! status_lines {
    ($status:ident: $($code:literal $phrase:literal,)*) => {
        match $status.as_u16() {
            $($code => Some(
                concat!("HTTP/1.1 ", stringify!($code), " ", $phrase, "\r\n").as_bytes()
            ),)*
            _ => None,
        }
    };
}

fn common_status_line(status: StatusCode) -> Option<&'static [u8]> {
    status_lines! { status:
        200 "OK",
        204 "No Content",
        206 "Partial Content",
        301 "Moved Permanently",
        302 "Found",
        304 "Not Modified",
        400 "Bad Request",
        403 "Forbidden",
        404 "Not Found",
        500 "Internal Server Error",
        502 "Bad Gateway",
        503 "Service Unavailable",
    }
}

/// Appends `Content-Length: ` for content of `length` bytes, with CRLF.
pub fn encode_content_length(out: &mut BytesMut, length: u64) {
    out.extend_from_slice(b"content-length: ");
    push_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}
