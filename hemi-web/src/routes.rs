//! Which webapp is meant by the host that a request asks for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::hostname::{Hostname, Pattern};
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
    pub(crate) fn add(&mut self, webapp: &Arc<Webapp>) -> Option<Hostname> {
        for host in webapp.hosts() {
            let (map, name) = match host.pattern() {
                Pattern::Any if self.default.replace(webapp.clone()).is_none() => continue,
                Pattern::Any => return Some(host.clone()),
                Pattern::Exact(name) => (&mut self.exact, name),
                Pattern::Suffix(name) => (&mut self.suffixes, name),
                Pattern::Prefix(name) => (&mut self.prefixes, name),
            };
            if map.insert(name.clone(), webapp.clone()).is_some() {
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
        self.find_named(host()).or(self.default.as_ref())
    }

    /// The webapp that has this host among others than all.
    pub(crate) fn find_named(&self, host: &str) -> Option<&Arc<Webapp>> {
        // With the dot of the DNS root it is the same host.
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.len() > MAX_NAME {
            return None;
        }
        let exact = self.exact.get(host);
        exact.or_else(|| self.by_suffix(host)).or_else(|| self.by_prefix(host))
    }

    /// The webapp for all other hosts.
    pub(crate) fn default_webapp(&self) -> Option<&Arc<Webapp>> {
        self.default.as_ref()
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
            let hosts = hosts.iter().map(|host| host.parse().unwrap());
            let webapp = Arc::new(Webapp::new(name).hostnames(hosts));
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
        let host: Hostname = "*.shop.test".parse().unwrap();
        let again = Arc::new(Webapp::new("again").hostnames([host.clone()]));
        assert_eq!(routes.add(&again), Some(host));
    }
}
