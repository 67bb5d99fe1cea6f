//! The socklet `sockProxy`: passes the messages of a WebSocket (RFC 6455) on to a backend, and back.
//!
//! ```gorox
//! stage {
//! 	http1Backend "chat" { node { .address = "127.0.0.1:7001" } }
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule $path == "/chat" {
//! 			sockProxy { .toBackend = "chat"  .maxMessageSize = 64K  .compression = "stateless" }
//! 		}
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Where `httpProxy` passes bytes on, this one knows messages: it keeps clients and nodes to their limits and to the
//! protocol, pings either side, compresses for clients what nodes send as it is, and closes both when the server
//! drains. Which origins may connect is decided here, before a node is asked. A node that does not agree answers
//! for itself. Requests for something else than a WebSocket are left to the handlets.

use std::sync::Arc;

use hemi_core::backend::{By, Pick};
use hemi_core::config::{Ref, Template};
use hemi_core::io::pool;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{
    Body, DynHttpBackend, HttpBackendKind, Outgoing, Reply, Request, Socklet, WebSocketConfig,
    WebVar,
};
use http::header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::failover::{Failover, RetryCause, peer_of};
use crate::outgoing::{OutgoingConfig, OutgoingFields, target};
use crate::sticky::{Sticky, StickyConfig};

/// Passes the messages of a WebSocket on to a backend, and back.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct SockProxyConfig {
    /// The backend, which speaks HTTP.
    to_backend: Ref<HttpBackendKind>,
    /// Nodes that are asked for a WebSocket, one after the other, until one answers.
    #[serde(default = "three")]
    max_tries: u8,
    /// What clients that are to go to the same node have in common, if the backend's balancer is `hash`.
    #[serde(default)]
    hash_key: Option<Template<WebVar>>,
}

fn three() -> u8 {
    3
}

/// Passes the messages of a WebSocket on to a backend, and back.
pub struct SockProxy {
    backend: Arc<dyn DynHttpBackend>,
    max_tries: usize,
    hash_key: Option<Template<WebVar>>,
    fields: OutgoingFields,
    sticky: Option<Sticky>,
    socket: WebSocketConfig,
}

impl Component for SockProxy {
    const SIGN: &'static str = "sockProxy";
    type Config = (SockProxyConfig, OutgoingConfig, StickyConfig, WebSocketConfig);

    fn create(config: Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (config, outgoing, sticky, socket) = config;
        // Each side has a handshake of its own.
        let fields = OutgoingFields::from(outgoing)
            .without(SEC_WEBSOCKET_KEY)
            .without(SEC_WEBSOCKET_EXTENSIONS);
        Ok(Self {
            backend: cx.follow(&config.to_backend)?,
            max_tries: config.max_tries.max(1).into(),
            hash_key: config.hash_key,
            fields,
            sticky: Sticky::of(sticky, cx),
            socket,
        })
    }
}

impl Lifecycle for SockProxy {}

impl Socklet for SockProxy {
    async fn accept(&self, req: &mut Request) -> Reply {
        let upgrade = match super::upgrade(req, &self.socket) {
            Ok(upgrade) => upgrade,
            Err(reply) => return reply,
        };
        if !upgrade.is_welcome() {
            return StatusCode::FORBIDDEN.into();
        }
        let fields = self.fields.of(req);
        let key = self.hash_key.as_ref().map(|key| key.render(req).into_owned());
        let (nodes, peer) = (self.backend.nodes(), peer_of(req));
        let node = self.sticky.as_ref().and_then(|sticky| sticky.node_of(req, nodes));
        let failover = Failover {
            nodes,
            by: By { client: req.remote_ip(), key: key.as_deref(), node, peer, ..By::default() },
            max_tries: self.max_tries,
            // Nothing is done before both sides have agreed.
            repeatable: true,
            causes: &RetryCause::FAILURES,
            hedge_after: None,
            request: &req.show_id(),
            sticky: self.sticky.as_ref().map(|sticky| (sticky, req.scheme())),
        };
        let (target, host, secure) = (target(req), req.authority(), req.tls().is_some());
        let send = |pick: Pick, body| {
            let authority = match host {
                Some(host) => host.as_str().as_bytes().into(),
                None => pick.endpoint().authority().as_bytes().to_vec().into(),
            };
            let outgoing = Outgoing {
                method: &Method::GET,
                target: &target,
                authority,
                secure,
                fields: &fields,
                upgrade: Some(b"websocket"),
                trailers: false,
                hints: None,
            };
            self.backend.send(pick, outgoing, body)
        };
        let answered = failover.run(Body::empty(), None, send).await;
        pool::give(fields.into_buffer());
        match answered {
            Ok(response) => upgrade.pass_on(response).into(),
            Err(status) => status.into(),
        }
    }
}

impl std::fmt::Debug for SockProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SockProxy").field("socket", &self.socket).finish_non_exhaustive()
    }
}
