//! Cookies and sessions of handles.

use std::convert::Infallible;

use hemi_proto::cookie::{self, SetCookie};
use http::header::{COOKIE, HeaderValue};

use crate::{Extract, Matched, Request, Respond, Response, Session, WebError};

/// The cookies that the client has sent. To set one, return `(SetCookie, R)`.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Cookies, Mapper, SetCookie, WebError};
///
/// async fn visit(cookies: Cookies) -> Result<(SetCookie, String), WebError> {
///     let visits = cookies.value("visits").and_then(|text| text.parse().ok()).unwrap_or(0) + 1;
///     Ok((SetCookie::new("visits", &visits.to_string())?, format!("visit {visits}")))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::new().get("/", visit));
/// let answer = client.get("/").header("cookie", "visits=7").send().await;
/// assert_eq!(answer.text(), "visit 8");
/// assert!(answer.header("set-cookie").unwrap().starts_with("visits=8"));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cookies(Vec<HeaderValue>);

impl Cookies {
    /// The value of the first cookie with this name, as it was sent; none if it is not UTF-8.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The names and values of all cookies, in order; without those that are not UTF-8.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|line| cookie::pairs(line.as_bytes())).filter_map(|(name, value)| {
            Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
        })
    }
}

impl<S: Send + Sync + 'static> Extract<S> for Cookies {
    type Error = Infallible;
    const AT_ONCE: bool = true;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, Infallible> {
        Ok(Self(req.headers().get_all(COOKIE).iter().cloned().collect()))
    }
}

/// The same with a cookie set.
impl<R: Respond> Respond for (SetCookie, R) {
    fn respond(self) -> Response {
        self.1.respond().cookie(&self.0)
    }
}

/// 500 if the webapp has no sessions, 503 if they can't be had now.
impl<S: Send + Sync + 'static> Extract<S> for Session {
    type Error = WebError;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, WebError> {
        Ok(req.session().await?)
    }
}
