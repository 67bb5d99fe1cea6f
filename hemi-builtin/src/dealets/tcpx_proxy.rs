//! The dealet `tcpxProxy`: passes connections on to the nodes of a backend.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "mail" { .balancer = "hash"  node { .address = "127.0.0.1:2143" } }
//! 	tcpxRouter "mail" {
//! 		.address = "127.0.0.1:3143"
//! 		case { tcpxProxy { .toBackend = "mail"  .hashKey = $srcHost  .idleTimeout = 30m } }
//! 	}
//! }
//! ```
//!
//! The end of what one side sends is passed on, and the other way goes on until it ends too. What is cut
//! off ends with an error on both sides, so that it does not look whole. Long streams in the clear go
//! from socket to socket within the kernel.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::By;
use hemi_core::clock::Moment;
use hemi_core::config::{Diagnostic, Ref, Size, Template};
use hemi_core::deadline::within;
use hemi_core::io::Relay;
use hemi_core::listen::Peer;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_net::{Deal, Dealet, Dialed, NetVar, Opening, TcpxBackend, TcpxBackendKind, TcpxConn};
use serde::Deserialize;
use tracing::debug;

/// How long connecting to where a client wanted to go may take.
const DIAL: Duration = Duration::from_secs(10);

/// Passes connections on to a backend.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct TcpxProxyConfig {
    /// The backend.
    #[serde(default)]
    to_backend: Option<Ref<TcpxBackendKind>>,
    /// Whether they go on to where they were meant to go, instead of a backend: see `transparent` of the router.
    #[serde(default)]
    to_original: bool,
    /// How long nothing may pass either way.
    #[serde(default = "ten_minutes")]
    idle_timeout: Duration,
    /// How long a connection may last; any time by default.
    #[serde(default)]
    total_timeout: Option<Duration>,
    /// Bytes that may pass in a second, each way of each connection, such as `1M`; any number by default.
    #[serde(default)]
    bandwidth: Option<Size>,
    /// What connections that are to go to the same node have in common, if the backend's balancer is `hash`.
    #[serde(default)]
    hash_key: Option<Template<NetVar>>,
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

/// Where they go.
#[derive(Debug)]
enum To {
    Backend(Arc<TcpxBackend>),
    /// Where they were meant to go.
    Original,
}

/// Passes connections on.
#[derive(Debug)]
pub struct TcpxProxy {
    to: To,
    idle: Duration,
    total: Option<Duration>,
    rate: Option<NonZeroU64>,
    hash_key: Option<Template<NetVar>>,
}

impl Component for TcpxProxy {
    const SIGN: &'static str = "tcpxProxy";
    const ABOUT: Option<&'static str> = Some("Passes connections on to the nodes of a backend.");
    type Config = TcpxProxyConfig;

    fn create(config: TcpxProxyConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let to = match (&config.to_backend, config.to_original) {
            (Some(backend), false) => To::Backend(cx.follow(backend)?),
            (None, true) => To::Original,
            _ => {
                let message = "connections need one place to go to";
                let help = "add either `.toBackend = …` or `.toOriginal = true`";
                return Err(Diagnostic::new(cx.span(), message).help(help).into());
            }
        };
        Ok(Self {
            to,
            idle: config.idle_timeout,
            total: config.total_timeout,
            rate: config.bandwidth.and_then(|bytes| NonZeroU64::new(bytes.0)),
            hash_key: config.hash_key,
        })
    }
}

impl Lifecycle for TcpxProxy {}

impl Dealet for TcpxProxy {
    async fn deal(&self, conn: &mut TcpxConn) -> Deal {
        if self.pass(conn, &Opening::AsIs).await.is_none() {
            conn.end_as("unreachable");
            conn.reset();
        }
        Deal::Done
    }

    fn peeks(&self) -> bool {
        let mut variables = self.hash_key.iter().flat_map(Template::variables);
        variables.any(NetVar::is_peeked)
    }
}

impl TcpxProxy {
    /// Passes a connection on until it is over; none if there is nobody to pass it on to.
    pub(super) async fn pass(&self, conn: &mut TcpxConn, opening: &Opening) -> Option<()> {
        // In a box: else sessions would hold its room to their end.
        let dialed = Box::pin(self.dial(conn, opening)).await?;
        self.relay(conn, dialed).await;
        Some(())
    }

    /// Passes on what both say, until that is over.
    pub(super) async fn relay(&self, conn: &mut TcpxConn, dialed: Dialed) {
        let until = self.total.map_or(Moment::NEVER, |total| conn.since().after(total));
        let relay = Relay { until, rate: self.rate, ..Relay::new(self.idle) };
        conn.relay(dialed, relay).await;
    }

    /// Connects to where a connection is to go.
    pub(super) async fn dial(&self, conn: &TcpxConn, opening: &Opening) -> Option<Dialed> {
        let To::Backend(backend) = &self.to else {
            let to = conn.diverted()?;
            let dialed = within(DIAL, Dialed::to(to)).await;
            return dialed?.inspect_err(|e| debug!(%to, "cannot connect: {e}")).ok();
        };
        let key = self.hash_key.as_ref().map(|key| key.render(conn).into_owned());
        let peer = match conn.peer() {
            Peer::Tcp(peer) => Some(*peer),
            Peer::Unix => None,
        };
        // What nobody is told costs nothing.
        let reached = backend.tells_clients().then(|| conn.reached()).flatten();
        let by = By { client: conn.ip(), key: key.as_deref(), node: None, peer, reached };
        backend.dial(&by, opening).await.ok()
    }
}
