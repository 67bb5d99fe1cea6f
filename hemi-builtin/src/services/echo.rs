//! The service `echoService`: its method `Echo` sends back what it gets, whatever that is written in.
//!
//! ```gorox
//! stage {
//! 	echoService "Echo" {}
//! 	rpcxServer "main" { .address = "127.0.0.1:8972"  .services = ("Echo") }
//! }
//! ```

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_rpc::{Fault, RawPayload, service};
use serde::Deserialize;

/// Sends back what its method `Echo` gets.
#[derive(Debug, Deserialize, Explain)]
pub struct EchoServiceConfig {}

/// Sends back what it gets.
#[derive(Debug)]
pub struct EchoService;

impl Component for EchoService {
    const SIGN: &'static str = "echoService";
    type Config = EchoServiceConfig;

    fn create(_: EchoServiceConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self)
    }
}

impl Lifecycle for EchoService {}

#[service(name = "Echo")]
impl EchoService {
    /// Comes back with what it was given.
    ///
    /// # Errors
    /// Never.
    pub fn echo(&self, payload: RawPayload) -> std::result::Result<RawPayload, Fault> {
        Ok(payload)
    }
}
