//! The backend `quixBackend`: servers that speak a protocol over QUIC, to which connections are made anew.
//!
//! ```gorox
//! stage {
//! 	quixBackend "game" {
//! 		.tlsTrustedCa = "ca.pem"
//! 		node { .address = "game.internal:7443" }
//! 	}
//! 	quixRouter "front" {
//! 		.address = ":3443"
//! 		.tlsMode = true
//! 		.tlsCertificate = "front.crt"
//! 		.tlsPrivateKey = "front.key"
//! 		.tlsProtocols = ("game/1")
//! 		case { quixProxy { .toBackend = "game" } }
//! 	}
//! }
//! ```
//!
//! Each connection of a client has one of its own to a node. Nodes show certificates, which must be for their hosts, or
//! for `.tlsPeerName`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::{BackendConfig, By, NoNode, Nodes, Pick, Target};
use hemi_core::clock;
use hemi_core::config::{KindName, Size};
use hemi_core::deadline::within;
use hemi_core::metrics::Measures;
use hemi_core::quic::QuicConnector;
use hemi_core::quic::quinn::{Connection, IdleTimeout, TransportConfig, VarInt};
use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_core::{Component, CreateCx, Explain, Kind, Lifecycle, Place, Prepare, Rank, Result, Run};
use serde::Deserialize;
use tracing::warn;

/// The kind of the one component [`QuixBackend`].
#[derive(Debug)]
pub struct QuixBackendKind;

impl KindName for QuixBackendKind {
    const NAME: &'static str = "quixBackend";
}

impl Kind for QuixBackendKind {
    type Object = QuixBackend;
    const RANK: Rank = Rank::BACKEND;
    const PLACE: Place = Place::Referred;
}

/// Passes what comes by QUIC on to servers that speak QUIC.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct QuixBackendConfig {
    /// The protocols that are offered to nodes (RFC 7301), most liked first; none for the one that the client and the
    /// router have agreed on.
    pub tls_protocols: Vec<String>,
    /// How long connecting to a node may take.
    pub connect_timeout: Duration,
    /// Nodes that a connection is tried with, at most, until one takes it.
    pub max_tries: usize,
    /// Streams of each direction that a node may have open at once in each connection.
    pub quic_streams: u32,
    /// Bytes of one stream that a node may send ahead of what the client has room for.
    pub quic_stream_window: Size,
    /// Bytes of all streams of a connection that a node may send so: if they are fewer than all streams may have, those
    /// that the client does not take can hold up others.
    pub quic_conn_window: Size,
    /// Bytes of a connection that are kept until the node has acknowledged them, at most.
    pub quic_send_window: Size,
    /// How long a connection is kept of which nothing is heard from the node. It is asked three times as often.
    pub quic_idle_timeout: Duration,
}

impl Default for QuixBackendConfig {
    fn default() -> Self {
        Self {
            tls_protocols: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            max_tries: 3,
            quic_streams: 128,
            quic_stream_window: Size(128 << 10),
            quic_conn_window: Size(32 << 20),
            quic_send_window: Size(4 << 20),
            quic_idle_timeout: Duration::from_secs(30),
        }
    }
}

/// Bytes of datagrams (RFC 9221) of a connection that wait, each way, at most; what is more is lost.
const DATAGRAMS: usize = 256 << 10;

/// Servers that speak QUIC.
#[derive(Debug)]
pub struct QuixBackend {
    nodes: Nodes,
    connector: QuicConnector,
    /// Whether nodes are offered what the client has agreed on.
    as_client: bool,
    connect_timeout: Duration,
    max_tries: usize,
}

/// A connection to a node.
#[derive(Debug)]
pub struct QuixDialed {
    /// The connection.
    pub conn: Connection,
    /// The node, which counts it until this is dropped.
    pub pick: Pick,
}

impl Component for QuixBackend {
    const SIGN: &'static str = "quixBackend";
    const ABOUT: Option<&'static str> =
        Some("Servers that speak a protocol over QUIC, to which connections are made anew.");
    type Config = (BackendConfig, QuixBackendConfig, ConnectorConfig);

    fn create((backend, config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let protocols: Vec<_> = config.tls_protocols.iter().map(String::as_str).collect();
        let tls = Arc::new(Connector::new(tls, &protocols, cx)?);
        Ok(Self {
            connector: QuicConnector::with(tls, cx.cores(), config.transport()),
            nodes: Nodes::of(backend, cx)?,
            as_client: protocols.is_empty(),
            connect_timeout: config.connect_timeout,
            max_tries: config.max_tries,
        })
    }
}

impl QuixBackendConfig {
    fn transport(&self) -> TransportConfig {
        let bytes = |size: Size| VarInt::from_u64(size.0).unwrap_or(VarInt::MAX);
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(self.quic_streams.into())
            .max_concurrent_uni_streams(self.quic_streams.into())
            .stream_receive_window(bytes(self.quic_stream_window))
            .receive_window(bytes(self.quic_conn_window))
            .send_window(self.quic_send_window.0)
            .max_idle_timeout(IdleTimeout::try_from(self.quic_idle_timeout).ok())
            .keep_alive_interval(Some(self.quic_idle_timeout / 3).filter(|t| !t.is_zero()))
            .datagram_receive_buffer_size(Some(DATAGRAMS))
            .datagram_send_buffer_size(DATAGRAMS);
        transport
    }
}

impl Lifecycle for QuixBackend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.connector.prepare()?;
        self.nodes.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.nodes.run(cx).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.nodes.measure(out);
    }
}

impl QuixBackend {
    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Connects to a node for a client that speaks `protocol`; if it does not take the connection, to another.
    ///
    /// # Errors
    /// When none does.
    pub async fn dial(&self, by: &By<'_>, protocol: &[u8]) -> Result<QuixDialed, NoNode> {
        let mut tried = Vec::new();
        loop {
            let pick = self.nodes.pick_in_time(by, &tried).await.inspect_err(|e| {
                if *e == NoNode::Fit {
                    warn!("cannot pass a connection of QUIC on: {e}");
                }
            })?;
            let began = clock::now();
            let connected = within(self.connect_timeout, self.connect(&pick, protocol)).await;
            match connected.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())) {
                Ok(conn) => {
                    pick.answered(clock::now().since(began));
                    return Ok(QuixDialed { conn, pick });
                }
                Err(e) => warn!(node = %pick.endpoint().target(), "cannot connect: {e}"),
            }
            self.nodes.failed(&pick);
            tried.push(pick);
            if tried.len() >= self.max_tries {
                return Err(NoNode::Left);
            }
        }
    }

    async fn connect(&self, pick: &Pick, protocol: &[u8]) -> io::Result<Connection> {
        let endpoint = pick.endpoint();
        let Target::Tcp(address) = endpoint.target() else {
            return Err(io::Error::other("QUIC is not spoken over Unix sockets"));
        };
        let host = endpoint.hostname();
        match self.as_client {
            true => self.connector.connect_to_speak(protocol, *address, &host).await,
            false => self.connector.connect(*address, &host).await,
        }
    }
}
