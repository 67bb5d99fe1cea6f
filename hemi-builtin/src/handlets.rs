//! Handlets.

mod favicon;
mod headers;
mod static_files;

pub use favicon::Favicon;
pub use headers::{Headers, HeadersConfig};
pub use static_files::{Static, StaticConfig};

use hemi_web::Response;
use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};

fn is_get_or_head(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// 405 for what answers GET and HEAD alone.
fn only_get_and_head() -> Response {
    let allow = HeaderValue::from_static("GET, HEAD");
    Response::from(StatusCode::METHOD_NOT_ALLOWED).field(ALLOW, allow)
}
