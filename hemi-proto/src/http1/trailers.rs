//! Trailer fields (RFC 9110 section 6.5), and those that may not be trailers.

use bytes::Bytes;
use http::HeaderMap;

use super::fields::append;
use super::{BodyError, HeadError};

/// Field lines of a trailer section, at most.
pub(crate) const MAX_FIELDS: usize = 128;

/// Fields that would reframe or reroute the message; they are an attack or a bug.
const REFUSED: [&str; 3] = ["content-length", "host", "transfer-encoding"];

/// Fields that are only meaningful, or only safe, in a head (RFC 9110 section 6.5.1). They are
/// dropped, so that nobody merges them into it. Names that start with `if-`, `proxy-` or
/// `x-forwarded-` are dropped as well.
const DROPPED: [&str; 30] = [
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-http-method-override",
    "x-real-ip",
];

/// Parses a complete trailer section; `None` when no field of it may be used.
pub(super) fn parse(section: &Bytes) -> Result<Option<HeaderMap>, BodyError> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let parsed = match httparse::parse_headers(section, &mut slots) {
        Ok(httparse::Status::Complete((_, parsed))) => parsed,
        Ok(httparse::Status::Partial) => return Err(BodyError::Trailers),
        Err(httparse::Error::TooManyHeaders) => return Err(BodyError::TrailersTooLarge),
        Err(_) => return Err(BodyError::Trailers),
    };
    let mut fields = HeaderMap::new();
    for field in parsed {
        let name = field.name.to_ascii_lowercase().replace('_', "-");
        if is_refused(&name) {
            return Err(BodyError::ForbiddenTrailer);
        }
        if is_dropped(&name) {
            continue;
        }
        append(&mut fields, field.name, section.slice_ref(field.value)).map_err(
            |error| match error {
                HeadError::TooManyFields => BodyError::TrailersTooLarge,
                _ => BodyError::Trailers,
            },
        )?;
    }
    Ok((!fields.is_empty()).then_some(fields))
}

/// Whether a trailer of this name, in lower case and with `_` as `-`, makes its message malformed.
pub(crate) fn is_refused(name: &str) -> bool {
    REFUSED.contains(&name)
}

/// Whether such a trailer is not to be used.
pub(crate) fn is_dropped(name: &str) -> bool {
    DROPPED.contains(&name)
        || ["if-", "proxy-", "x-forwarded-"].iter().any(|prefix| name.starts_with(prefix))
}
