//! Where other servers are asked over HTTP.

use std::borrow::Cow;
use std::path::PathBuf;
use std::str::FromStr;

use http::{HeaderValue, Uri};
use serde::Deserialize;

use super::ConfigType;

/// A URL to ask at.
///
/// In a config: `"http://HOST:PORT/PATH?QUERY"`, the same with `https`, or `"unix:PATH"` for `/` by a Unix socket, or
/// `"unix:PATH:/PATH?QUERY"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpUrl {
    pub(crate) origin: Origin,
    /// The field `host`.
    pub(crate) authority: HeaderValue,
    /// Path and query.
    pub(crate) target: String,
    text: String,
}

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Tcp { host: String, port: u16, scheme: Scheme },
    Unix(PathBuf),
}

/// Whether connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// A text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a URL like http://host:port/path")]
pub struct BadUrl;

impl FromStr for HttpUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if let Some(rest) = text.strip_prefix("unix:") {
            let (path, target) = match rest.find(":/") {
                Some(at) => (&rest[..at], &rest[at + 1..]),
                None => (rest, "/"),
            };
            let good = !path.is_empty() && target.parse::<Uri>().is_ok();
            return good.then(|| Self::unix(path, target, text)).ok_or(BadUrl);
        }
        let uri: Uri = text.parse().map_err(|_| BadUrl)?;
        let (scheme, port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(BadUrl),
        };
        let authority = uri.authority().ok_or(BadUrl)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(BadUrl);
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(port);
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            origin: Origin::Tcp { host, port, scheme },
            authority: HeaderValue::try_from(authority.as_str()).map_err(|_| BadUrl)?,
            target: if target.starts_with('?') { format!("/{target}") } else { target.to_owned() },
            text: text.to_owned(),
        })
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = BadUrl;

    fn try_from(text: String) -> Result<Self, BadUrl> {
        text.parse()
    }
}

impl ConfigType for HttpUrl {
    fn kind() -> Cow<'static, str> {
        "URL".into()
    }

    fn show(&self) -> String {
        self.text.show()
    }
}

impl HttpUrl {
    fn unix(path: &str, target: &str, text: &str) -> Self {
        Self {
            origin: Origin::Unix(path.into()),
            authority: HeaderValue::from_static("localhost"),
            target: target.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The same with this added to its query: `name=value`, of letters that stand for themselves there.
    #[must_use]
    pub(crate) fn with_query(&self, pair: &str) -> Self {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        let target = format!("{}{separator}{pair}", self.target);
        Self { target, ..self.clone() }
    }

    /// The same with this path and query instead.
    ///
    /// # Errors
    /// When it is none.
    pub fn with_target(&self, target: &str) -> Result<Self, BadUrl> {
        let good = target.starts_with('/') && target.parse::<Uri>().is_ok();
        let changed = Self { target: target.to_owned(), ..self.clone() };
        good.then_some(changed).ok_or(BadUrl)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_to_connect_and_what_to_ask_for() {
        let of = |host: &str, port, scheme| Origin::Tcp { host: host.to_owned(), port, scheme };
        let tcp = |host, port| of(host, port, Scheme::Http);
        let unix = |path: &str| Origin::Unix(path.into());
        for (text, origin, authority, target) in [
            ("http://x.test", tcp("x.test", 80), "x.test", "/"),
            ("http://x.test:81/a/b?c=d", tcp("x.test", 81), "x.test:81", "/a/b?c=d"),
            ("http://x.test?a", tcp("x.test", 80), "x.test", "/?a"),
            ("https://x.test/a", of("x.test", 443, Scheme::Https), "x.test", "/a"),
            ("https://x.test:444", of("x.test", 444, Scheme::Https), "x.test:444", "/"),
            ("http://[::1]:80/", tcp("::1", 80), "[::1]:80", "/"),
            ("unix:/run/a.sock", unix("/run/a.sock"), "localhost", "/"),
            ("unix:a.sock:/b?c", unix("a.sock"), "localhost", "/b?c"),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!((url.origin, &*url.target), (origin, target), "{text}");
            assert_eq!(url.authority, authority, "{text}");
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "x.conf",
            "/a",
            "ftp://x.test/",
            "http:///a",
            "http://me@x.test/",
            "unix:",
            "unix::/a",
        ] {
            assert_eq!(text.parse::<HttpUrl>(), Err(BadUrl), "{text}");
        }
    }
}
