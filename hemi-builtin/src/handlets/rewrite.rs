//! The handlet `rewrite`: gives requests another path.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule { rewrite { .pattern = `^/user/(?<id>\d+)$`  .to = "/user.php?id=" + $match_id } }
//! 		rule { rewrite { .pattern = `^/v1/(.*)`  .to = "/" + $match_1  .again = false } }
//! 		rule $path == "/user.php" { .returnCode = 200  .returnText = $queryString }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Those that come after see the new `$path`, `$encodedPath` and `$queryString`; `$uri` stays as it was
//! sent. Values of variables are percent-encoded, but for those that are parts of a URI already. A path
//! that comes out with a `.` or `..` segment is answered 400.
//!
//! Where rules are asked again, those that check do so anew; those that count requests, or add fields or
//! an id to them, do it once.

use hemi_core::config::{Spanned, Template};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request};
use http::StatusCode;
use serde::Deserialize;

use crate::uri_template::{PathPattern, Purpose, UriTemplate, UriVar};

/// Gives requests another path, and maybe another query.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct RewriteConfig {
    /// Which paths: others are left as they are. The path is decoded, as in `$path`.
    pattern: PathPattern,
    /// The new path, from its `/`, and maybe a query. What the groups of the pattern match is `$match_1`,
    /// or `$match_NAME` for a group `(?<NAME>…)`.
    to: Spanned<Template<UriVar>>,
    /// Whether the query of the request stays where there is no `?` in `to`. Nothing behind a `?` at its
    /// end drops the query too.
    #[serde(default = "yes")]
    keep_query: bool,
    /// Whether the webapp's rules are asked from the first on about a request that has changed, at most
    /// 10 times, with a 500 after that. Else it goes on with the next handlet or rule.
    #[serde(default = "yes")]
    again: bool,
}

fn yes() -> bool {
    true
}

/// Rewrites paths.
#[derive(Debug)]
pub struct Rewrite {
    pattern: PathPattern,
    to: UriTemplate,
    again: bool,
}

impl Component for Rewrite {
    const SIGN: &'static str = "rewrite";
    type Config = RewriteConfig;

    fn create(config: RewriteConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        let RewriteConfig { pattern, to, keep_query, again } = config;
        let to = UriTemplate::new(&to, Purpose::Target, Some(&pattern), keep_query)?;
        Ok(Self { pattern, to, again })
    }
}

impl Lifecycle for Rewrite {}

impl Handlet for Rewrite {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.rewrite(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.rewrite(req))
    }
}

impl Rewrite {
    fn rewrite(&self, req: &mut Request) -> Reply {
        let Some(captures) = self.pattern.captures(req.path()) else { return Reply::Next };
        let Some(target) = self.to.render(req, Some(&captures)) else {
            return StatusCode::BAD_REQUEST.into();
        };
        if target == req.path_and_query() {
            return Reply::Next;
        }
        match req.set_target(target) {
            Ok(()) if self.again => Reply::Again,
            Ok(()) => Reply::Next,
            Err(_) => StatusCode::BAD_REQUEST.into(),
        }
    }
}
