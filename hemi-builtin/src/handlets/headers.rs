//! The handlet `headers`: sets, adds and removes fields of requests and of the answers to them.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule {
//! 			headers {
//! 				.security = true
//! 				.setResponse = ["cache-control": "no-store"]
//! 				.delResponse = ("x-powered-by")
//! 				.setRequest = ["x-real-ip": $remoteAddr]
//! 			}
//! 		}
//! 		rule { .returnCode = 200  .returnText = "hello" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! It leaves the answer to the next handlet or rule, and changes it whoever makes it: error pages too.

use std::sync::Arc;

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request, Scheme};
use http::header::{
    HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use serde::Deserialize;

use crate::field_edits::{FieldEdits, FieldName, FieldValue};

/// Changes fields. Of a message, those to remove go first, then others are set, then others added. A
/// value that comes out empty, or with a control character, is not sent; what it was to be set instead
/// of goes all the same. Fields about the connection, such as `content-length`, are not changed.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct HeadersConfig {
    /// Fields for those that handle the request, by name, instead of those that were sent.
    set_request: Vec<(FieldName, FieldValue)>,
    /// Fields for those that handle the request, by name, in addition to those that were sent.
    add_request: Vec<(FieldName, FieldValue)>,
    /// Fields of the request to hide from those that handle it.
    del_request: Vec<FieldName>,
    /// Fields of the answer, by name, instead of those it has. Variables are as the handlet sees them.
    set_response: Vec<(FieldName, FieldValue)>,
    /// Fields of the answer, by name, in addition to those it has.
    add_response: Vec<(FieldName, FieldValue)>,
    /// Fields of the answer to remove.
    del_response: Vec<FieldName>,
    /// Whether answers that do not have these fields get them: `x-content-type-options: nosniff`,
    /// `x-frame-options: SAMEORIGIN`, `referrer-policy: strict-origin-when-cross-origin`, and over
    /// https `strict-transport-security: max-age=31536000`.
    security: bool,
}

/// Changes fields.
#[derive(Debug)]
pub struct Headers {
    request: Arc<FieldEdits>,
    response: Arc<FieldEdits>,
    security: bool,
}

impl Component for Headers {
    const SIGN: &'static str = "headers";
    type Config = HeadersConfig;

    fn create(config: HeadersConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        let HeadersConfig { set_request, add_request, del_request, .. } = config;
        let HeadersConfig { set_response, add_response, del_response, .. } = config;
        Ok(Self {
            request: Arc::new(FieldEdits::new(del_request, set_request, add_request)),
            response: Arc::new(FieldEdits::new(del_response, set_response, add_response)),
            security: config.security,
        })
    }
}

impl Lifecycle for Headers {}

impl Handlet for Headers {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.change(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.change(req))
    }
}

impl Headers {
    fn change(&self, req: &mut Request) -> Reply {
        if !req.is_new_to(self) {
            return Reply::Next;
        }
        if !self.request.is_empty() {
            self.request.render(req).apply(req.headers_mut());
        }
        if !self.response.is_empty() {
            let edits = self.response.render(req);
            req.revise(move |response| edits.apply(response.headers_mut()));
        }
        if self.security {
            let scheme = req.scheme();
            req.revise(move |response| secure(response.headers_mut(), scheme));
        }
        Reply::Next
    }
}

/// Adds those of the fields that are not there: whoever has set one knows better.
fn secure(fields: &mut HeaderMap, scheme: Scheme) {
    const ALWAYS: [(HeaderName, &str); 3] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "SAMEORIGIN"),
        (REFERRER_POLICY, "strict-origin-when-cross-origin"),
    ];
    // In the clear it must not be sent (RFC 6797, 7.2).
    const OVER_TLS: [(HeaderName, &str); 1] = [(STRICT_TRANSPORT_SECURITY, "max-age=31536000")];
    let over_tls = OVER_TLS.into_iter().filter(|_| scheme == Scheme::Https);
    for (name, value) in ALWAYS.into_iter().chain(over_tls) {
        fields.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
