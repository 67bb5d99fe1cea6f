//! Socklets.

mod broadcast;
mod connect_proxy;
mod echo;
mod reverse_tunnel;
mod sock_proxy;

pub use broadcast::{BroadcastConfig, BroadcastSocklet};
pub use connect_proxy::{ConnectProxy, ConnectProxyConfig};
pub use echo::{EchoConfig, EchoSocklet};
pub use reverse_tunnel::{ReverseTunnel, ReverseTunnelConfig};
pub use sock_proxy::{SockProxy, SockProxyConfig};

use hemi_proto::websocket::handshake::HandshakeError;
use hemi_web::{Reply, Request, Respond, WebSocketConfig, WebSocketUpgrade};

/// The WebSocket that a request asks for; else the reply to it.
fn upgrade(req: &Request, config: &WebSocketConfig) -> Result<WebSocketUpgrade, Reply> {
    match WebSocketUpgrade::of(req) {
        Ok(upgrade) => Ok(upgrade.config(config.clone())),
        // It may ask for a protocol that others know.
        Err(HandshakeError::NotAsked) => Err(Reply::Next),
        Err(e) => Err(e.respond().into()),
    }
}
