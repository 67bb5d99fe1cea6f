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

use hemi_core::backend::{Check, CheckConfig, Endpoint};
use hemi_core::{Component, CreateCx, Lifecycle, Result};

use super::ask::ask;

/// Takes a node that answers to PING as a Redis for fit.
#[derive(Debug)]
pub struct RedisCheck(CheckConfig);

impl Component for RedisCheck {
    const SIGN: &'static str = "redisCheck";
    type Config = CheckConfig;

    fn create(config: CheckConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Lifecycle for RedisCheck {}

impl Check for RedisCheck {
    fn config(&self) -> &CheckConfig {
        &self.0
    }

    async fn check(&self, node: &Endpoint) -> Result<(), String> {
        let answer = ask(node, b"*1\r\n$4\r\nPING\r\n", 7).await?;
        if answer.starts_with(b"+PONG\r\n") || answer.starts_with(b"-NOAUTH") {
            return Ok(());
        }
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        Err(format!("it answers to PING: {}", String::from_utf8_lossy(line).escape_default()))
    }
}
