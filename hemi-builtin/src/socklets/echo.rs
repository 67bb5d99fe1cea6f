//! The socklet `echo`: a WebSocket (RFC 6455) that sends back what it gets, to try out what is in between.
//!
//! ```gorox
//! stage {
//! 	webapp "test" {
//! 		.hostnames = ("*")
//! 		rule $path == "/echo" { echo { .maxMessageSize = 64K  .origins = ("https://shop.test") } }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("test") }
//! }
//! ```
//!
//! Requests for something else than a WebSocket are left to the handlets.

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Reply, Request, SocketError, Socklet, WebSocketConfig};
use serde::Deserialize;

/// Sends back what it gets.
#[derive(Debug, Deserialize, Explain)]
pub struct EchoConfig {}

/// Sends back what it gets.
#[derive(Debug)]
pub struct EchoSocklet {
    config: WebSocketConfig,
}

impl Component for EchoSocklet {
    const SIGN: &'static str = "echo";
    type Config = (EchoConfig, WebSocketConfig);

    fn create((_, config): Self::Config, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { config })
    }
}

impl Lifecycle for EchoSocklet {}

impl Socklet for EchoSocklet {
    async fn accept(&self, req: &mut Request) -> Reply {
        let upgrade = match super::upgrade(req, &self.config) {
            Ok(upgrade) => upgrade,
            Err(reply) => return reply,
        };
        let response = upgrade.on_upgrade(async |mut socket| {
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok::<_, SocketError>(())
        });
        response.into()
    }
}
