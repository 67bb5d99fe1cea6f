//! The handlet `hostnameChecker`: has a site asked for by one name alone.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("site.test", "*.site.test")
//! 		rule { hostnameChecker { .hostname = "site.test"  .permanent = true } }
//! 		rule { .returnCode = 200  .returnText = "hello" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Requests for another host are redirected to this one: by 302, or 301 if that is permanent; those that
//! are neither GET nor HEAD by 307 or 308, so that they stay what they are. Scheme, port, path and query
//! stay the same. All others are left to the next handlet or rule.

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request};
use serde::Deserialize;

use super::move_to;
use crate::authority::SiteHost;

/// Redirects requests for other hosts.
#[derive(Debug, Deserialize, Explain)]
pub struct HostnameCheckerConfig {
    /// The one host to ask for, without a port.
    hostname: SiteHost,
    /// Whether clients may remember where they were sent.
    #[serde(default)]
    permanent: bool,
}

/// Redirects to one host.
#[derive(Debug)]
pub struct HostnameChecker(HostnameCheckerConfig);

impl Component for HostnameChecker {
    const SIGN: &'static str = "hostnameChecker";
    type Config = HostnameCheckerConfig;

    fn create(config: HostnameCheckerConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Lifecycle for HostnameChecker {}

impl Handlet for HostnameChecker {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.check(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.check(req))
    }
}

impl HostnameChecker {
    fn check(&self, req: &Request) -> Reply {
        let wanted = self.0.hostname.as_str();
        if req.hostname() == wanted {
            return Reply::Next;
        }
        let port = req.authority().map_or("", |authority| authority.colonport());
        move_to(req, req.scheme(), &[wanted, port], self.0.permanent.into())
    }
}
