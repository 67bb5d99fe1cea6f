//! What a file is answered with: prepared once, then only looked up.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hemi_core::clock;
use hemi_core::config::ConfigType;
use hemi_core::fcache::{Content, Entry};
use hemi_proto::accept_encoding::Coding;
use hemi_proto::conditional::{Validators, Verdict, evaluate, if_range_holds};
use hemi_proto::date::format_date;
use hemi_proto::etag::ETag;
use hemi_proto::range::{RangeOutcome, Ranges, unsatisfied_content_range};
use hemi_web::{Body, Prepared, Request, Response};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
    InvalidHeaderValue, LAST_MODIFIED, RANGE, VARY,
};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::media_types::MediaType;
use super::ranges::partial;

/// The fields of a request by which the answer may be another than all of the file.
const CONSIDERED: [HeaderName; 5] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE];

/// Files up to this many bytes are kept with their fields in front, ready to be sent.
const WHOLE: usize = 4 << 10;

/// The value of a `cache-control` field.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct CacheControl(HeaderValue);

impl TryFrom<String> for CacheControl {
    type Error = InvalidHeaderValue;

    fn try_from(text: String) -> Result<Self, InvalidHeaderValue> {
        HeaderValue::try_from(text).map(Self)
    }
}

impl ConfigType for CacheControl {
    fn kind() -> Cow<'static, str> {
        String::kind()
    }

    fn show(&self) -> String {
        String::from_utf8_lossy(self.0.as_bytes()).into_owned().show()
    }
}

/// What the answers of a handlet have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) has_etag: bool,
    pub(super) cache_control: Option<CacheControl>,
    /// Whether they depend on the codings that a client takes.
    pub(super) varies: bool,
}

/// What an entry of the cache is answered with, worked out once.
pub(super) struct Answer {
    fields: Arc<Prepared>,
    /// Those of them that a 304 has (RFC 9110, 15.4.5).
    validators: Arc<Prepared>,
    etag: Option<String>,
}

impl Common {
    pub(super) fn prepare(&self, entry: &Entry, media_type: MediaType, coding: Coding) -> Answer {
        let (inode, changed) = entry.version;
        let etag = self.has_etag.then(|| format!("\"{inode:x}-{changed:x}-{:x}\"", entry.len));
        let mut map = HeaderMap::with_capacity(8);
        let mut put = |field, text: &[u8]| {
            if let Ok(value) = HeaderValue::from_bytes(text) {
                map.insert(field, value);
            }
        };
        put(LAST_MODIFIED, &format_date(entry.modified));
        if let Some(etag) = &etag {
            put(ETAG, etag.as_bytes());
        }
        if let Some(CacheControl(value)) = &self.cache_control {
            map.insert(CACHE_CONTROL, value.clone());
        }
        if self.varies {
            map.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        let validators = Arc::new(Prepared::new(map.clone()));
        map.insert(CONTENT_TYPE, media_type.value());
        if coding != Coding::Identity {
            map.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        }
        map.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let fields = match &entry.content {
            Content::Small(bytes) if bytes.len() <= WHOLE => {
                Prepared::with_content(map, bytes.clone())
            }
            _ => Prepared::with_length(map, entry.len),
        };
        Answer { fields: Arc::new(fields), validators, etag }
    }
}

impl Answer {
    /// Answers a GET or HEAD for the file.
    pub(super) fn respond(&self, req: &Request, entry: &Entry) -> Response {
        if !CONSIDERED.iter().any(|name| req.has_field(name)) {
            return self.whole(entry);
        }
        let etag = self.etag.as_ref().and_then(|etag| ETag::parse(etag.as_bytes()));
        let current = Validators { etag, last_modified: Some(entry.modified) };
        match evaluate(req.method(), req.headers(), Some(current)) {
            Verdict::NotModified => {
                let fields = self.validators.clone();
                return Response::prepared(StatusCode::NOT_MODIFIED, fields, Body::empty());
            }
            Verdict::PreconditionFailed => return StatusCode::PRECONDITION_FAILED.into(),
            Verdict::Proceed => {}
        }
        match ranges(req, entry, current) {
            RangeOutcome::Whole => self.whole(entry),
            RangeOutcome::Partial(ranges) => partial(&ranges, entry, self.whole(entry)),
            RangeOutcome::Unsatisfiable => Response::from(StatusCode::RANGE_NOT_SATISFIABLE)
                .field(CONTENT_RANGE, unsatisfied_content_range(entry.len)),
        }
    }

    /// The answer with all of the file.
    fn whole(&self, entry: &Entry) -> Response {
        let body = match &entry.content {
            Content::Small(bytes) if bytes.len() <= WHOLE => {
                return Response::whole(StatusCode::OK, self.fields.clone());
            }
            Content::Small(bytes) => bytes.clone().into(),
            Content::Large(file) => Body::file(file.clone(), 0..entry.len),
            Content::Directory | Content::Special => Body::empty(),
        };
        Response::prepared(StatusCode::OK, self.fields.clone(), body)
    }
}

/// The ranges asked for.
fn ranges(req: &Request, entry: &Entry, current: Validators<'_>) -> RangeOutcome {
    if *req.method() != Method::GET || !req.has_field(&RANGE) {
        return RangeOutcome::Whole;
    }
    // A date is no proof that a file is the same while it may change again within the second.
    let settled = clock::calendar().duration_since(entry.modified).unwrap_or_default();
    let last_modified: Option<SystemTime> =
        current.last_modified.filter(|_| settled >= Duration::from_secs(2));
    if !if_range_holds(req.headers(), Validators { last_modified, ..current }) {
        return RangeOutcome::Whole;
    }
    Ranges::from_headers(req.headers(), entry.len)
}
