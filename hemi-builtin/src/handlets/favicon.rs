//! The handlet `favicon`: the icon that browsers ask for, when a site has none of its own.
//!
//! ```gorox
//! stage {
//! 	webapp "site" { .hostnames = ("*")  rule $path == "/favicon.ico" { favicon {} } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```

use std::sync::Arc;

use bytes::Bytes;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::conditional::{Validators, Verdict, evaluate};
use hemi_proto::etag::ETag;
use hemi_web::{Body, Handlet, Prepared, Reply, Request, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::{is_get_or_head, only_get_and_head};

const ICON: &[u8] = include_bytes!("favicon/favicon.ico");
const TAG: &str = "\"hemi-1\"";

/// Answers with the icon of Hemi.
#[derive(Debug, Deserialize, Explain)]
pub struct FaviconConfig {}

/// The icon.
#[derive(Debug)]
pub struct Favicon {
    fields: Arc<Prepared>,
}

impl Component for Favicon {
    const SIGN: &'static str = "favicon";
    type Config = FaviconConfig;

    fn create(_: FaviconConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        let fields = [
            (CONTENT_TYPE, "image/vnd.microsoft.icon"),
            (CACHE_CONTROL, "public, max-age=86400"),
            (ETAG, TAG),
        ];
        let fields = fields.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let fields = Prepared::with_length(HeaderMap::from_iter(fields), ICON.len() as u64);
        Ok(Self { fields: Arc::new(fields) })
    }
}

impl Lifecycle for Favicon {}

impl Handlet for Favicon {
    async fn handle(&self, req: &mut Request) -> Reply {
        if !is_get_or_head(req.method()) {
            return only_get_and_head().into();
        }
        let current = Validators { etag: ETag::parse(TAG.as_bytes()), last_modified: None };
        let (status, body) = match evaluate(req.method(), req.headers(), Some(current)) {
            Verdict::Proceed => (StatusCode::OK, Body::from(Bytes::from_static(ICON))),
            Verdict::NotModified => (StatusCode::NOT_MODIFIED, Body::empty()),
            Verdict::PreconditionFailed => return StatusCode::PRECONDITION_FAILED.into(),
        };
        Response::prepared(status, self.fields.clone(), body).into()
    }
}
