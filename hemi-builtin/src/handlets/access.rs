//! The handlet `access`: lets in the clients of some addresses, and keeps out others.
//!
//! ```gorox
//! stage {
//! 	webapp "intranet" {
//! 		.hostnames = ("*")
//! 		rule {
//! 			access { .allow = ("127.0.0.1", "::1", "192.168.0.0/16")  .deny = ("192.168.66.0/24") }
//! 		}
//! 		rule { .returnCode = 200  .returnText = "come in" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("intranet") }
//! }
//! ```
//!
//! Of all that an address is in, the smallest block decides: a single address before a block, a block
//! before a larger one, and that before `"all"`; if it is both allowed and denied, it is denied. Who is
//! named nowhere is denied. What is denied is answered 403, all else is left to the next handlet or rule.

use hemi_core::{Component, CreateCx, Lifecycle, Prepare, Result, Run};
use hemi_web::{Handlet, Reply, Request};
use http::StatusCode;

use crate::access_list::AccessList;

pub use crate::access_list::AccessConfig;

/// Lets clients in, or not.
#[derive(Debug)]
pub struct Access(AccessList);

impl Component for Access {
    const SIGN: &'static str = "access";
    type Config = AccessConfig;

    fn create(config: AccessConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        AccessList::create(config, cx).map(Self)
    }
}

impl Lifecycle for Access {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.0.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.0.run(cx).await;
    }
}

impl Handlet for Access {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.check(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.check(req))
    }
}

impl Access {
    fn check(&self, req: &Request) -> Reply {
        if self.0.allows(req.remote_ip()) { Reply::Next } else { StatusCode::FORBIDDEN.into() }
    }
}
