//! The check `pgsqlCheck`: takes a node for fit that answers as a PostgreSQL which takes connections.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "db" {
//! 		node { .address = "127.0.0.1:5432" }
//! 		pgsqlCheck { .interval = 5s }
//! 	}
//! 	tcpxRouter "db" { .address = "127.0.0.1:3432"  case { pgsqlProxy { .toBackend = "db" } } }
//! }
//! ```
//!
//! It asks whether TLS is spoken, which takes no user, and leaves nothing in the log of the node.

use hemi_core::backend::{Check, CheckConfig, Endpoint};
use hemi_core::{Component, CreateCx, Lifecycle, Result};
use hemi_proto::pgsql;

use super::ask::{ask, connect};

/// Takes a node that answers as a PostgreSQL for fit.
#[derive(Debug)]
pub struct PgsqlCheck(CheckConfig);

impl Component for PgsqlCheck {
    const SIGN: &'static str = "pgsqlCheck";
    const ABOUT: Option<&'static str> =
        Some("Takes a node for fit that answers as a PostgreSQL which takes connections.");
    type Config = CheckConfig;

    fn create(config: CheckConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Lifecycle for PgsqlCheck {}

impl Check for PgsqlCheck {
    fn config(&self) -> &CheckConfig {
        &self.0
    }

    async fn check(&self, node: &Endpoint) -> Result<(), String> {
        let mut socket = connect(node).await?;
        match *ask(&mut socket, pgsql::TLS_REQUEST, 1, self.0.timeout).await? {
            [pgsql::YES | pgsql::NO, ..] => Ok(()),
            _ => Err("it does not answer as a PostgreSQL that takes connections".to_owned()),
        }
    }
}
