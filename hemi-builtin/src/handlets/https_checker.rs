//! The handlet `httpsChecker`: has a site asked for over TLS alone.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule { httpsChecker { .permanent = true } }
//! 		rule { .returnCode = 200  .returnText = "hello" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Requests that come in the clear are redirected to `https`: by 302, or 301 if that is permanent; those
//! that are neither GET nor HEAD by 307 or 308, so that they stay what they are. Path and query stay the
//! same. All others are left to the next handlet or rule.

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request, Scheme};
use http::StatusCode;
use serde::Deserialize;

use super::move_to;
use crate::authority::SiteAuthority;

/// Redirects requests that come in the clear.
#[derive(Debug, Deserialize, Explain)]
pub struct HttpsCheckerConfig {
    /// Host, and port unless it is 443, to be redirected to; by default the host asked for, at 443.
    #[serde(default)]
    authority: Option<SiteAuthority>,
    /// Whether clients may remember where they were sent.
    #[serde(default)]
    permanent: bool,
}

/// Redirects to `https`.
#[derive(Debug)]
pub struct HttpsChecker(HttpsCheckerConfig);

impl Component for HttpsChecker {
    const SIGN: &'static str = "httpsChecker";
    type Config = HttpsCheckerConfig;

    fn create(config: HttpsCheckerConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Lifecycle for HttpsChecker {}

impl Handlet for HttpsChecker {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.check(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.check(req))
    }
}

impl HttpsChecker {
    fn check(&self, req: &Request) -> Reply {
        if req.scheme() == Scheme::Https {
            return Reply::Next;
        }
        let wanted = self.0.authority.as_ref().map_or_else(|| req.hostname(), |a| a.as_str());
        if wanted.is_empty() {
            return StatusCode::BAD_REQUEST.into();
        }
        move_to(req, Scheme::Https, &[wanted], self.0.permanent.into())
    }
}
