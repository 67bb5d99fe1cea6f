//! A cookie that a server sets, which no client can read in another way than it was meant.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use thiserror::Error;

use crate::ascii::is_token;
use crate::date::format_date;

/// A cookie with its attributes, as RFC 6265bis (section 4.1) has servers send it.
///
/// What an attribute or the prefix of the name demands is set along with it: `SameSite=None`,
/// `Partitioned` and the prefix `__Secure-` make the cookie `Secure`, the prefix `__Host-` also gives it
/// the path `/`. Clients ignore cookies that lack it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    name: Box<str>,
    value: Box<str>,
    domain: Option<Box<str>>,
    path: Option<Box<str>>,
    expires: Option<SystemTime>,
    max_age: Option<Duration>,
    same_site: Option<SameSite>,
    secure: bool,
    http_only: bool,
    partitioned: bool,
}

/// On which requests from other sites a cookie is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// On none.
    Strict,
    /// When the user follows a link.
    Lax,
    /// On all; such a cookie is `Secure`.
    None,
}

impl SameSite {
    fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// Why a cookie can't be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CookieError {
    /// The name is empty, or has a byte that tokens don't have (RFC 9110 section 5.6.2).
    #[error("the name of a cookie must be a token")]
    Name,
    /// The value has a byte other than visible ASCII without quote, comma, semicolon and backslash. It
    /// may be in quotes.
    #[error("the value of a cookie has a byte that must be encoded")]
    Value,
    /// Name and value have over 4,096 bytes, or an attribute over 1,024: clients drop them.
    #[error("the cookie is too long for clients")]
    TooLong,
    /// The domain is no hostname. It covers those below it and so has no dot in front.
    #[error("the domain of a cookie must be a hostname")]
    Domain,
    /// The path does not start with a slash, or has a semicolon or a byte that is not printable ASCII.
    #[error("the path of a cookie must start with a slash, without semicolon or control byte")]
    Path,
    /// The prefix of the name rules a domain, or another path than `/`, out.
    #[error("a `__Host-` cookie has no domain, and the path /")]
    HostPrefix,
}

const MAX_PAIR: usize = 4096;
const MAX_ATTRIBUTE: usize = 1024;

impl SetCookie {
    /// A cookie that lasts as long as the client's session, for the host that sets it.
    ///
    /// # Errors
    /// [`CookieError::Name`], [`CookieError::Value`] or [`CookieError::TooLong`].
    pub fn new(name: &str, value: &str) -> Result<Self, CookieError> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(CookieError::Name);
        }
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        if !bare.bytes().all(is_cookie_octet) {
            return Err(CookieError::Value);
        }
        if name.len() + value.len() > MAX_PAIR {
            return Err(CookieError::TooLong);
        }
        let mut cookie = Self {
            name: name.into(),
            value: value.into(),
            domain: None,
            path: None,
            expires: None,
            max_age: None,
            same_site: None,
            secure: has_prefix(name, "__Secure-"),
            http_only: false,
            partitioned: false,
        };
        if cookie.is_host_only() {
            (cookie.secure, cookie.path) = (true, Some("/".into()));
        }
        Ok(cookie)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, with its quotes if it has any.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The same for this host and all below it.
    ///
    /// # Errors
    /// [`CookieError::Domain`], [`CookieError::TooLong`] or [`CookieError::HostPrefix`].
    pub fn domain(mut self, domain: &str) -> Result<Self, CookieError> {
        let in_label = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !domain.split('.').all(|label| !label.is_empty() && label.bytes().all(in_label)) {
            return Err(CookieError::Domain);
        }
        if domain.len() > MAX_ATTRIBUTE {
            return Err(CookieError::TooLong);
        }
        if self.is_host_only() {
            return Err(CookieError::HostPrefix);
        }
        self.domain = Some(domain.into());
        Ok(self)
    }

    /// The same for this path and those below it; without, for the directory of the request's.
    ///
    /// # Errors
    /// [`CookieError::Path`], [`CookieError::TooLong`] or [`CookieError::HostPrefix`].
    pub fn path(mut self, path: &str) -> Result<Self, CookieError> {
        let good = |b: u8| matches!(b, b' '..=b'~') && b != b';';
        // A blank at the end would be taken off.
        if !path.starts_with('/') || !path.bytes().all(good) || path.ends_with(' ') {
            return Err(CookieError::Path);
        }
        if path.len() > MAX_ATTRIBUTE {
            return Err(CookieError::TooLong);
        }
        if self.is_host_only() && path != "/" {
            return Err(CookieError::HostPrefix);
        }
        self.path = Some(path.into());
        Ok(self)
    }

    /// The same until this time, in whole seconds; [`max_age`](Self::max_age) goes before it.
    #[must_use]
    pub fn expires(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// The same for this long, in whole seconds; clients cut it to 400 days.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The same over TLS only.
    #[must_use]
    pub fn secure(mut self) -> Self {
        self.secure = true;
        self
    }

    /// The same, hidden from scripts.
    #[must_use]
    pub fn http_only(mut self) -> Self {
        self.http_only = true;
        self
    }

    /// The same, sent on those requests from other sites only.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = Some(same_site);
        self.secure |= same_site == SameSite::None;
        self
    }

    /// The same, kept apart for each site that the one setting it is embedded in.
    #[must_use]
    pub fn partitioned(mut self) -> Self {
        (self.partitioned, self.secure) = (true, true);
        self
    }

    /// One that has the client forget this: it must have the same name, domain and path.
    #[must_use]
    pub fn removal(mut self) -> Self {
        self.value = "".into();
        self.expires(UNIX_EPOCH).max_age(Duration::ZERO)
    }

    /// The value of a Set-Cookie field.
    pub fn to_header_value(&self) -> HeaderValue {
        let mut text = format!("{}={}", self.name, self.value);
        let mut attribute = |name: &str, value: &str| {
            text.push_str("; ");
            text.push_str(name);
            text.push_str(value);
        };
        if let Some(domain) = &self.domain {
            attribute("Domain=", domain);
        }
        if let Some(path) = &self.path {
            attribute("Path=", path);
        }
        if let Some(at) = self.expires {
            attribute("Expires=", &String::from_utf8_lossy(&format_date(at)));
        }
        if let Some(age) = self.max_age {
            attribute("Max-Age=", &age.as_secs().to_string());
        }
        if self.secure {
            attribute("Secure", "");
        }
        if self.http_only {
            attribute("HttpOnly", "");
        }
        if let Some(same_site) = self.same_site {
            attribute("SameSite=", same_site.as_str());
        }
        if self.partitioned {
            attribute("Partitioned", "");
        }
        HeaderValue::try_from(text).expect("all parts are printable ASCII")
    }

    fn is_host_only(&self) -> bool {
        has_prefix(&self.name, "__Host-")
    }
}

