//! Response heads, for clients and proxies (RFC 9112 section 4).

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode, Version};

use super::fields::ControlFields;
use super::framing::{announced, has_no_content};
use super::head::{check_line_ends, diagnose, with_slots};
use super::scan::{ScannedFields, ScannedResponse, scan_response};
use super::{BodyLength, HeadError, HeadLimits};
use crate::fields::Fields;

/// Bytes of content that a head does not share memory with.
const MUCH: usize = 4 << 10;

/// A response head that has passed every check.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 100 to 999; a status from 100 to 199 announces another head.
    pub status: StatusCode,
    /// The reason phrase, possibly empty; it means nothing.
    pub reason: Bytes,
    /// 1.0 or 1.1.
    pub version: Version,
    /// All fields in the order of their arrival.
    pub headers: Fields,
    /// How the content is framed.
    pub framing: BodyLength,
    /// Whether the connection can carry another request once the content was read.
    pub keep_alive: bool,
    /// Whether the server switches to the protocol in its Upgrade field (status 101 only).
    pub upgrade: bool,
}

/// Takes the head that `buf` starts with, which answers a request with `method`; none if it is not found to
/// be whole and good.
pub(super) fn take(
    method: &Method,
    buf: &mut BytesMut,
    limits: &HeadLimits,
) -> Result<Option<ResponseHead>, HeadError> {
    let Some(scanned) = scan_response(buf, limits) else { return Ok(None) };
    let ScannedResponse { version, status, reason, fields } = scanned;
    let ScannedFields { control, names, lines, count, end } = fields;
    let status = StatusCode::from_bytes(status).map_err(|_| HeadError::StatusLine)?;
    let framing = BodyLength::of_response(method, status, version, &control)?;
    // A server that announces content where there can be none is likely to send some.
    let stray_content = has_no_content(status)
        && announced(version, &control)?.is_some_and(|length| !length.is_empty());
    let persistent = version == Version::HTTP_11 || control.connection.keep_alive;
    let keep_alive = persistent
        && !control.connection.close
        && !stray_content
        && framing != BodyLength::UntilClose;
    let upgrade = status == StatusCode::SWITCHING_PROTOCOLS
        && version == Version::HTTP_11
        && control.upgrade
        && control.connection.upgrade;
    let head = take_front(buf, end);
    let mut headers = Fields::default();
    headers.set_lines(head.slice(lines), count, names);
    let reason = head.slice(reason);
    let reason = if reason.is_ascii() { reason } else { Bytes::new() };
    Ok(Some(ResponseHead { status, reason, version, headers, framing, keep_alive, upgrade }))
}

/// Names what [`take`] has found to be wrong with a whole head.
#[cold]
pub(super) fn fault(head: &[u8], limits: &HeadLimits) -> HeadError {
    let fault = with_slots(head, limits, |slots| {
        let mut response = httparse::Response::new(&mut []);
        let read = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, head, slots)
            .map_err(|error| diagnose(head, error, HeadError::StatusLine))?;
        check_line_ends(head, read, response.headers)?;
        let mut control = ControlFields::default();
        response
            .headers
            .iter()
            .try_for_each(|field| control.note(field.name.as_bytes(), field.value).map(drop))
    });
    fault.err().unwrap_or(HeadError::StatusLine)
}

/// Takes the front of `buf`: by a copy if much follows, which it would keep in memory otherwise.
fn take_front(buf: &mut BytesMut, len: usize) -> Bytes {
    if buf.len() - len <= MUCH {
        return buf.split_to(len).freeze();
    }
    let front = Bytes::copy_from_slice(&buf[..len]);
    buf.advance(len);
    front
}

#[cfg(test)]
mod tests;
