//! Handlets.

mod access;
mod ajp_proxy;
mod basic_auth;
mod cgi;
mod cors;
mod favicon;
mod fcgi_proxy;
mod forward_auth;
mod gateway;
mod headers;
mod health;
mod hostname_checker;
mod http_proxy;
mod https_checker;
mod jwt_auth;
mod limit;
mod maintenance;
mod metrics;
mod ready;
mod redirect;
mod referer;
mod request_id;
mod rewrite;
mod scgi_proxy;
mod static_files;
mod uwsgi_proxy;

pub use crate::sticky::StickyConfig;
pub use access::{Access, AccessConfig};
pub use ajp_proxy::AjpProxy;
pub use basic_auth::{BasicAuth, BasicAuthConfig};
pub use cgi::{Cgi, CgiConfig};
pub use cors::{Cors, CorsConfig};
pub use favicon::Favicon;
pub use fcgi_proxy::{FcgiProxy, FcgiProxyConfig};
pub use forward_auth::{ForwardAuth, ForwardAuthConfig};
pub use gateway::{GatewayConfig, MountConfig, SpecialConfig};
pub use headers::{Headers, HeadersConfig};
pub use health::Health;
pub use hostname_checker::{HostnameChecker, HostnameCheckerConfig};
pub use http_proxy::{HttpProxy, HttpProxyConfig};
pub use https_checker::{HttpsChecker, HttpsCheckerConfig};
pub use jwt_auth::{JwtAuth, JwtAuthConfig};
pub use limit::{Limit, LimitConfig};
pub use maintenance::{Maintenance, MaintenanceConfig};
pub use metrics::{Metrics, MetricsConfig};
pub use ready::{Ready, ReadyConfig};
pub use redirect::{Redirect, RedirectConfig};
pub use referer::{Referer, RefererConfig};
pub use request_id::{RequestId, RequestIdConfig};
pub use rewrite::{Rewrite, RewriteConfig};
pub use scgi_proxy::ScgiProxy;
pub use static_files::{Static, StaticConfig};
pub use uwsgi_proxy::UwsgiProxy;

use hemi_web::{Reply, Request, Response, Scheme};
use http::header::{ALLOW, HeaderValue, LOCATION};
use http::{Method, StatusCode};

fn is_get_or_head(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// 405 for what answers GET and HEAD alone.
fn only_get_and_head() -> Response {
    let allow = HeaderValue::from_static("GET, HEAD");
    Response::from(StatusCode::METHOD_NOT_ALLOWED).field(ALLOW, allow)
}

/// Sends the client to another place.
fn redirect_to(status: StatusCode, location: String) -> Response {
    match HeaderValue::try_from(location) {
        Ok(location) => Response::from(status).field(LOCATION, location),
        Err(_) => StatusCode::BAD_REQUEST.into(),
    }
}

/// How long a redirection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    ForNow,
    ForGood,
}

impl From<bool> for Holds {
    fn from(permanent: bool) -> Self {
        if permanent { Self::ForGood } else { Self::ForNow }
    }
}

/// Sends the client to the same path and query at another place. A request with another method than GET
/// and HEAD must come there with the same one.
fn move_to(req: &Request, scheme: Scheme, authority: &[&str], holds: Holds) -> Reply {
    let status = match (holds, is_get_or_head(req.method())) {
        (Holds::ForNow, true) => StatusCode::FOUND,
        (Holds::ForGood, true) => StatusCode::MOVED_PERMANENTLY,
        (Holds::ForNow, false) => StatusCode::TEMPORARY_REDIRECT,
        (Holds::ForGood, false) => StatusCode::PERMANENT_REDIRECT,
    };
    // `*` is the whole server.
    let uri = Some(req.sent_uri()).filter(|uri| uri.starts_with('/')).unwrap_or_default();
    let location = format!("{}://{}{uri}", scheme.as_str(), authority.concat());
    redirect_to(status, location).into()
}
