//! Calls of Connect by GET: of methods that change nothing, with the message in the query
//! (<https://connectrpc.com/docs/protocol#unary-get-request>).

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use hemi_proto::query;
use hemi_web::{Body, Request};
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

/// Whether a GET is a call.
pub(super) fn is_call(req: &Request) -> bool {
    let query = req.query().unwrap_or_default().as_bytes();
    query::value(query, b"encoding").is_some() && query::value(query, b"message").is_some()
}

/// Puts what stands in the query where a POST has it; false if it can't be read.
pub(super) fn unfold(req: &mut Request) -> bool {
    let query = req.query().unwrap_or_default().as_bytes();
    let value = |name: &[u8]| query::value(query, name);
    let media_type = match value(b"encoding").as_deref() {
        Some(b"json") => "application/json",
        Some(b"proto") => "application/proto",
        _ => return false,
    };
    let message = value(b"message").unwrap_or_default();
    let message = if value(b"base64").is_some_and(|flag| *flag == *b"1") {
        let config =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        match GeneralPurpose::new(&URL_SAFE, config).decode(&*message) {
            Ok(message) => Bytes::from(message),
            Err(_) => return false,
        }
    } else {
        Bytes::from(message.into_owned())
    };
    let compression = value(b"compression").map(|name| HeaderValue::from_bytes(&name));
    let headers = req.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    match compression {
        Some(Ok(name)) => drop(headers.insert(CONTENT_ENCODING, name)),
        Some(Err(_)) => return false,
        None => drop(headers.remove(CONTENT_ENCODING)),
    }
    req.set_body(Body::from(message));
    true
}
