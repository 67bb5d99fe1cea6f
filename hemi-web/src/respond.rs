//! What a handle may return, and the response that it becomes.

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use tracing::error;

use crate::{Body, Response};

/// Becomes a response. What a handle returns does, and so do errors: a user's own error type implements
/// this, and `Result<_, ThatError>` may be returned.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Html, Mapper, Path, Respond, Response};
/// use http::StatusCode;
///
/// enum Trouble {
///     Unknown(u32),
///     Closed,
/// }
///
/// impl Respond for Trouble {
///     fn respond(self) -> Response {
///         match self {
///             Self::Unknown(id) => (StatusCode::NOT_FOUND, format!("no item {id}\n")).respond(),
///             Self::Closed => StatusCode::SERVICE_UNAVAILABLE.respond(),
///         }
///     }
/// }
///
/// async fn item(Path(id): Path<u32>) -> Result<Html<String>, Trouble> {
///     match id {
///         0 => Err(Trouble::Closed),
///         1..100 => Ok(Html(format!("<p>item {id}"))),
///         _ => Err(Trouble::Unknown(id)),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::new().get("/items/{id}", item));
/// assert_eq!(client.get("/items/7").send().await.text(), "<p>item 7");
/// assert_eq!(client.get("/items/700").send().await.text(), "no item 700\n");
/// assert_eq!(client.get("/items/0").send().await.status(), 503);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that becomes a response",
    note = "text, bytes, a `StatusCode`, `Json`, `Html`, `Redirect`, `Response` do, and so do \
            `(StatusCode, R)`, `(fields, R)`, `Option<R>` and `Result<R, E>` of what does"
)]
pub trait Respond {
    /// The response.
    fn respond(self) -> Response;
}

impl Respond for Response {
    fn respond(self) -> Response {
        self
    }
}

/// The page that names the status.
impl Respond for StatusCode {
    fn respond(self) -> Response {
        self.into()
    }
}

/// 200 without content.
impl Respond for () {
    fn respond(self) -> Response {
        Response::new(StatusCode::OK)
    }
}

impl Respond for &'static str {
    fn respond(self) -> Response {
        Response::text(self)
    }
}

impl Respond for String {
    fn respond(self) -> Response {
        Response::text(self)
    }
}

impl Respond for Cow<'static, str> {
    fn respond(self) -> Response {
        match self {
            Cow::Borrowed(text) => text.respond(),
            Cow::Owned(text) => text.respond(),
        }
    }
}

/// As `application/octet-stream`.
impl Respond for Bytes {
    fn respond(self) -> Response {
        Body::from(self).respond()
    }
}

/// As `application/octet-stream`.
impl Respond for Vec<u8> {
    fn respond(self) -> Response {
        Body::from(self).respond()
    }
}

/// As `application/octet-stream`.
impl Respond for Body {
    fn respond(self) -> Response {
        Response::typed(HeaderValue::from_static("application/octet-stream"), self)
    }
}

/// None is 404.
impl<R: Respond> Respond for Option<R> {
    fn respond(self) -> Response {
        self.map_or_else(|| StatusCode::NOT_FOUND.respond(), R::respond)
    }
}

impl<R: Respond, E: Respond> Respond for Result<R, E> {
    fn respond(self) -> Response {
        self.map_or_else(E::respond, R::respond)
    }
}

impl Respond for Infallible {
    fn respond(self) -> Response {
        match self {}
    }
}

/// The same with another status.
impl<R: Respond> Respond for (StatusCode, R) {
    fn respond(self) -> Response {
        self.1.respond().with_status(self.0)
    }
}

/// The same with these fields, in the place of those of the same names.
impl<R: Respond> Respond for (HeaderMap, R) {
    fn respond(self) -> Response {
        let mut response = self.1.respond();
        response.headers_mut().extend(self.0);
        response
    }
}

/// The same with these fields, in the place of those of the same names. A value that no field can have
/// is a mistake of the program: logged, and 500.
impl<R: Respond, V, const N: usize> Respond for ([(HeaderName, V); N], R)
where
    V: TryInto<HeaderValue, Error: std::fmt::Display>,
{
    fn respond(self) -> Response {
        let mut map = HeaderMap::with_capacity(N);
        for (name, value) in self.0 {
            match value.try_into() {
                Ok(value) => {
                    map.append(name, value);
                }
                Err(e) => {
                    error!("cannot answer with the field `{name}`: {e}");
                    return StatusCode::INTERNAL_SERVER_ERROR.respond();
                }
            }
        }
        (map, self.1).respond()
    }
}

/// A page, as `text/html` in UTF-8.
///
/// ```
/// use hemi_web::{Html, Respond};
///
/// let response = Html("<p>Hello").respond();
/// assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Html<T>(pub T);

impl<T: Into<Body>> Respond for Html<T> {
    fn respond(self) -> Response {
        Response::html(self.0)
    }
}

/// Sends the client elsewhere. A target that no field can hold is a mistake of the program: logged, and
/// 500.
///
/// ```
/// use hemi_web::{Redirect, Respond};
///
/// let response = Redirect::see_other("/items/7").respond();
/// assert_eq!(response.status(), 303);
/// assert_eq!(response.headers()["location"], "/items/7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    target: String,
}

impl Redirect {
    fn new(status: StatusCode, target: impl Into<String>) -> Self {
        Self { status, target: target.into() }
    }

    /// 303: to be fetched with GET, as after a form was sent.
    #[must_use]
    pub fn see_other(target: impl Into<String>) -> Self {
        Self::new(StatusCode::SEE_OTHER, target)
    }

    /// 307: to be asked the same, this time.
    #[must_use]
    pub fn temporary(target: impl Into<String>) -> Self {
        Self::new(StatusCode::TEMPORARY_REDIRECT, target)
    }

    /// 308: to be asked the same, from now on.
    #[must_use]
    pub fn permanent(target: impl Into<String>) -> Self {
        Self::new(StatusCode::PERMANENT_REDIRECT, target)
    }

    /// 302: as 307, but many clients make a POST a GET.
    #[must_use]
    pub fn found(target: impl Into<String>) -> Self {
        Self::new(StatusCode::FOUND, target)
    }

    /// 301: as 308, but many clients make a POST a GET.
    #[must_use]
    pub fn moved(target: impl Into<String>) -> Self {
        Self::new(StatusCode::MOVED_PERMANENTLY, target)
    }
}

impl Respond for Redirect {
    fn respond(self) -> Response {
        let mut response = ([(LOCATION, self.target)], self.status).respond();
        if response.status() == self.status {
            // Nobody reads the page.
            response.headers_mut().remove(CONTENT_TYPE);
            response.set_body(Body::empty());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CACHE_CONTROL, SET_COOKIE};

    use super::*;

    #[test]
    fn fields_stand_in_the_place_of_others_and_may_be_several() {
        let fields = [(SET_COOKIE, "a=1"), (SET_COOKIE, "b=2"), (CONTENT_TYPE, "text/css")];
        let response = (StatusCode::CREATED, (fields, "p {}")).respond();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers().get_all(CONTENT_TYPE).iter().count(), 1);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/css");
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 2);
    }

    #[test]
    fn no_line_end_gets_into_a_field() {
        let response = Redirect::found("/\r\nset-cookie: a=1").respond();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!response.headers().contains_key(LOCATION));
        let response = ([(CACHE_CONTROL, "a\nb")], "").respond();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn nothing_is_not_found() {
        assert_eq!(None::<String>.respond().status(), StatusCode::NOT_FOUND);
        assert_eq!(Some("x").respond().status(), StatusCode::OK);
    }
}
