//! The handlet `redirect`: tells clients to go elsewhere.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("site.test")
//! 		rule {
//! 			redirect { .map = ["/old": "/new", "/docs": "https://docs.test/"]  .status = 301 }
//! 			redirect { .pattern = `^/item/(\d+)$`  .to = "/shop?item=" + $match_1 }
//! 		}
//! 	}
//! 	webapp "others" {
//! 		.hostnames = ("*.site.test")
//! 		rule { redirect { .to = "https://site.test" + $uri  .status = 308 } }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site", "others") }
//! }
//! ```
//!
//! What neither `.map` nor `.to` is for is left to the next handlet or rule. Values of variables are
//! percent-encoded, but for those that are parts of a URI already: `$uri`, `$encodedPath`,
//! `$queryString`, `$scheme`, `$authority`, `$hostname`, `$colonport`. None of them leads to a host that
//! the config does not name.

use std::borrow::Cow;
use std::collections::HashMap;

use hemi_core::config::{ConfigType, Diagnostic, Spanned, Template};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request};
use http::StatusCode;
use serde::Deserialize;

use super::redirect_to;
use crate::uri_template::{PathPattern, Purpose, UriTemplate, UriVar};

/// Redirects requests.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct RedirectConfig {
    /// Where to: a URI, or a path on the same host.
    #[serde(default)]
    to: Option<Spanned<Template<UriVar>>>,
    /// Which paths `to` is for; all by default. What its groups match is `$match_1`, or `$match_NAME` for
    /// a group `(?<NAME>…)`. The path is decoded, as in `$path`.
    #[serde(default)]
    pattern: Option<PathPattern>,
    /// Where to, by path: exactly as in `$path`. Goes before `to`.
    #[serde(default)]
    map: HashMap<String, Spanned<Template<UriVar>>>,
    /// 301, 302, 303, 307 or 308. 301 and 308 are remembered by clients; after 307 and 308 they send the
    /// same method and content again, after the others most often a GET.
    #[serde(default)]
    status: RedirectStatus,
    /// Whether the query of the request goes along where there is no `?` in the target. Nothing behind a
    /// `?` at its end drops the query too.
    #[serde(default = "yes")]
    keep_query: bool,
}

fn yes() -> bool {
    true
}

/// A status of a redirection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
struct RedirectStatus(StatusCode);

/// A number that is no such status.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a status of a redirection: write 301, 302, 303, 307 or 308")]
struct NotARedirection(u16);

impl Default for RedirectStatus {
    fn default() -> Self {
        Self(StatusCode::FOUND)
    }
}

impl TryFrom<u16> for RedirectStatus {
    type Error = NotARedirection;

    fn try_from(code: u16) -> Result<Self, NotARedirection> {
        let status = StatusCode::from_u16(code).ok();
        let status = status.filter(|_| matches!(code, 301 | 302 | 303 | 307 | 308));
        status.map(Self).ok_or(NotARedirection(code))
    }
}

impl ConfigType for RedirectStatus {
    fn kind() -> Cow<'static, str> {
        "status".into()
    }

    fn show(&self) -> String {
        self.0.as_u16().to_string()
    }
}

/// Redirects.
#[derive(Debug)]
pub struct Redirect {
    map: HashMap<String, UriTemplate>,
    to: Option<UriTemplate>,
    pattern: Option<PathPattern>,
    status: StatusCode,
}

impl Component for Redirect {
    const SIGN: &'static str = "redirect";
    type Config = RedirectConfig;

    fn create(config: RedirectConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        if config.to.is_none() && config.map.is_empty() {
            let message = "`redirect` leads nowhere";
            return Err(Diagnostic::new(cx.span(), message).help("add `.to = …`").into());
        }
        let template =
            |to: &_, pattern| UriTemplate::new(to, Purpose::Reference, pattern, config.keep_query);
        let map = config.map.iter().map(|(path, to)| Ok((path.clone(), template(to, None)?)));
        let map = map.collect::<Result<_, Diagnostic>>()?;
        let to = config.to.as_ref().map(|to| template(to, config.pattern.as_ref())).transpose()?;
        Ok(Self { map, to, pattern: config.pattern, status: config.status.0 })
    }
}

impl Lifecycle for Redirect {}

impl Handlet for Redirect {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.redirect(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.redirect(req))
    }
}

impl Redirect {
    fn redirect(&self, req: &Request) -> Reply {
        let location = match (self.map.get(req.path()), &self.to, &self.pattern) {
            (Some(to), _, _) => to.render(req, None),
            (None, Some(to), None) => to.render(req, None),
            (None, Some(to), Some(pattern)) => match pattern.captures(req.path()) {
                Some(captures) => to.render(req, Some(&captures)),
                None => return Reply::Next,
            },
            (None, None, _) => return Reply::Next,
        };
        match location {
            Some(location) => redirect_to(self.status, location).into(),
            // It asked for no host, and is to be sent to the one it asked for.
            None => StatusCode::BAD_REQUEST.into(),
        }
    }
}
