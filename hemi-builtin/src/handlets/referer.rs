//! The handlet `referer`: answers those alone who come from one of these sites.
//!
//! ```gorox
//! stage {
//! 	webapp "pictures" {
//! 		.hostnames = ("*")
//! 		rule $path $= (".jpg", ".png") {
//! 			referer { .serverNames = ("site.test", "*.site.test")  .none = true }
//! 		}
//! 		rule { .returnCode = 200  .returnText = "a picture" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("pictures") }
//! }
//! ```
//!
//! It keeps other sites from showing the contents of this one as theirs; it keeps out nobody who means
//! to get in, for a client says in the field `referer` what it likes. What does not fit is answered 403,
//! all else is left to the next handlet or rule.

use bytes::Bytes;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::authority::Authority;
use hemi_web::{Handlet, Hostname, Reply, Request};
use http::StatusCode;
use http::header::REFERER;
use serde::Deserialize;

/// Checks where requests come from, as they say.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct RefererConfig {
    /// The sites they may come from: `"site.test"`, `"*.site.test"`, `"site.*"`, or `"*"`.
    server_names: Vec<Hostname>,
    /// Whether they may say nothing.
    none: bool,
    /// Whether they may say something that is no `http` or `https` URI, as programs between client and
    /// server leave it to hide where they come from.
    blocked: bool,
}

/// Checks the field `referer`.
#[derive(Debug)]
pub struct Referer(RefererConfig);

impl Component for Referer {
    const SIGN: &'static str = "referer";
    type Config = RefererConfig;

    fn create(config: RefererConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Lifecycle for Referer {}

impl Handlet for Referer {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.check(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.check(req))
    }
}

impl Referer {
    fn check(&self, req: &Request) -> Reply {
        let mut lines = req.headers().get_all(REFERER).iter();
        let fits = match (lines.next(), lines.next()) {
            (None, _) => self.0.none,
            (Some(value), None) => self.fits(value.as_bytes()),
            // Of two neither can be believed.
            (Some(_), Some(_)) => false,
        };
        if fits { Reply::Next } else { StatusCode::FORBIDDEN.into() }
    }

    fn fits(&self, referer: &[u8]) -> bool {
        let Some(rest) = [&b"https://"[..], b"http://"].into_iter().find_map(|scheme| {
            let (start, rest) = referer.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        }) else {
            return self.0.blocked;
        };
        let host = rest.split(|b| b"/?#".contains(b)).next().unwrap_or_default();
        let Ok(authority) = Authority::parse(Bytes::copy_from_slice(host)) else { return false };
        self.0.server_names.iter().any(|name| name.matches(authority.hostname()))
    }
}
