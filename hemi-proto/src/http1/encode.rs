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

/// Appends the Content-Length field for `length` bytes of content, with its CRLF.
pub fn encode_content_length(out: &mut BytesMut, length: u64) {
    out.extend_from_slice(b"content-length: ");
    push_decimal(out, length);
    out.extend_from_slice(b"\r\n");
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::{BodyDecoder, BodyLength, Decoded, HeadLimits, HeadReader, RequestHead};
    use super::*;

    fn fields() -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.append("host", HeaderValue::from_static("a:80"));
        fields.append("a", HeaderValue::from_static("1"));
        fields.append("a", HeaderValue::from_static("2"));
        fields.append("b", HeaderValue::from_static(""));
        fields
    }

    #[test]
    fn status_lines() {
        for code in 100..=999 {
            let status = StatusCode::from_u16(code).expect("status");
            let mut out = BytesMut::new();
            encode_status_line(&mut out, status);
            assert_eq!(out, format!("HTTP/1.1 {code} {}\r\n", reason_phrase(status)).as_bytes());
        }
        assert_eq!(reason_phrase(StatusCode::from_u16(599).expect("status")), "");
    }

    #[test]
    fn response_head() {
        let mut out = BytesMut::from("before");
        encode_response(&mut out, StatusCode::OK, &fields());
        let expected = "beforeHTTP/1.1 200 OK\r\nhost: a:80\r\na: 1\r\na: 2\r\nb: \r\n\r\n";
        assert_eq!(out, expected);

        let mut out = BytesMut::new();
        encode_response(&mut out, StatusCode::CONTINUE, &HeaderMap::new());
        assert_eq!(out, CONTINUE);
    }

    #[test]
    fn request_head_is_read_back() {
        let mut out = BytesMut::new();
        encode_request(&mut out, &Method::POST, b"/a?b", &fields()).expect("target");
        encode_content_length(&mut out, 7);
        assert!(out.ends_with(b"\r\n\r\ncontent-length: 7\r\n"));
        let mut head = RequestHead::default();
        let read = HeadReader::default().read_request(&mut out, &mut head, &HeadLimits::default());
        assert_eq!(read, Ok(true));
        assert_eq!(head.method, Method::POST);
        assert_eq!(head.target.path_and_query(), "/a?b");
        assert_eq!(*head.headers, fields());
        assert_eq!(out, "content-length: 7\r\n");
    }

    #[test]
    fn targets_that_would_break_the_line() {
        let bad_targets =
            [&b""[..], b"/ HTTP/1.1\r\nA: b", b"/a b", b"/a\n", b"/\0", b"/\xff", b"/#"];
        for target in bad_targets {
            let mut out = BytesMut::new();
            let result = encode_request(&mut out, &Method::GET, target, &HeaderMap::new());
            assert_eq!(result, Err(InvalidTarget), "{target:?}");
            assert!(out.is_empty());
        }
    }

    #[test]
    fn chunks_are_read_back() {
        let data = vec![b'x'; 0x1a2b];
        let mut out = BytesMut::new();
        encode_chunk_head(&mut out, 0);
        encode_chunk_head(&mut out, data.len() as u64);
        assert_eq!(out, "1a2b\r\n");
        out.extend_from_slice(&data);
        out.extend_from_slice(b"\r\n");
        let mut trailers = HeaderMap::new();
        trailers.append("digest", HeaderValue::from_static("y"));
        encode_last_chunk(&mut out, &trailers);

        let mut body = BodyDecoder::new(BodyLength::Chunked);
        assert_eq!(body.decode(&mut out), Ok(Decoded::Data(data.into())));
        assert_eq!(body.decode(&mut out), Ok(Decoded::End(Some(trailers))));
        assert!(out.is_empty());
    }
}
