//! The dealet `redisProxy`: passes connections of Redis, and of servers that speak as it does, on to the nodes of a backend.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "jobs" { node { .address = "10.0.0.1:6379" }  redisCheck {} }
//! 	tcpxBackend "rest" { node { .address = "/run/redis/redis.sock" } }
//! 	tcpxRouter "redis" {
//! 		.address = ":3679"
//! 		.tlsMode = true
//! 		.tlsCertificate = "conf/redis.crt"
//! 		.tlsPrivateKey = "conf/redis.key"
//! 		case "jobs" $user == "jobs" || $database == "3" { redisProxy { .toBackend = "jobs" } }
//! 		case { redisProxy { .toBackend = "rest"  .idleTimeout = 1h } }
//! 	}
//! }
//! ```
//!
//! Cases go by `$user`, whom a client names in its first commands (AUTH, HELLO), else `default`, and by `$database`, if it
//! is among these too (SELECT), else `0`. Who says nothing for `peekTimeout` is the user `default`. The commands go on to
//! the node, which knows the passwords. Later ones change nothing: a connection stays with its node.
//!
//! Clients get TLS from a router with `tlsMode`, who then takes none without it, and tells them so.

use hemi_core::io::Outbox;
use hemi_core::{Component, CreateCx, Lifecycle, Result};
use hemi_net::{Deal, Dealet, Opening, TcpxConn};
use hemi_proto::redis;

use super::tcpx_proxy::{TcpxProxy, TcpxProxyConfig};

/// Passes connections of Redis on.
#[derive(Debug)]
pub struct RedisProxy(TcpxProxy);

impl Component for RedisProxy {
    const SIGN: &'static str = "redisProxy";
    const ABOUT: Option<&'static str> =
        Some("Passes connections of Redis on to the nodes of a backend.");
    type Config = TcpxProxyConfig;

    fn create(config: TcpxProxyConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        TcpxProxy::create(config, cx).map(Self)
    }
}

impl Lifecycle for RedisProxy {}

impl Dealet for RedisProxy {
    async fn deal(&self, conn: &mut TcpxConn) -> Deal {
        if self.0.pass(conn, &Opening::Redis).await.is_none() {
            let mut out = Outbox::default();
            let error = redis::encode_error("no server takes the connection now");
            out.small().extend_from_slice(&error);
            conn.send(out).await;
            conn.end_as("unreachable");
        }
        Deal::Done
    }

    fn peeks(&self) -> bool {
        self.0.peeks()
    }

    fn opening(&self) -> Opening {
        Opening::Redis
    }
}
