//! Keeping a client at a node: by a cookie that names the node, and tells nobody where it is.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use hemi_core::backend::{Endpoint, Nodes};
use hemi_core::config::Secret;
use hemi_core::cores::PerCore;
use hemi_core::{CreateCx, Explain};
use hemi_proto::cookie;
use hemi_web::{CookieName, Request, SameSite, Scheme, SetCookie};
use http::HeaderValue;
use serde::Deserialize;

/// Properties of proxies that keep clients at their nodes.
#[derive(Clone, Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct StickyConfig {
    /// The cookie that leads a client back to the node it was given first, while that is fit; none for no
    /// such cookie.
    pub sticky_cookie: Option<CookieName>,
    /// How long the cookie lasts; 0s for as long as the browser is open.
    pub sticky_time: Duration,
    /// A text that makes cookies tell nothing about where nodes are, the same for all servers that have the same
    /// nodes. None for one that anybody knows, who might find a node's address out by trying.
    pub sticky_secret: Option<Secret>,
}

/// Keeps clients at their nodes.
#[derive(Debug)]
pub(crate) struct Sticky {
    name: String,
    time: Duration,
    key: hmac::Key,
    /// What cookies say, and the nodes that they mean.
    known: PerCore<HashMap<Box<str>, u64>>,
}

/// Bytes of what a cookie says, before they are written in hexadecimal.
const TOKEN: usize = 12;

/// Texts of cookies that are remembered by a core.
const KNOWN: usize = 1000;

impl Sticky {
    /// If there is to be a cookie.
    pub(crate) fn of(config: StickyConfig, cx: &CreateCx<'_>) -> Option<Self> {
        let name = config.sticky_cookie?.as_str().to_owned();
        let secret = config.sticky_secret.as_ref().map_or("", Secret::expose);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let known = PerCore::new(cx.cores(), HashMap::new);
        Some(Self { name, time: config.sticky_time, key, known })
    }

    /// The node that a request's cookie means.
    pub(crate) fn node_of(&self, req: &Request, nodes: &Nodes) -> Option<u64> {
        let sent = cookie::value(req.headers(), self.name.as_bytes())?;
        let sent = str::from_utf8(sent).ok().filter(|sent| sent.len() == TOKEN * 2)?;
        if let Some(id) = self.known.mine().get(sent) {
            return Some(*id);
        }
        let meant = nodes.endpoints().into_iter().find(|node| self.token(node) == sent)?;
        let mut known = self.known.mine();
        if known.len() < KNOWN {
            known.insert(sent.into(), meant.id());
        }
        Some(meant.id())
    }

    /// The cookie that leads a client back to a node.
    pub(crate) fn cookie(&self, node: &Endpoint, scheme: Scheme) -> Option<HeaderValue> {
        let mut cookie = SetCookie::new(&self.name, &self.token(node)).ok()?;
        cookie = cookie.path("/").ok()?.http_only().same_site(SameSite::Lax);
        if scheme == Scheme::Https {
            cookie = cookie.secure();
        }
        if !self.time.is_zero() {
            cookie = cookie.max_age(self.time);
        }
        Some(cookie.to_header_value())
    }

    fn token(&self, node: &Endpoint) -> String {
        let tag = hmac::sign(&self.key, node.target().to_string().as_bytes());
        tag.as_ref().iter().take(TOKEN).map(|byte| format!("{byte:02x}")).collect()
    }
}
