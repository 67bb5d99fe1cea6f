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

use std::num::NonZeroU16;

use hemi_core::config::Diagnostic;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request, Scheme};
use http::StatusCode;
use serde::Deserialize;

use super::move_to;
use crate::authority::SiteAuthority;

/// Redirects requests that come in the clear.
#[derive(Debug, Deserialize, Explain)]
pub struct HttpsCheckerConfig {
    /// Host, and port unless it is 443, to be redirected to; by default the host asked for, and `port`.
    #[serde(default)]
    authority: Option<SiteAuthority>,
    /// The port of the host asked for that is to be redirected to.
    #[serde(default = "https_port")]
    port: NonZeroU16,
    /// Whether clients may remember where they were sent.
    #[serde(default)]
    permanent: bool,
}

fn https_port() -> NonZeroU16 {
    const { NonZeroU16::new(443).unwrap() }
}

/// Redirects to `https`.
#[derive(Debug)]
pub struct HttpsChecker {
    authority: Option<SiteAuthority>,
    /// With its colon, unless it goes without saying.
    colonport: String,
    permanent: bool,
}

impl Component for HttpsChecker {
    const SIGN: &'static str = "httpsChecker";
    type Config = HttpsCheckerConfig;

    fn create(config: HttpsCheckerConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let HttpsCheckerConfig { authority, port, permanent } = config;
        let by_default = port == https_port();
        if authority.is_some() && !by_default {
            let message = "`.authority` has the port, and `.port` has another";
            return Err(Diagnostic::new(cx.span(), message).help("remove one of them").into());
        }
        let colonport = if by_default { String::new() } else { format!(":{port}") };
        Ok(Self { authority, colonport, permanent })
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
        let wanted = match &self.authority {
            Some(authority) => [authority.as_str(), ""],
            // It asked for no host, and is to be sent to the one it asked for.
            None if req.hostname().is_empty() => return StatusCode::BAD_REQUEST.into(),
            None => [req.hostname(), &self.colonport],
        };
        move_to(req, Scheme::Https, &wanted, self.permanent.into())
    }
}
