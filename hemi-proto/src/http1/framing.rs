//! How long the content of a message is (RFC 9112 section 6.3).

use http::{Method, StatusCode, Version};

use super::HeadError;
use super::fields::{ControlFields, Once};
use crate::ascii::{is_token, parse_decimal, trim_ows};

/// The framing of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No content, and no field that announces any.
    None,
    /// Exactly this many bytes.
    Sized(u64),
    /// Chunks up to the last one; in HTTP/2 and HTTP/3, frames up to the end of the stream.
    Chunked,
    /// All bytes until the peer closes; only in responses.
    UntilClose,
}

impl BodyLength {
    /// Whether no byte of content follows the head.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Sized(0))
    }

    /// The framing of a request.
    pub(super) fn of_request(
        method: &Method,
        version: Version,
        fields: &ControlFields<'_>,
    ) -> Result<Self, HeadError> {
        let length = announced(version, fields)?.unwrap_or(Self::None);
        if *method == Method::CONNECT && !length.is_empty() {
            return Err(HeadError::ConnectContent);
        }
        Ok(length)
    }

    /// The framing of the response to a request with `method`.
    ///
    /// Faulty fields are an error even where the content is known to be absent.
    pub(super) fn of_response(
        method: &Method,
        status: StatusCode,
        version: Version,
        fields: &ControlFields<'_>,
    ) -> Result<Self, HeadError> {
        let announced = announced(version, fields)?;
        let bodiless = *method == Method::HEAD
            || (*method == Method::CONNECT && status.is_success())
            || has_no_content(status)
            || status == StatusCode::NOT_MODIFIED;
        Ok(if bodiless { Self::None } else { announced.unwrap_or(Self::UntilClose) })
    }
}

/// Whether a response with this status must not announce content at all.
pub(super) fn has_no_content(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// What Content-Length and Transfer-Encoding say, if there is one of them.
pub(super) fn announced(
    version: Version,
    fields: &ControlFields<'_>,
) -> Result<Option<BodyLength>, HeadError> {
    match (&fields.content_length, &fields.transfer_encoding) {
        (Once::Absent, Once::Absent) => Ok(None),
        (Once::One(digits), Once::Absent) => {
            parse_decimal(digits).map(BodyLength::Sized).map(Some).ok_or(HeadError::ContentLength)
        }
        (Once::Many, Once::Absent) => Err(HeadError::ContentLength),
        (_, _) if version == Version::HTTP_10 => Err(HeadError::TransferEncodingInHttp10),
        (Once::Absent, Once::One(codings)) => check_codings(codings).map(Some),
        (Once::Absent, Once::Many) => Err(HeadError::TransferEncoding),
        (_, _) => Err(HeadError::AmbiguousLength),
    }
}

/// Accepts `chunked` alone. Codings before it are unsupported; a list that does not end with it,
/// or that has it twice, leaves the length unknown (RFC 9112 section 6.3).
fn check_codings(codings: &[u8]) -> Result<BodyLength, HeadError> {
    if codings.eq_ignore_ascii_case(b"chunked") {
        return Ok(BodyLength::Chunked);
    }
    let is_chunked = |coding: &[u8]| trim_ows(coding).eq_ignore_ascii_case(b"chunked");
    let mut last_first = codings.rsplit(|&b| b == b',');
    if !last_first.next().is_some_and(is_chunked) {
        return Err(HeadError::TransferEncoding);
    }
    for coding in last_first {
        let name = coding.split(|&b| b == b';').next().map(trim_ows).unwrap_or_default();
        let well_formed = !name.is_empty() && name.iter().all(|&b| is_token(b));
        if !well_formed || is_chunked(name) {
            return Err(HeadError::TransferEncoding);
        }
    }
    Err(HeadError::UnsupportedCoding)
}
