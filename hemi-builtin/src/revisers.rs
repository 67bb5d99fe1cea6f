//! Revisers, and what those that change content share.

mod brotli;
mod compression;
mod filter;
mod gunzip;
mod gzip;
mod head;
mod media_range;
mod rank;
mod replace;
mod ssi;
mod wrap;
mod zstd;

pub use brotli::{Brotli, BrotliConfig};
pub use compression::{Compression, CompressionConfig};
pub(crate) use compression::{Encoder, Then};
pub use gunzip::{Gunzip, GunzipConfig};
pub(crate) use gzip::GzipEncoder;
pub use gzip::{Gzip, GzipConfig};
pub use head::{Head, HeadConfig};
pub use media_range::MediaRange;
pub use rank::MiddleRank;
pub use replace::{Replace, ReplaceConfig};
pub use ssi::{Ssi, SsiConfig};
pub use wrap::{Wrap, WrapConfig};
pub use zstd::{Zstd, ZstdConfig};

use hemi_proto::etag::{ETag, tags};
use hemi_web::{Body, Request, Response};
use http::Method;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};

use crate::vary::vary_by;
use filter::{Filter, Unmade, filtered};

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

/// Whether the content is as it was written: in no coding.
fn is_plain(response: &Response) -> bool {
    coding_of(response.headers()).is_none()
}

/// Has a request ask for all of a content that is going to be changed: parts of it can't be had, nor
/// may parts be seen of what it was.
fn forget_range(req: &mut Request) {
    if req.has_field(&RANGE) {
        req.headers_mut().remove(RANGE);
        req.headers_mut().remove(IF_RANGE);
    }
}

/// Sends the content through a filter.
fn pass_through(req: &Request, response: &mut Response, filter: impl Filter) {
    change_content(req, response, |body| filtered(body, filter));
}

/// Puts another content in the place of this one. What it was recognised by goes: what makes the other
/// one need not be the same tomorrow.
fn change_content(req: &Request, response: &mut Response, change: impl FnOnce(Body) -> Body) {
    let body = response.take_body();
    response.set_body(match *req.method() {
        Method::HEAD => Body::stream(Unmade),
        _ => change(body),
    });
    let map = response.headers_mut();
    forget_bytes(map);
    map.remove(ETAG);
    map.remove(LAST_MODIFIED);
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

/// Whether Cache-Control says `no-transform` (RFC 9111, 5.2.2.6).
fn forbids_change(map: &HeaderMap) -> bool {
    let lines = map.get_all(CACHE_CONTROL).iter();
    let mut directives = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// A 304 for one who has the compressed content: with the tag that was sent with it.
fn tag_as_asked(req: &Request, response: &mut Response) {
    let Some(tag) = response.headers().get(ETAG).and_then(|tag| ETag::parse(tag.as_bytes())) else {
        return;
    };
    let lines = req.headers().get_all(IF_NONE_MATCH).iter();
    let mut asked = lines.flat_map(|line| tags(line.as_bytes()));
    if !tag.is_weak() && asked.any(|asked| asked.is_weak() && asked.weak_eq(&tag)) {
        let map = response.headers_mut();
        weaken_etag(map);
        vary_by(map, "accept-encoding");
    }
}
