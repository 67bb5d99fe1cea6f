//! The dealet `mysqlProxy`: passes connections of MySQL and MariaDB on to the nodes of a backend.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "shop" { node { .address = "10.0.0.1:3306" } }
//! 	tcpxBackend "rest" { node { .address = "/run/mysqld/mysqld.sock" } }
//! 	tcpxRouter "db" {
//! 		.address = ":3406"
//! 		.tlsMode = true
//! 		.tlsCertificate = "conf/db.crt"
//! 		.tlsPrivateKey = "conf/db.key"
//! 		case "shop" $database == "shop" && $user != "root" { mysqlProxy { .toBackend = "shop" } }
//! 		case { mysqlProxy { .toBackend = "rest"  .idleTimeout = 1h } }
//! 	}
//! }
//! ```
//!
//! In this protocol the server speaks first, and says how clients are to prove who they are: the router greets in its
//! place, hears of user and database, and has the client prove what it says to the node that it is for.
//! Clients get TLS from a router with `tlsMode`, who then takes none without it, and nodes speak it in a backend with
//! `tlsMode`. Clients must know plugins for authentication, as those of the last ten years do.

use std::time::Duration;

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_net::{Deal, Dealet, Opening, TcpxConn};
use serde::Deserialize;

use super::tcpx_proxy::{TcpxProxy, TcpxProxyConfig};

/// Passes connections of MySQL on.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct MysqlProxyConfig {
    /// The version that clients are told before it is known which node they are for. Of several in a router the first
    /// one says it.
    server_version: String,
    /// How long a client and a node may take for each word until they agree who the client is.
    login_timeout: Duration,
}

impl Default for MysqlProxyConfig {
    fn default() -> Self {
        Self { server_version: "8.0.36".to_owned(), login_timeout: Duration::from_secs(10) }
    }
}

/// Passes connections of MySQL on.
#[derive(Debug)]
pub struct MysqlProxy {
    proxy: TcpxProxy,
    opening: Opening,
    limit: Duration,
}

impl Component for MysqlProxy {
    const SIGN: &'static str = "mysqlProxy";
    const ABOUT: Option<&'static str> =
        Some("Passes connections of MySQL and MariaDB on to the nodes of a backend.");
    type Config = (TcpxProxyConfig, MysqlProxyConfig);

    fn create((proxy, config): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self {
            proxy: TcpxProxy::create(proxy, cx)?,
            opening: Opening::Mysql(config.server_version.into()),
            limit: config.login_timeout,
        })
    }
}

impl Lifecycle for MysqlProxy {}

impl Dealet for MysqlProxy {
    async fn deal(&self, conn: &mut TcpxConn) -> Deal {
        let Some(mut dialed) = self.proxy.dial(conn, &self.opening).await else {
            conn.refuse_mysql("no server takes the connection now", self.limit).await;
            conn.end_as("unreachable");
            return Deal::Done;
        };
        match conn.log_in_mysql(&mut dialed, self.limit).await {
            Ok(true) => self.proxy.relay(conn, dialed).await,
            Ok(false) => conn.end_as("denied"),
            Err(e) => {
                tracing::debug!("a client of MySQL and a node do not agree: {e}");
                conn.end_as("broken");
                conn.reset();
            }
        }
        Deal::Done
    }

    fn peeks(&self) -> bool {
        self.proxy.peeks()
    }

    fn opening(&self) -> Opening {
        self.opening.clone()
    }
}
