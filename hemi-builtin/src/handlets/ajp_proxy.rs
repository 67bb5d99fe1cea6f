//! The handlet `ajpProxy`: has requests be answered by a servlet container, such as Tomcat.
//!
//! ```gorox
//! stage {
//! 	ajpBackend "tomcat" { node { .address = "127.0.0.1:8009" }  .secret = "as in server.xml" }
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule {
//! 			ajpProxy { .toBackend = "tomcat"  .params = ["realm": "staff"] }
//! 		}
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Contents flow both ways as they come, no faster than the container asks for them.

use hemi_core::{Component, CreateCx, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request};

use super::gateway::variables::Script;
use super::gateway::{GatewayConfig, Passing, SpecialConfig};
use crate::sticky::StickyConfig;

/// Has requests be answered by a servlet container.
#[derive(Debug)]
pub struct AjpProxy {
    passing: Passing,
}

impl Component for AjpProxy {
    const SIGN: &'static str = "ajpProxy";
    const ABOUT: Option<&'static str> =
        Some("Has requests be answered by a servlet container, such as Tomcat.");
    type Config = (GatewayConfig, SpecialConfig, StickyConfig);

    fn create(config: Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { passing: Passing::create(config, "AJP", cx)? })
    }
}

impl Lifecycle for AjpProxy {}

impl Handlet for AjpProxy {
    async fn handle(&self, req: &mut Request) -> Reply {
        let body = req.take_body();
        self.passing.pass_with(req, &Script::default(), body).await
    }
}
