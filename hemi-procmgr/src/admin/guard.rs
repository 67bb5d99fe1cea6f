//! Who may come in, and who is sent away before anything is done.
//!
//! By TCP a browser could be made to ask for others, so that the way counts as much as the token: the host
//! asked for must be an address, `localhost` or a name that was allowed, for who rebinds a name of theirs to
//! this machine asks for that name; and a request that a page of another origin makes is refused. No page of
//! another origin reads an answer: there are no CORS fields. Who has shown a certificate of the right CA needs
//! no token; who has the token of viewers gives no commands.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use hemi_core::Lifecycle;
use hemi_web::{Extract, Handlet, Matched, Redirect, Reply, Request, Respond, Response, WebError};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use tracing::debug;

use super::Site;
use super::token::Right;

/// How one comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// By a socket that only the right user can open.
    Own,
    /// With a bearer token.
    Token,
    /// With a bearer token, or with a session that began with it.
    Session,
}

/// Lets those in who may come in, as the first handlet of a webapp.
pub(super) struct Guard {
    door: Door,
    site: Arc<Site>,
}

/// What anybody may see: how to log in.
const OPEN: [&str; 3] = ["/login", "/style.css", "/script.js"];

impl Guard {
    pub(super) fn new(door: Door, site: Arc<Site>) -> Self {
        Self { door, site }
    }

    /// What who asks may do; or why nothing.
    fn check(&self, req: &Request) -> Result<Right, Response> {
        if self.door == Door::Own {
            return fits(req, Right::Act);
        }
        if !self.knows_host(req.hostname()) {
            debug!(peer = %req.peer(), "the admin server was asked for {}", req.hostname());
            let message = "nothing is served here by that name";
            return Err(WebError::new(StatusCode::MISDIRECTED_REQUEST, message).respond());
        }
        let same = is_same_origin(req);
        if same == Some(false) {
            let message = "pages of other sites may not ask here";
            return Err(WebError::new(StatusCode::FORBIDDEN, message).respond());
        }
        if let Some(credentials) = req.header(AUTHORIZATION.as_str()) {
            let (scheme, token) = credentials.split_once(' ').unwrap_or((credentials, ""));
            let bears = scheme.eq_ignore_ascii_case("bearer");
            let right = self.site.token.right_of(token.trim()).filter(|_| bears);
            return fits(req, right.ok_or_else(|| self.unauthorized())?);
        }
        // A browser shows a certificate whatever page asks; a command of another one would not be JSON.
        if req.tls().is_some_and(|tls| tls.client.is_some()) {
            let says = is_safe(req.method()) || is_command(req) || same == Some(true);
            return if says { fits(req, Right::Act) } else { Err(from_nowhere()) };
        }
        if self.door == Door::Session && OPEN.contains(&req.path()) {
            return Ok(Right::Look);
        }
        let session = req.cookie(&self.site.cookie).filter(|_| self.door == Door::Session);
        let right = session.and_then(|value| self.site.token.right_by(&self.site.cookie, value));
        match right {
            // A browser says which page a form is of.
            Some(right) if is_safe(req.method()) || same == Some(true) => fits(req, right),
            Some(_) => Err(from_nowhere()),
            None if self.door == Door::Session && *req.method() == Method::GET && is_page(req) => {
                Err(Redirect::see_other("/login").respond())
            }
            None => Err(self.unauthorized()),
        }
    }

    fn knows_host(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        address.is_ok() || host == "localhost" || self.site.hosts.iter().any(|known| known == host)
    }

    fn unauthorized(&self) -> Response {
        let message = "show the token: `Authorization: Bearer …`";
        let response = WebError::new(StatusCode::UNAUTHORIZED, message).respond();
        response.field(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"admin\""))
    }
}

impl Lifecycle for Guard {}

impl Handlet for Guard {
    async fn handle(&self, _: &mut Request) -> Reply {
        Reply::Next
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        req.revise(harden);
        Some(match self.check(req) {
            Ok(right) => {
                req.extensions().insert(right);
                Reply::Next
            }
            Err(response) => Reply::Done(response),
        })
    }
}

impl<S: Send + Sync> Extract<S> for Right {
    type Error = Infallible;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, Infallible> {
        Ok(req.extensions().get().copied().unwrap_or(Self::Look))
    }
}

/// Whether a request came over TLS.
pub(super) struct OverTls(pub(super) bool);

impl<S: Send + Sync> Extract<S> for OverTls {
    type Error = Infallible;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, Infallible> {
        Ok(Self(req.tls().is_some()))
    }
}

fn from_nowhere() -> Response {
    WebError::new(StatusCode::FORBIDDEN, "the browser does not say which page asks").respond()
}

/// What may be done with this right. A command comes as JSON, which no form of another page can send.
fn fits(req: &Request, right: Right) -> Result<Right, Response> {
    // Everybody may leave.
    if right == Right::Look && !is_safe(req.method()) && req.path() != "/logout" {
        let message = "this token is for looking only";
        return Err(WebError::new(StatusCode::FORBIDDEN, message).respond());
    }
    let media_type = req.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    match is_command(req) && !essence.eq_ignore_ascii_case("application/json") {
        true => {
            let message = "send commands with `content-type: application/json`";
            Err(WebError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).respond())
        }
        false => Ok(right),
    }
}

fn is_command(req: &Request) -> bool {
    !is_safe(req.method()) && req.path().starts_with("/v1/")
}

/// Whether a page of the same origin asks; none if the request does not say.
fn is_same_origin(req: &Request) -> Option<bool> {
    if let Some(origin) = req.headers().get(ORIGIN) {
        let host = req.headers().get(HOST)?.as_bytes();
        let scheme: &[u8] = if req.tls().is_some() { b"https://" } else { b"http://" };
        return Some(origin.as_bytes().strip_prefix(scheme).is_some_and(|of| of == host));
    }
    match req.header("sec-fetch-site")? {
        "same-origin" => Some(true),
        // A link that somebody has followed does nothing, and is shown nothing: the cookie stays behind.
        "none" | "cross-site" | "same-site" if is_safe(req.method()) => None,
        _ => Some(false),
    }
}

fn is_safe(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn is_page(req: &Request) -> bool {
    !req.path().starts_with("/v1/") && req.path() != "/metrics" && req.path() != "/live"
}

/// Fields of all answers.
fn harden(response: &mut Response) {
    const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
        connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        // With `no-referrer` a browser does not say which page a form is of.
        ("referrer-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().entry("cache-control").or_insert(no_store);
}
