//! The handlet `uwsgiProxy`: has requests be answered by a program that uWSGI runs.
//!
//! ```gorox
//! stage {
//! 	uwsgiBackend "app" { node { .address = "127.0.0.1:3031" } }
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule $path ^= "/shop" { uwsgiProxy { .toBackend = "app"  .mount = "/shop" } }
//! 		rule { .returnCode = 404 }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```

use hemi_core::{Component, CreateCx, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request};

use super::gateway::{GatewayConfig, Mount, MountConfig, Passing, SpecialConfig};
use crate::sticky::StickyConfig;

/// Has requests be answered by a program that uWSGI runs.
#[derive(Debug)]
pub struct UwsgiProxy {
    passing: Passing,
    mount: Mount,
}

impl Component for UwsgiProxy {
    const SIGN: &'static str = "uwsgiProxy";
    type Config = (GatewayConfig, SpecialConfig, StickyConfig, MountConfig);

    fn create(
        (gateway, special, sticky, mount): Self::Config,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        Ok(Self {
            passing: Passing::create((gateway, special, sticky), "uwsgi", cx)?,
            mount: mount.into(),
        })
    }
}

impl Lifecycle for UwsgiProxy {}

impl Handlet for UwsgiProxy {
    async fn handle(&self, req: &mut Request) -> Reply {
        match self.mount.script_of(req.path()) {
            Some(script) => self.passing.pass_on(req, &script.into_owned()).await,
            None => Reply::Next,
        }
    }
}
