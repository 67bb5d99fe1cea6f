//! GET and HEAD.

use hemi_proto::conditional::{Validators, if_range_holds};
use hemi_proto::date::format_date;
use hemi_proto::etag::ETag;
use hemi_proto::range::{RangeOutcome, Ranges, unsatisfied_content_range};
use hemi_web::{Body, Response};
use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, StatusCode};

use super::answers::Refusal;
use super::tree::{Kind, Meta};
use super::{Asked, Inner};

/// Sends a file; none leaves a collection to the next handlet. May block.
pub(super) fn get(inner: &Inner, asked: &Asked) -> Result<Option<Response>, Refusal> {
    let (file, meta) = inner.tree.open(&asked.path)?;
    if meta.kind == Kind::Collection {
        return Ok(None);
    }
    match inner.preconditions(asked, Some(&meta)) {
        Err(Refusal::Status(StatusCode::NOT_MODIFIED)) => {
            return Ok(Some(described(Response::new(StatusCode::NOT_MODIFIED), &meta)));
        }
        tokens => tokens?,
    };
    let response = described(Response::new(StatusCode::OK), &meta)
        .field(http::header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .field(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .field(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(Some(match ranges(asked, &meta) {
        RangeOutcome::Unsatisfiable => Response::from(StatusCode::RANGE_NOT_SATISFIABLE)
            .field(CONTENT_RANGE, unsatisfied_content_range(meta.len)),
        RangeOutcome::Partial(ranges) if let Some(range) = ranges.single() => response
            .with_status(StatusCode::PARTIAL_CONTENT)
            .field(CONTENT_RANGE, range.content_range(meta.len))
            .with_body(Body::file(file, range.first()..range.last() + 1)),
        // Who asks for several gets all (RFC 9110, 14.2).
        _ => response.with_body(Body::file(file, 0..meta.len)),
    }))
}

fn ranges(asked: &Asked, meta: &Meta) -> RangeOutcome {
    let etag = meta.etag();
    // A date is no proof that a file is the same.
    let current = Validators { etag: ETag::parse(etag.as_bytes()), last_modified: None };
    if asked.method != Method::GET || !if_range_holds(&asked.headers, current) {
        return RangeOutcome::Whole;
    }
    Ranges::from_headers(&asked.headers, meta.len)
}

/// The same with the fields that tell one state of a file from another.
fn described(response: Response, meta: &Meta) -> Response {
    let put =
        |response: Response, name: HeaderName, value: &[u8]| match HeaderValue::from_bytes(value) {
            Ok(value) => response.field(name, value),
            Err(_) => response,
        };
    let response = put(response, LAST_MODIFIED, &format_date(meta.modified));
    put(response, ETAG, meta.etag().as_bytes())
}
