//! Cookies of requests and responses.

mod key;

pub use hemi_proto::cookie::{CookieError, SameSite, SetCookie};
pub use key::{CookieKey, ShortKey};

use hemi_proto::cookie;
use http::header::SET_COOKIE;

use crate::{Request, Response};

impl Request {
    /// The value of the first cookie with this name, as it was sent; none if it is not UTF-8.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        cookie::value(self.headers(), name.as_bytes()).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// The names and values of all cookies, in order; without those that are not UTF-8.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        cookie::all(self.headers()).filter_map(|(name, value)| {
            Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
        })
    }
}

impl Response {
    /// The same with a cookie set.
    #[must_use]
    pub fn cookie(self, cookie: &SetCookie) -> Self {
        self.field(SET_COOKIE, cookie.to_header_value())
    }

    /// The same with a cookie removed: one with this name, domain and path.
    #[must_use]
    pub fn remove_cookie(self, cookie: SetCookie) -> Self {
        self.cookie(&cookie.removal())
    }
}
