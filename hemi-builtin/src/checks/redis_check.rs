//! The check `redisCheck`: takes a node for fit that answers to PING as a Redis does, be it that it wants a password.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "redis" {
//! 		node { .address = "127.0.0.1:6379" }
//! 		redisCheck { .interval = 2s  .fall = 2 }
//! 	}
//! 	tcpxRouter "redis" { .address = "127.0.0.1:3379"  case { tcpxProxy { .toBackend = "redis" } } }
//! }
//! ```
//!
//! Inside a backend whose nodes are spoken to over TLS, so it does: `.tlsMode` and the other properties of TLS are
//! the backend's unless they are said again.

use std::sync::Arc;

use hemi_core::backend::{Check, CheckConfig, Endpoint};
use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_core::{Component, CreateCx, Lifecycle, Prepare, Result};

use super::ask::{AskConfig, ask, connect, secure};

/// Takes a node that answers to PING as a Redis for fit.
pub struct RedisCheck {
    check: CheckConfig,
    connector: Option<Arc<Connector>>,
}

impl Component for RedisCheck {
    const SIGN: &'static str = "redisCheck";
    const ABOUT: Option<&'static str> =
        Some("Takes a node for fit that answers to PING as a Redis does.");
    type Config = (CheckConfig, AskConfig, ConnectorConfig);

    fn create((check, config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { check, connector: config.connector(tls, cx)? })
    }
}

impl Lifecycle for RedisCheck {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.connector.as_ref().map_or(Ok(()), |connector| connector.prepare())
    }
}

impl Check for RedisCheck {
    fn config(&self) -> &CheckConfig {
        &self.check
    }

    async fn check(&self, node: &Endpoint) -> Result<(), String> {
        let mut link = secure(connect(node).await?, node, self.connector.as_ref()).await?;
        let answer = ask(&mut link, b"*1\r\n$4\r\nPING\r\n", 7, self.check.timeout).await?;
        if answer.starts_with(b"+PONG\r\n") || answer.starts_with(b"-NOAUTH") {
            return Ok(());
        }
        let line = answer[..].split(|byte| *byte == b'\r').next().unwrap_or_default();
        Err(format!("it answers to PING: {}", String::from_utf8_lossy(line).escape_default()))
    }
}

impl std::fmt::Debug for RedisCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisCheck").field("check", &self.check).finish_non_exhaustive()
    }
}
