//! Which hosts a webapp answers for.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use hemi_core::config::ConfigType;
use serde::Deserialize;

/// One host, or several that look alike: `"shop.test"`, `"*.shop.test"`, `"shop.*"`, or `"*"` for all
/// that no other webapp has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Hostname(Pattern);

/// In lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pattern {
    Exact(String),
    /// `.x` for `*.x`
    Suffix(String),
    /// `x.` for `x.*`
    Prefix(String),
    Any,
}

/// A text that no host is named by.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is not a hostname: write \"shop.test\", \"*.shop.test\", \"shop.*\" or \"*\", without scheme or port"
)]
pub struct HostnameError(String);

impl Hostname {
    /// `*`: all hosts that no other webapp has.
    pub const ANY: Self = Self(Pattern::Any);

    /// Whether it is this host, given in lower case and without port, or looks like it.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        // With the dot of the DNS root it is the same host.
        let host = host.strip_suffix('.').unwrap_or(host);
        match &self.0 {
            Pattern::Exact(exact) => host == exact,
            Pattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
            Pattern::Prefix(prefix) => host.len() > prefix.len() && host.starts_with(&**prefix),
            Pattern::Any => true,
        }
    }

    pub(crate) fn pattern(&self) -> &Pattern {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        // With the dot of the DNS root it is the same host.
        let lower = text.strip_suffix('.').filter(|name| !name.ends_with('*')).unwrap_or(text);
        let lower = lower.to_ascii_lowercase();
        let pattern = if lower == "*" {
            Pattern::Any
        } else if let Some(suffix) = lower.strip_prefix('*').filter(|s| s.starts_with('.')) {
            Pattern::Suffix(suffix.to_owned())
        } else if let Some(prefix) = lower.strip_suffix('*').filter(|p| p.ends_with('.')) {
            Pattern::Prefix(prefix.to_owned())
        } else {
            Pattern::Exact(lower)
        };
        let good = match &pattern {
            Pattern::Exact(host) => is_name(host) || is_ipv6(host),
            Pattern::Suffix(affix) | Pattern::Prefix(affix) => is_name(affix.trim_matches('.')),
            Pattern::Any => true,
        };
        if good { Ok(Self(pattern)) } else { Err(HostnameError(text.to_owned())) }
    }
}

/// Labels of letters, digits, `-` and `_`; an IPv4 address looks the same.
fn is_name(text: &str) -> bool {
    let in_label = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(in_label))
}

fn is_ipv6(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

impl TryFrom<String> for Hostname {
    type Error = HostnameError;

    fn try_from(text: String) -> Result<Self, HostnameError> {
        text.parse()
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Exact(host) => f.write_str(host),
            Pattern::Suffix(suffix) => write!(f, "*{suffix}"),
            Pattern::Prefix(prefix) => write!(f, "{prefix}*"),
            Pattern::Any => f.write_str("*"),
        }
    }
}

impl ConfigType for Hostname {
    fn kind() -> Cow<'static, str> {
        "hostname".into()
    }

    fn show(&self) -> String {
        self.to_string().show()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_hostnames() {
        for (text, shown) in [
            ("shop.test", Some("shop.test")),
            ("Shop.Test", Some("shop.test")),
            ("localhost", Some("localhost")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("[::1]")),
            ("*.shop.test", Some("*.shop.test")),
            ("shop.*", Some("shop.*")),
            ("*", Some("*")),
            ("", None),
            ("shop.test:80", None),
            ("http://shop.test", None),
            ("shop.test/", None),
            ("shop..test", None),
            ("shop.test.", Some("shop.test")),
            ("*shop.test", None),
            ("*.", None),
            (".*", None),
            ("*.*", None),
            ("a.*.b", None),
            ("shop*", None),
            ("u@shop.test", None),
            ("::1", None),
            ("schön.test", None),
        ] {
            let parsed: Option<Hostname> = text.parse().ok();
            assert_eq!(parsed.map(|h| h.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn hosts_and_what_they_look_like() {
        for (pattern, host, matches) in [
            ("shop.test", "shop.test", true),
            ("shop.test", "shop.test.", true),
            ("shop.test", "www.shop.test", false),
            ("*.shop.test", "www.shop.test", true),
            ("*.shop.test", "a.b.shop.test", true),
            ("*.shop.test", "shop.test", false),
            ("*.shop.test", ".shop.test", false),
            ("*.shop.test", "evilshop.test", false),
            ("shop.*", "shop.test", true),
            ("shop.*", "shop.", false),
            ("shop.*", "shopping.test", false),
            ("*", "anything", true),
        ] {
            assert_eq!(
                pattern.parse::<Hostname>().unwrap().matches(host),
                matches,
                "{pattern} {host}"
            );
        }
    }
}
