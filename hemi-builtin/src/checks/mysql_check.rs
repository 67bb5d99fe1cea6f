//! The check `mysqlCheck`: takes a node for fit that greets as a MySQL or MariaDB, and lets users log in.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "db" {
//! 		node { .address = "127.0.0.1:3306" }
//! 		mysqlCheck { .user = "gorox"  .interval = 5s }
//! 	}
//! 	tcpxRouter "db" { .address = "127.0.0.1:3406"  case { mysqlProxy { .toBackend = "db" } } }
//! }
//! ```
//!
//! It logs in without a password, and says that it leaves. Servers count who goes before that (`Aborted_connects`) and shut
//! such hosts out in the end (`max_connect_errors`), so that there should be a user for it, who may do nothing else:
//! `CREATE USER gorox@'10.0.0.%'`. A node that does not know the user is taken for fit, too: that denies one login more,
//! and shuts nobody out. One that has no room for connections, or has shut this host out, is not.
//!
//! Inside a backend whose nodes are spoken to over TLS, so it does: `.tlsMode` and the other properties of TLS are
//! the backend's unless they are said again.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::backend::{Check, CheckConfig, Endpoint};
use hemi_core::io::{Io, receive, send};
use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result};
use hemi_proto::mysql::{Failure, Greeting, Login, Packet, QUIT, can, tls_request};
use serde::Deserialize;

use super::ask::{AskConfig, connect, no_answer, secure};

/// What a node may want to be proved, until it has decided.
const ROUNDS: usize = 4;

/// Takes a node that greets as a MySQL for fit.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct MysqlCheckConfig {
    /// The user that logs in, without a password.
    user: String,
}

impl Default for MysqlCheckConfig {
    fn default() -> Self {
        Self { user: "gorox".to_owned() }
    }
}

/// Takes a node that greets as a MySQL for fit.
pub struct MysqlCheck {
    check: CheckConfig,
    user: String,
    connector: Option<Arc<Connector>>,
}

impl Component for MysqlCheck {
    const SIGN: &'static str = "mysqlCheck";
    const ABOUT: Option<&'static str> =
        Some("Takes a node for fit that greets as a MySQL or MariaDB, and lets users log in.");
    type Config = (CheckConfig, MysqlCheckConfig, AskConfig, ConnectorConfig);

    fn create((check, config, ask, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        if config.user.contains('\0') {
            return Err(Error::config(cx.span(), "a user has no zeros in its name"));
        }
        Ok(Self { check, user: config.user, connector: ask.connector(tls, cx)? })
    }
}

impl Lifecycle for MysqlCheck {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.connector.as_ref().map_or(Ok(()), |connector| connector.prepare())
    }
}

impl Check for MysqlCheck {
    fn config(&self) -> &CheckConfig {
        &self.check
    }

    async fn check(&self, node: &Endpoint) -> Result<(), String> {
        let (mut buf, limit) = (BytesMut::new(), self.check.timeout);
        let mut socket = connect(node).await?;
        let first = next(&mut socket, &mut buf, limit).await?;
        if let Some(failure) = Failure::read(&first.payload) {
            return Err(failure.to_string());
        }
        let greeting = Greeting::read(&first.payload).map_err(|e| e.to_string())?;
        let mut number = first.number.wrapping_add(1);
        let is_secret = self.connector.is_some();
        if is_secret {
            if greeting.can & can::TLS == 0 {
                return Err("it does not speak TLS".to_owned());
            }
            put(&mut socket, number, &tls_request(), limit).await?;
            number = number.wrapping_add(1);
        }
        let mut link = secure(socket, node, self.connector.as_ref()).await?;
        let own = if is_secret { can::TLS } else { 0 };
        let login = Login::of(&self.user).encode(own, b"", &greeting.plugin);
        put(&mut link, number, &login, limit).await?;
        for _ in 0..ROUNDS {
            let said = next(&mut link, &mut buf, limit).await?;
            match (said.payload.first(), Failure::read(&said.payload)) {
                (Some(0), _) => return put(&mut link, 0, QUIT, limit).await,
                (_, Some(failure)) if failure.is_denial() => return Ok(()),
                (_, Some(failure)) => return Err(failure.to_string()),
                // It wants another proof, and gets that there is no password.
                (Some(0xfe), _) => {
                    put(&mut link, said.number.wrapping_add(1), b"", limit).await?;
                }
                _ => break,
            }
        }
        Err("it does not come to an end with the login".to_owned())
    }
}

async fn next(io: &mut impl Io, buf: &mut BytesMut, limit: Duration) -> Result<Packet, String> {
    receive(io, buf, limit, Packet::take).await.map_err(no_answer)
}

async fn put(io: &mut impl Io, number: u8, payload: &[u8], limit: Duration) -> Result<(), String> {
    let mut out = BytesMut::new();
    Packet::put(&mut out, number, payload);
    send(io, &out, limit).await.map_err(|e| format!("cannot be asked: {e}"))
}

impl std::fmt::Debug for MysqlCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MysqlCheck").field("user", &self.user).finish_non_exhaustive()
    }
}
