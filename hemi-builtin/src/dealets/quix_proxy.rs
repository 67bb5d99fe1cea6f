//! The dealet `quixProxy`: passes on what is said by QUIC, which its router terminates.
//!
//! ```gorox
//! stage {
//! 	quixBackend "game" { .tlsTrustedCa = "ca.pem"  node { .address = "127.0.0.1:7443" } }
//! 	tcpxBackend "redis" { node { .address = "127.0.0.1:6379" } }
//! 	quixRouter "front" {
//! 		.address = "127.0.0.1:3443"
//! 		.tlsMode = true
//! 		.tlsCertificate = "front.crt"
//! 		.tlsPrivateKey = "front.key"
//! 		.tlsProtocols = ("game/1", "redis")
//! 		case "game" $nextProto == "game/1" { quixProxy { .toBackend = "game" } }
//! 		case "redis" { quixProxy { .toTcpxBackend = "redis" } }
//! 	}
//! }
//! ```
//!
//! To a node that speaks QUIC there is a connection for each of a client, which carries the same streams, by the same ids,
//! and the same datagrams (RFC 9221). What one side does not take the other is not let send. Ends of streams, resets and
//! requests to stop are passed on with their codes, and so is the end of a connection.
//!
//! To nodes that speak TCP each stream of a client has a connection of its own. Streams in one direction and datagrams
//! have no place there: the former are refused, and the latter dropped.

use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::By;
use hemi_core::config::{Diagnostic, Ref, Template};
use hemi_core::io::Relay;
use hemi_core::listen::Peer;
use hemi_core::quic::quinn::VarInt;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_net::{
    Deal, NetVar, Opening, QuixBackend, QuixBackendKind, QuixConn, QuixDealet, TcpxBackend,
    TcpxBackendKind,
};
use serde::Deserialize;

/// Passes on what is said by QUIC.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct QuixProxyConfig {
    /// The backend whose nodes speak QUIC.
    #[serde(default)]
    to_backend: Option<Ref<QuixBackendKind>>,
    /// Or the one whose nodes speak TCP, to which each stream goes by itself.
    #[serde(default)]
    to_tcpx_backend: Option<Ref<TcpxBackendKind>>,
    /// How long nothing may pass on a stream to a node that speaks TCP. How long connections of QUIC may be idle is said
    /// by `quicIdleTimeout` of the router and of the backend.
    #[serde(default = "ten_minutes")]
    idle_timeout: Duration,
    /// The application's code (RFC 9000, 20.2) by which clients, and nodes, are told that the other side can't be reached
    /// or was lost: of connections, and of streams that are cut off.
    #[serde(default = "one")]
    lost_code: u32,
    /// What connections that are to go to the same node have in common, if the backend's balancer is `hash`.
    #[serde(default)]
    hash_key: Option<Template<NetVar>>,
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

fn one() -> u32 {
    1
}

/// Where it goes.
#[derive(Debug)]
enum To {
    Quix(Arc<QuixBackend>),
    Tcpx(Arc<TcpxBackend>),
}

/// Passes on what is said by QUIC.
#[derive(Debug)]
pub struct QuixProxy {
    to: To,
    idle: Duration,
    lost: VarInt,
    hash_key: Option<Template<NetVar>>,
}

impl Component for QuixProxy {
    const SIGN: &'static str = "quixProxy";
    type Config = QuixProxyConfig;

    fn create(config: QuixProxyConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let to = match (&config.to_backend, &config.to_tcpx_backend) {
            (Some(backend), None) => To::Quix(cx.follow(backend)?),
            (None, Some(backend)) => To::Tcpx(cx.follow(backend)?),
            _ => {
                let message = "connections of QUIC need one place to go to";
                let help = "add either `.toBackend = …` or `.toTcpxBackend = …`";
                return Err(Diagnostic::new(cx.span(), message).help(help).into());
            }
        };
        let lost = VarInt::from_u32(config.lost_code);
        Ok(Self { to, idle: config.idle_timeout, lost, hash_key: config.hash_key })
    }
}

impl Lifecycle for QuixProxy {}

impl QuixDealet for QuixProxy {
    async fn deal_quix(&self, conn: &mut QuixConn) -> Deal {
        let key = self.hash_key.as_ref().map(|key| key.render(&*conn).into_owned());
        let peer = match conn.peer() {
            Peer::Tcp(peer) => Some(*peer),
            Peer::Unix => None,
        };
        let (client, reached) = (conn.ip(), Some(conn.reached()));
        match &self.to {
            To::Quix(backend) => {
                let by = By { client, key: key.as_deref(), node: None, peer, reached };
                // In a box: else connections would hold its room to their end.
                match Box::pin(backend.dial(&by, conn.protocol())).await {
                    Ok(dialed) => conn.relay(dialed, self.lost).await,
                    Err(_) => {
                        conn.end_as("unreachable");
                        conn.close(self.lost);
                    }
                }
            }
            To::Tcpx(backend) => {
                let dial = || {
                    let (backend, key) = (backend.clone(), key.clone());
                    async move {
                        let by = By { client, key: key.as_deref(), node: None, peer, reached };
                        backend.dial(&by, &Opening::AsIs).await.ok()
                    }
                };
                conn.relay_streams(dial, Relay::new(self.idle), self.lost).await;
            }
        }
        Deal::Done
    }
}
