//! The handlet `health`: says that the program is alive.
//!
//! ```gorox
//! stage {
//! 	webapp "inside" { .hostnames = ("*")  rule $path == "/health" { health {} } }
//! 	httpxServer "inside" { .address = "127.0.0.1:9180"  .webapps = ("inside") }
//! }
//! ```
//!
//! The answer is 200 and `ok`, always; as JSON, `{"status":"ok"}`, for who asks for `application/json`.
//! Whether requests should be sent here is another question: see `ready`.

use hemi_core::{Component, Explain};
use hemi_proto::accept::{Quality, named};
use hemi_web::{Handlet, Reply, Request, Response};
use http::StatusCode;
use http::header::{ACCEPT, CACHE_CONTROL, HeaderValue, VARY};
use serde::Deserialize;

use super::{is_get_or_head, only_get_and_head};

/// Says that the program is alive.
#[derive(Debug, Deserialize, Explain, Component)]
pub struct Health {}

impl Handlet for Health {
    async fn handle(&self, req: &mut Request) -> Reply {
        tell(req, StatusCode::OK, "ok")
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(tell(req, StatusCode::OK, "ok"))
    }
}

/// How the program is doing: a word, as text or JSON.
pub(super) fn tell(req: &Request, status: StatusCode, word: &str) -> Reply {
    if !is_get_or_head(req.method()) {
        return only_get_and_head().into();
    }
    let wants_json = named(req.headers(), "application/json").is_some_and(|q| !Quality::is_zero(q));
    let response = match wants_json {
        true => {
            let media_type = HeaderValue::from_static("application/json");
            Response::typed(media_type, format!("{{\"status\":\"{word}\"}}\n"))
        }
        false => Response::text(format!("{word}\n")),
    };
    response
        .with_status(status)
        .field(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .field(VARY, HeaderValue::from(ACCEPT))
        .into()
}
