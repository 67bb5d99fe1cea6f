//! Which webapp is meant by the host that a request asks for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use hemi_core::config::ConfigType;
use hemi_proto::authority::Authority;
use serde::Deserialize;
use thiserror::Error;

use crate::webapp::Webapp;

/// Finds webapps by the host asked for.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    exact: HashMap<String, Arc<Webapp>>,
    /// `.x` for `*.x`.
    suffixes: HashMap<String, Arc<Webapp>>,
    /// `x.` for `x.*`.
    prefixes: HashMap<String, Arc<Webapp>>,
    default: Option<Arc<Webapp>>,
}

/// The most that a name of the DNS has (RFC 1035, 2.3.4).
const MAX_NAME: usize = 255;

impl Routes {
    /// Adds a webapp; the first of its hostnames that another has is returned.
    pub(crate) fn add(&mut self, webapp: &Arc<Webapp>) -> Option<String> {
        for host in webapp.hosts() {
            let map = if host == "*" {
                if self.default.replace(webapp.clone()).is_some() {
                    return Some(host.clone());
                }
                continue;
            } else if host.starts_with('*') {
                &mut self.suffixes
            } else if host.ends_with('*') {
                &mut self.prefixes
            } else {
                &mut self.exact
            };
            if map.insert(host.trim_matches('*').to_owned(), webapp.clone()).is_some() {
                return Some(host.clone());
            }
        }
        None
    }

    /// The webapp for a host, which is only asked for if it matters: that of the whole name, else that
    /// of the longest pattern, of which those with `*` in front go first.
    pub(crate) fn find<'h>(&self, host: impl FnOnce() -> &'h str) -> Option<&Arc<Webapp>> {
        if self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() {
            return self.default.as_ref();
        }
        let host = host();
        // With the dot of the DNS root it is the same host.
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.len() > MAX_NAME {
            return self.default.as_ref();
        }
        self.exact
            .get(host)
            .or_else(|| self.by_suffix(host))
            .or_else(|| self.by_prefix(host))
            .or(self.default.as_ref())
    }

    fn by_suffix(&self, host: &str) -> Option<&Arc<Webapp>> {
        if self.suffixes.is_empty() {
            return None;
        }
        // The part that `*` stands for must not be empty.
        let mut dots = host.match_indices('.').filter(|(at, _)| *at > 0);
        dots.find_map(|(at, _)| self.suffixes.get(host.get(at..)?))
    }

    fn by_prefix(&self, host: &str) -> Option<&Arc<Webapp>> {
        if self.prefixes.is_empty() {
            return None;
        }
        let mut dots = host.rmatch_indices('.').filter(|(at, _)| at + 1 < host.len());
        dots.find_map(|(at, _)| self.prefixes.get(host.get(..=at)?))
    }
}

/// A hostname, or a pattern of some: `shop.test`, `*.shop.test`, `shop.*`, `*`. In lower case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostPattern(pub(crate) String);

/// A text is neither a hostname nor a pattern of some.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("\"{0}\" is not a hostname; write \"shop.test\", \"*.shop.test\", \"shop.*\" or \"*\"")]
pub struct NotAHost(String);

impl TryFrom<String> for HostPattern {
    type Error = NotAHost;

    fn try_from(text: String) -> Result<Self, NotAHost> {
        let name = text.strip_prefix("*.").or_else(|| text.strip_suffix(".*")).unwrap_or(&text);
        let authority = Authority::parse(name.to_owned().into());
        let is_name = !name.is_empty()
            && !name.contains('*')
            && authority.is_ok_and(|authority| authority.hostname().len() == name.len());
        if is_name || text == "*" {
            Ok(Self(text.strip_suffix('.').unwrap_or(&text).to_ascii_lowercase()))
        } else {
            Err(NotAHost(text))
        }
    }
}

impl ConfigType for HostPattern {
    fn kind() -> Cow<'static, str> {
        String::kind()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_find_their_webapps() {
        let mut routes = Routes::default();
        for (name, hosts) in [
            ("exact", &["shop.test", "www.shop.test"][..]),
            ("suffix", &["*.shop.test"]),
            ("longer", &["*.eu.shop.test"]),
            ("prefix", &["shop.*"]),
            ("longer prefix", &["shop.eu.*"]),
            ("default", &["*"]),
        ] {
            let webapp = Arc::new(Webapp::new(name).hostnames(hosts.iter().copied()));
            assert_eq!(routes.add(&webapp), None);
        }
        let long = format!("{}.shop.test", "a".repeat(300));
        for (host, expected) in [
            ("shop.test", "exact"),
            ("shop.test.", "exact"),
            ("www.shop.test", "exact"),
            ("a.shop.test", "suffix"),
            ("a.shop.test.", "suffix"),
            ("a.b.shop.test", "suffix"),
            ("a.eu.shop.test", "longer"),
            ("eu.shop.test", "suffix"),
            (".shop.test", "default"),
            ("ashop.test", "default"),
            ("shop.example", "prefix"),
            ("shop.eu.example", "longer prefix"),
            ("shop.", "default"),
            ("other.test", "default"),
            ("..", "default"),
            ("", "default"),
            (&long, "default"),
        ] {
            assert_eq!(routes.find(|| host).unwrap().name(), expected, "{host}");
        }
        let again = Arc::new(Webapp::new("again").hostnames(["*.shop.test"]));
        assert_eq!(routes.add(&again).as_deref(), Some("*.shop.test"));
    }

    #[test]
    fn patterns_are_hostnames_with_a_star_for_whole_labels() {
        for (text, pattern) in [
            ("*", "*"),
            ("Shop.test", "shop.test"),
            ("shop.test.", "shop.test"),
            ("*.shop.test", "*.shop.test"),
            ("shop.*", "shop.*"),
            ("[::1]", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(HostPattern::try_from(text.to_owned()).unwrap().0, pattern, "{text}");
        }
        for text in [
            "",
            "*.",
            ".*",
            "**",
            "*shop.test",
            "shop*",
            "a.*.b",
            "*.shop.*",
            "shop.test:80",
            "shop.test:",
            "http://shop.test",
            "shop.test/",
            "shop test",
            "u@shop.test",
            "é.test",
        ] {
            assert!(HostPattern::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
