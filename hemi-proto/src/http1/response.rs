//! Response heads, for clients and proxies (RFC 9112 section 4).

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};

use super::fields::ControlFields;
use super::framing::{announced, has_no_content};
use super::head::{check_line_ends, diagnose, with_slots};
use super::{BodyLength, HeadError, HeadLimits};

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
    pub headers: HeaderMap,
    /// How the content is framed.
    pub framing: BodyLength,
    /// Whether the connection can carry another request once the content was read.
    pub keep_alive: bool,
    /// Whether the server switches to the protocol in its Upgrade field (status 101 only).
    pub upgrade: bool,
}

/// Parses the bytes of a complete head that answers a request with `method`.
pub(super) fn parse(
    method: &Method,
    head: &Bytes,
    spare: &mut HeaderMap,
    limits: &HeadLimits,
) -> Result<ResponseHead, HeadError> {
    with_slots(head, limits, |slots| {
        let mut response = httparse::Response::new(&mut []);
        let read = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, head, slots)
            .map_err(|error| diagnose(head, error, HeadError::StatusLine))?;
        check_line_ends(head, read, response.headers)?;
        let (Some(code), Some(minor)) = (response.code, response.version) else {
            return Err(HeadError::StatusLine);
        };
        let status = StatusCode::from_u16(code).map_err(|_| HeadError::StatusLine)?;
        let reason = head.slice_ref(response.reason.unwrap_or_default().as_bytes());
        let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let fields = ControlFields::collect(head, response.headers, spare)?;
        let framing = BodyLength::of_response(method, status, version, &fields)?;
        // A server that announces content where there can be none is likely to send some.
        let stray_content = has_no_content(status)
            && announced(version, &fields)?.is_some_and(|length| !length.is_empty());
        let persistent = version == Version::HTTP_11 || fields.connection.keep_alive;
        Ok(ResponseHead {
            keep_alive: persistent
                && !fields.connection.close
                && !stray_content
                && framing != BodyLength::UntilClose,
            upgrade: status == StatusCode::SWITCHING_PROTOCOLS
                && version == Version::HTTP_11
                && fields.upgrade
                && fields.connection.upgrade,
            headers: std::mem::take(spare),
            status,
            reason,
            version,
            framing,
        })
    })
}

#[cfg(test)]
mod tests;
