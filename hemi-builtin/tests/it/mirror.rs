//! A handlet that answers with what it is sent, for tests that say by themselves what an answer is.

use hemi_core::{Component, Explain};
use hemi_web::{Body, BodyError, Handlet, Reply, Request, Response};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;

/// Answers with the request's content, as it comes: with `reply-status`, and each field `reply-NAME` as
/// `NAME`. With `whole` the content is there before the answer.
#[derive(Debug, Deserialize, Explain, Component)]
pub(crate) struct Mirror {}

impl Handlet for Mirror {
    async fn handle(&self, req: &mut Request) -> Reply {
        let status = req.header("reply-status").and_then(|status| status.parse().ok());
        let mut response = Response::new(status.unwrap_or(StatusCode::OK));
        for (name, value) in req.headers() {
            if let Some(name) =
                name.as_str().strip_prefix("reply-").filter(|name| *name != "status")
            {
                let name = HeaderName::try_from(name).unwrap();
                response = response.field(name, value.clone());
            }
        }
        // What the handlet sees of the request.
        for name in ["content-encoding", "content-length"] {
            if let Some(value) = req.headers().get(name) {
                let name = HeaderName::try_from(format!("seen-{name}")).unwrap();
                response = response.field(name, value.clone());
            }
        }
        if req.header("whole").is_none() {
            return response.with_body(req.take_body()).into();
        }
        match req.body().bytes(1 << 20).await {
            Ok(bytes) => response.with_body(Body::from(bytes)).into(),
            Err(BodyError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE.into(),
            Err(e) => {
                let error = HeaderValue::try_from(e.to_string()).unwrap();
                Response::from(StatusCode::IM_A_TEAPOT)
                    .field(HeaderName::from_static("seen-error"), error)
                    .into()
            }
        }
    }
}
