//! The reviser `head`: sets, adds and removes fields of requests and responses.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		head {
//! 			.setRequest = ["x-real-ip": $remoteAddr]
//! 			.addResponse = ["cache-control": "no-store"]
//! 			.delResponse = ("x-powered-by")
//! 		}
//! 		rule { .returnCode = 200  .returnText = "hello" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! In a rule it sees what the rule's handlets answer. Unlike the handlet `headers` it sees responses in
//! turn with the other revisers, and the request's variables as they are then.

use std::sync::Arc;

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Request, Response, Reviser};
use serde::Deserialize;

use crate::field_edits::{FieldEdits, FieldName, FieldValue};

/// Changes fields. Of a message, those to remove go first, then others are set, then others added. A
/// value that comes out empty, or with a control character, is not sent; what it was to be set instead
/// of goes all the same. Fields about the connection, such as `content-length`, are not changed.
#[derive(Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct HeadConfig {
    /// Fields for those that handle the request, by name, instead of those that were sent.
    set_request: Vec<(FieldName, FieldValue)>,
    /// Fields for those that handle the request, by name, in addition to those that were sent.
    add_request: Vec<(FieldName, FieldValue)>,
    /// Fields of the request to hide from those that handle it.
    del_request: Vec<FieldName>,
    /// Fields of the response, by name, instead of those it has.
    set_response: Vec<(FieldName, FieldValue)>,
    /// Fields of the response, by name, in addition to those it has.
    add_response: Vec<(FieldName, FieldValue)>,
    /// Fields of the response to remove.
    del_response: Vec<FieldName>,
}

/// Changes fields.
#[derive(Debug)]
pub struct Head {
    request: Arc<FieldEdits>,
    response: Arc<FieldEdits>,
}

impl Component for Head {
    const SIGN: &'static str = "head";
    type Config = HeadConfig;

    fn create(config: HeadConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        let HeadConfig { set_request, add_request, del_request, .. } = config;
        let HeadConfig { set_response, add_response, del_response, .. } = config;
        Ok(Self {
            request: Arc::new(FieldEdits::new(del_request, set_request, add_request)),
            response: Arc::new(FieldEdits::new(del_response, set_response, add_response)),
        })
    }
}

impl Lifecycle for Head {}

impl Reviser for Head {
    fn rank(&self) -> u8 {
        29
    }

    fn request(&self, req: &mut Request) {
        if !self.request.is_empty() {
            self.request.render(req).apply(req.headers_mut());
        }
    }

    fn response(&self, req: &Request, response: &mut Response) {
        if !self.response.is_empty() {
            self.response.render(req).apply(response.headers_mut());
        }
    }
}
