//! Revisers, and what those that change content share.

mod brotli;
mod compression;
mod filter;
mod gzip;
mod media_range;
mod zstd;

pub use brotli::{Brotli, BrotliConfig};
pub use compression::{Compression, CompressionConfig};
pub use gzip::{Gzip, GzipConfig};
pub use media_range::MediaRange;
pub use zstd::{Zstd, ZstdConfig};

use hemi_proto::etag::ETag;
use hemi_web::Response;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue,
};

/// Whether the content is of one of these types and all that the status says there is, so that it
/// makes sense to change it.
fn is_changeable(response: &Response, types: &[MediaRange]) -> bool {
    let (status, map) = (response.status(), response.headers());
    // A stock page is small, and may yet give way to a better one.
    !status.is_informational()
        && !matches!(status.as_u16(), 204..=206 | 304)
        && !response.is_stock()
        && !map.contains_key(CONTENT_RANGE)
        && map.get(CONTENT_TYPE).is_some_and(|t| types.iter().any(|range| range.holds(t)))
}

/// The coding that the content is in, if it is in any.
fn coding_of(map: &HeaderMap) -> Option<&HeaderValue> {
    map.get(CONTENT_ENCODING).filter(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Takes out the fields that tell of the bytes of a content that will be others.
fn forget_bytes(map: &mut HeaderMap) {
    for name in [ACCEPT_RANGES, CONTENT_LENGTH] {
        map.remove(name);
    }
    // RFC 9530, and what was before it.
    for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
        map.remove(name);
    }
}

/// Makes a strong entity tag weak: what it tags is no longer the same in every byte.
fn weaken_etag(map: &mut HeaderMap) {
    let Some(tag) = map.get(ETAG).map(HeaderValue::as_bytes) else { return };
    let weak = match ETag::parse(tag) {
        Some(tag) if tag.is_weak() => return,
        Some(_) => HeaderValue::from_bytes(&[b"W/", tag].concat()).ok(),
        None => None,
    };
    match weak {
        Some(weak) => map.insert(ETAG, weak),
        None => map.remove(ETAG),
    };
}
