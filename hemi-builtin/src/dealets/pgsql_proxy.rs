//! The dealet `pgsqlProxy`: passes connections of PostgreSQL on to the nodes of a backend.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "shop" { node { .address = "10.0.0.1:5432" }  pgsqlCheck {} }
//! 	tcpxBackend "rest" { node { .address = "/run/postgresql/.s.PGSQL.5432" } }
//! 	tcpxRouter "db" {
//! 		.address = ":3432"
//! 		.tlsMode = true
//! 		.tlsCertificate = "conf/db.crt"
//! 		.tlsPrivateKey = "conf/db.key"
//! 		case "shop" $database == "shop" && $user != "postgres" {
//! 			pgsqlProxy { .toBackend = "shop" }
//! 		}
//! 		case { pgsqlProxy { .toBackend = "rest"  .idleTimeout = 1h } }
//! 	}
//! }
//! ```
//!
//! Clients ask for TLS in their own way, and get it from a router with `tlsMode`, who then takes none without it; so do
//! nodes, from a backend with `tlsMode`. Cases go by `$user` and `$database`. Where TLS ends here, clients can't bind
//! their password to it: `channel_binding=disable` if nodes speak TLS too.
//!
//! What a client wants to be cancelled goes where a connection without a user would go.

use bytes::BytesMut;
use hemi_core::io::Outbox;
use hemi_core::{Component, CreateCx, Lifecycle, Result};
use hemi_net::{Deal, Dealet, Opening, TcpxConn};
use hemi_proto::pgsql;

use super::tcpx_proxy::{TcpxProxy, TcpxProxyConfig};

/// Passes connections of PostgreSQL on.
#[derive(Debug)]
pub struct PgsqlProxy(TcpxProxy);

impl Component for PgsqlProxy {
    const SIGN: &'static str = "pgsqlProxy";
    const ABOUT: Option<&'static str> =
        Some("Passes connections of PostgreSQL on to the nodes of a backend.");
    type Config = TcpxProxyConfig;

    fn create(config: TcpxProxyConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        TcpxProxy::create(config, cx).map(Self)
    }
}

impl Lifecycle for PgsqlProxy {}

impl Dealet for PgsqlProxy {
    async fn deal(&self, conn: &mut TcpxConn) -> Deal {
        if self.0.pass(conn, &Opening::Pgsql).await.is_none() {
            let mut text = BytesMut::new();
            // "cannot_connect_now"
            pgsql::put_error(&mut text, "57P03", "no server takes the connection now");
            let mut out = Outbox::default();
            out.small().extend_from_slice(&text);
            conn.send(out).await;
            conn.end_as("unreachable");
        }
        Deal::Done
    }

    fn peeks(&self) -> bool {
        self.0.peeks()
    }

    fn opening(&self) -> Opening {
        Opening::Pgsql
    }
}
