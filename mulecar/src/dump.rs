//! The handlet `dump`: says what arrived.

use std::fmt::Write;

use hemi_core::{Component, Explain};
use hemi_web::{BodyError, Handlet, Reply, Request, Response};
use http::StatusCode;
use serde::Deserialize;

/// Answers with the head of the request, and how long its content was.
#[derive(Debug, Deserialize, Explain, Component)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Dump {
    /// Whether to show the fields.
    show_fields: bool,
}

impl Default for Dump {
    fn default() -> Self {
        Self { show_fields: true }
    }
}

impl Handlet for Dump {
    async fn handle(&self, req: &mut Request) -> Reply {
        match content_length(req).await {
            Ok(length) => self.describe(req, length).into(),
            Err(BodyError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE.into(),
            Err(_) => StatusCode::BAD_REQUEST.into(),
        }
    }
}

impl Dump {
    fn describe(&self, req: &Request, length: usize) -> Response {
        let mut text = format!("{} {} {:?}\n", req.method(), req.path_and_query(), req.version());
        let fields = req.headers().iter().filter(|_| self.show_fields);
        for (name, value) in fields {
            // Writing to memory does not fail.
            let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        let _ = writeln!(text, "\n{length} bytes of content from {}", req.peer());
        Response::text(text)
    }
}

/// Reads the content to its end, and keeps nothing of it.
async fn content_length(req: &mut Request) -> Result<usize, BodyError> {
    let mut length = 0;
    while let Some(piece) = req.body().chunk().await {
        length += piece?.len();
    }
    Ok(length)
}