/// Clients compare prefixes without regard to case (RFC 6265bis section 5.7).
fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn is_cookie_octet(b: u8) -> bool {
    matches!(b, b'!'..=b'~') && !matches!(b, b'"' | b',' | b';' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(name: &str) -> SetCookie {
        SetCookie::new(name, "v").expect(name)
    }

    #[test]
    fn attributes() {
        let day = Duration::from_secs(86_400);
        for (cookie, expected) in [
            (cookie("a"), "a=v"),
            (SetCookie::new("a", "").expect("empty"), "a="),
            (SetCookie::new("a", "\"b=c\"").expect("quoted"), "a=\"b=c\""),
            (cookie("a").domain("b.test").expect("domain"), "a=v; Domain=b.test"),
            (cookie("a").path("/b c").expect("path"), "a=v; Path=/b c"),
            (cookie("a").expires(UNIX_EPOCH + day), "a=v; Expires=Fri, 02 Jan 1970 00:00:00 GMT"),
            (cookie("a").max_age(day), "a=v; Max-Age=86400"),
            (cookie("a").secure().http_only(), "a=v; Secure; HttpOnly"),
            (cookie("a").same_site(SameSite::Lax), "a=v; SameSite=Lax"),
            (cookie("a").same_site(SameSite::Strict), "a=v; SameSite=Strict"),
            (cookie("a").same_site(SameSite::None), "a=v; Secure; SameSite=None"),
            (cookie("a").partitioned(), "a=v; Secure; Partitioned"),
            (cookie("__Secure-a"), "__Secure-a=v; Secure"),
            (cookie("__host-a"), "__host-a=v; Path=/; Secure"),
            (
                cookie("a").path("/b").expect("path").removal(),
                "a=; Path=/b; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0",
            ),
        ] {
            assert_eq!(cookie.to_header_value(), expected);
        }
    }

    #[test]
    fn names_and_values_refused() {
        let long = "v".repeat(MAX_PAIR);
        for (name, value, error) in [
            ("", "v", CookieError::Name),
            ("a b", "v", CookieError::Name),
            ("a=b", "v", CookieError::Name),
            ("a;b", "v", CookieError::Name),
            ("é", "v", CookieError::Name),
            ("a", "b;c", CookieError::Value),
            ("a", "b c", CookieError::Value),
            ("a", "b,c", CookieError::Value),
            ("a", "b\\c", CookieError::Value),
            ("a", "b\r\nc", CookieError::Value),
            ("a", "é", CookieError::Value),
            ("a", "\"", CookieError::Value),
            ("a", "\"b", CookieError::Value),
            ("a", "\"b\"c\"", CookieError::Value),
            ("a", &long, CookieError::TooLong),
        ] {
            assert_eq!(SetCookie::new(name, value), Err(error), "{name}={value}");
        }
        assert!(SetCookie::new("a", &long[1..]).is_ok());
    }

    #[test]
    fn attributes_refused() {
        let long = "a".repeat(MAX_ATTRIBUTE);
        for (name, domain, error) in [
            ("a", "", CookieError::Domain),
            ("a", ".b.test", CookieError::Domain),
            ("a", "b..test", CookieError::Domain),
            ("a", "b.test;c", CookieError::Domain),
            ("a", "b.test:80", CookieError::Domain),
            ("a", &format!("{long}a"), CookieError::TooLong),
            ("__HOST-a", "b.test", CookieError::HostPrefix),
        ] {
            assert_eq!(cookie(name).domain(domain), Err(error), "{domain}");
        }
        for (name, path, error) in [
            ("a", "", CookieError::Path),
            ("a", "b", CookieError::Path),
            ("a", "/b;c", CookieError::Path),
            ("a", "/b\n", CookieError::Path),
            ("a", "/é", CookieError::Path),
            ("a", "/b ", CookieError::Path),
            ("a", &format!("/{long}"), CookieError::TooLong),
            ("__Host-a", "/b", CookieError::HostPrefix),
        ] {
            assert_eq!(cookie(name).path(path), Err(error), "{path}");
        }
        assert!(cookie("__Host-a").path("/").is_ok());
        assert!(cookie("__Secure-a").path("/b").is_ok());
        assert!(cookie("a").domain(&long).is_ok());
    }
}
