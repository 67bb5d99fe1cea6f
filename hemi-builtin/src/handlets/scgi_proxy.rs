//! The handlet `scgiProxy`: has requests be answered by a program that speaks SCGI.
//!
//! ```gorox
//! stage {
//! 	scgiBackend "app" { node { .address = "127.0.0.1:4000" } }
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule $path ^= "/shop" { scgiProxy { .toBackend = "app"  .mount = "/shop" } }
//! 		rule { .returnCode = 404 }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```

use hemi_core::{Component, CreateCx, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request};

use super::gateway::{GatewayConfig, Mount, MountConfig, Passing, SpecialConfig};
use crate::sticky::StickyConfig;

/// Has requests be answered by a program that speaks SCGI.
#[derive(Debug)]
pub struct ScgiProxy {
    passing: Passing,
    mount: Mount,
}

impl Component for ScgiProxy {
    const SIGN: &'static str = "scgiProxy";
    type Config = (GatewayConfig, SpecialConfig, StickyConfig, MountConfig);

    fn create(
        (gateway, special, sticky, mount): Self::Config,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        Ok(Self {
            passing: Passing::create((gateway, special, sticky), "SCGI", cx)?,
            mount: mount.into(),
        })
    }
}

impl Lifecycle for ScgiProxy {}

impl Handlet for ScgiProxy {
    async fn handle(&self, req: &mut Request) -> Reply {
        match self.mount.script_of(req.path()) {
            Some(script) => self.passing.pass_on(req, &script.into_owned()).await,
            None => Reply::Next,
        }
    }
}
