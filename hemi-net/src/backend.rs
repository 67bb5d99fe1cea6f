//! The backend `tcpxBackend`: servers that connections are passed on to, whatever they speak.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "redis" {
//! 		.balancer = "leastConn"
//! 		node { .address = "127.0.0.1:6379" }
//! 		node { .address = "/run/redis.sock"  .backup = true }
//! 		tcpCheck { .interval = 5s }
//! 	}
//! 	tcpxRouter "redis" {
//! 		.address = "127.0.0.1:3379"
//! 		case { tcpxProxy { .toBackend = "redis" } }
//! 	}
//! }
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::{BackendConfig, By, NoNode, Nodes, Pick, ProxyProtocol, Target};
use hemi_core::clock;
use hemi_core::config::KindName;
use hemi_core::deadline::within;
use hemi_core::io::{Dialing, Socket, Via};
use hemi_core::metrics::Measures;
use hemi_core::tls::{Connector, ConnectorConfig, Link};
use hemi_core::{Component, CreateCx, Explain, Kind, Lifecycle, Place, Prepare, Rank, Result, Run};
use hemi_proto::mysql::Greeting;
use serde::Deserialize;
use tracing::warn;

use crate::tcpx::mysql::greet;
use crate::tcpx::opening::{Opening, ask_pgsql};

/// The kind of the one component [`TcpxBackend`].
#[derive(Debug)]
pub struct TcpxBackendKind;

impl KindName for TcpxBackendKind {
    const NAME: &'static str = "tcpxBackend";
}

impl Kind for TcpxBackendKind {
    type Object = TcpxBackend;
    const RANK: Rank = Rank::BACKEND;
    const PLACE: Place = Place::Referred;
}

/// Passes connections on to servers.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpxBackendConfig {
    /// Whether nodes are spoken to over TLS. Their certificates must be for their hosts, or for `tlsPeerName`.
    pub tls_mode: bool,
    /// The protocols that are offered to them by TLS (RFC 7301), most liked first.
    pub tls_protocols: Vec<String>,
    /// How long connecting to a node may take, with the handshake of TLS.
    pub connect_timeout: Duration,
    /// Nodes that a connection is tried with, at most, until one takes it.
    pub max_tries: usize,
    /// Whether nodes are told who the client is by the PROXY protocol, and by which version of it.
    pub proxy_protocol: ProxyProtocol,
    /// Whether nodes see connections come from the client's address, as those that the client makes: their answers
    /// must be routed here. It takes the privilege `CAP_NET_ADMIN`.
    pub as_client: bool,
    /// The forward proxy that nodes are connected to by: `"socks5://HOST:PORT"` or `"http://HOST:PORT"`, with
    /// `NAME:PASSWORD@` before the host if it wants that. By default none.
    pub via: Option<Via>,
    /// After how long a silence nodes are asked whether they are still there, by TCP itself; 0s for never.
    pub keep_alive: Duration,
}

impl Default for TcpxBackendConfig {
    fn default() -> Self {
        let connect_timeout = Duration::from_secs(5);
        Self {
            tls_mode: false,
            tls_protocols: Vec::new(),
            connect_timeout,
            max_tries: 3,
            proxy_protocol: ProxyProtocol::None,
            as_client: false,
            via: None,
            keep_alive: Duration::ZERO,
        }
    }
}

/// Servers that connections are passed on to.
#[derive(Debug)]
pub struct TcpxBackend {
    nodes: Nodes,
    config: TcpxBackendConfig,
    /// There if connections are encrypted.
    connector: Option<Arc<Connector>>,
}

/// A connection to a node.
#[derive(Debug)]
pub struct Dialed {
    /// The connection.
    pub link: Link,
    /// Where it goes.
    pub target: Target,
    /// The node, which counts it until this is dropped; none if it is none of a backend.
    pub pick: Option<Pick>,
    /// What it has said first, if it is one of MySQL.
    pub(crate) greeting: Option<Greeting>,
}

impl Dialed {
    /// Connects to a server that is no node of a backend.
    ///
    /// # Errors
    /// When it does not accept.
    pub async fn to(address: SocketAddr) -> io::Result<Self> {
        let target = Target::Tcp(address);
        let link = Link::Plain(Socket::dial(&target, &Dialing::default()).await?);
        Ok(Self { link, target, pick: None, greeting: None })
    }
}

impl Component for TcpxBackend {
    const SIGN: &'static str = "tcpxBackend";
    const ABOUT: Option<&'static str> =
        Some("Servers that connections are passed on to, whatever they speak.");
    type Config = (BackendConfig, TcpxBackendConfig, ConnectorConfig);

    fn create((backend, config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let connector = match config.tls_mode {
            true => {
                let protocols: Vec<_> = config.tls_protocols.iter().map(String::as_str).collect();
                Some(Arc::new(Connector::new(tls, &protocols, cx)?))
            }
            false => None,
        };
        Ok(Self { nodes: Nodes::of(backend, cx)?, config, connector })
    }
}

impl Lifecycle for TcpxBackend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.connector.as_ref().map_or(Ok(()), |connector| connector.prepare())?;
        self.nodes.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.nodes.run(cx).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.nodes.measure(out);
    }
}

impl TcpxBackend {
    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Whether nodes are told what clients have connected to.
    #[must_use]
    pub fn tells_clients(&self) -> bool {
        self.config.proxy_protocol != ProxyProtocol::None
    }

    /// Connects to a node; if it does not take the connection, to another. By `opening` TLS is asked for, if that is
    /// spoken.
    ///
    /// # Errors
    /// When none does.
    pub async fn dial(&self, by: &By<'_>, opening: &Opening) -> Result<Dialed, NoNode> {
        let mut tried = Vec::new();
        let TcpxBackendConfig { proxy_protocol, as_client, keep_alive, .. } = self.config;
        let first = proxy_protocol.header(by.peer, by.reached);
        let from = by.client.filter(|_| as_client);
        let how = Dialing { first: &first, from, keep_alive, via: self.config.via.as_ref() };
        loop {
            let pick = self.nodes.pick_in_time(by, &tried).await.inspect_err(|e| {
                if *e == NoNode::Fit {
                    warn!("cannot pass a connection on: {e}");
                }
            })?;
            let (began, endpoint) = (clock::now(), pick.endpoint());
            let host = endpoint.hostname();
            let limit = self.config.connect_timeout;
            let connecting = async {
                let mut socket = Socket::dial(endpoint.target(), &how).await?;
                let has_tls = self.connector.is_some();
                let greeting = match opening {
                    Opening::Mysql(_) => Some(greet(&mut socket, has_tls, limit).await?),
                    Opening::Pgsql if has_tls => {
                        ask_pgsql(&mut socket, limit).await?;
                        None
                    }
                    Opening::AsIs | Opening::Pgsql | Opening::Redis => None,
                };
                io::Result::Ok((
                    Link::over(socket, &host, self.connector.as_ref()).await?,
                    greeting,
                ))
            };
            let linked = within(limit, connecting).await;
            match linked.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())) {
                Ok((link, greeting)) => {
                    pick.answered(clock::now().since(began));
                    let target = endpoint.target().clone();
                    return Ok(Dialed { link, target, pick: Some(pick), greeting });
                }
                Err(e) => warn!(node = %endpoint.target(), "cannot connect: {e}"),
            }
            self.nodes.failed(&pick);
            tried.push(pick);
            if tried.len() >= self.config.max_tries {
                return Err(NoNode::Left);
            }
        }
    }
}
