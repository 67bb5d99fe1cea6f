//! Connections to nodes. Idle ones are kept: they belong to a core, and hold no buffer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use hemi_core::backend::{Endpoint, Pick, ProxyProtocol, Target};
use hemi_core::clock::{self, Moment};
use hemi_core::cores::PerCore;
use hemi_core::deadline::Patience;
use hemi_core::io::{Dialing, Via};
use hemi_core::tls::{Connector, Link};
use hemi_core::{Explain, Result, Run};
use hemi_web::SendError;
use serde::Deserialize;
use tokio::time::timeout;

/// Properties of a backend's connections.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnsConfig {
    /// How long connecting to a node may take.
    pub connect_timeout: Duration,
    /// Idle connections that each core keeps to a node, at most.
    pub keep_conns: usize,
    /// How long an idle connection is kept.
    pub keep_time: Duration,
    /// Requests on a connection, at most.
    pub max_requests_per_conn: u32,
    /// Whether nodes are told who the client is by the PROXY protocol, and by which version of it. Then
    /// each request has a connection of its own.
    pub proxy_protocol: ProxyProtocol,
    /// The forward proxy that nodes are connected to by: `"socks5://HOST:PORT"` or `"http://HOST:PORT"`, with
    /// `NAME:PASSWORD@` before the host if it wants that. By default none. HTTP/3 takes no such way.
    pub via: Option<Via>,
}

impl Default for ConnsConfig {
    fn default() -> Self {
        let (connect_timeout, keep_time) = (Duration::from_secs(3), Duration::from_secs(30));
        Self {
            connect_timeout,
            keep_conns: 64,
            keep_time,
            max_requests_per_conn: 10_000,
            proxy_protocol: ProxyProtocol::None,
            via: None,
        }
    }
}

/// A connection to a node.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) socket: Link,
    /// Requests that it has carried.
    pub(super) requests: u32,
    /// The last answer was long, and so the next one may be.
    pub(super) long: bool,
    /// With its node.
    pub(super) patience: Patience,
}

impl Conn {
    /// Whether it has been used before: then the node may have closed it meanwhile.
    pub(super) fn is_used(&self) -> bool {
        self.requests > 0
    }
}

/// Connections of all cores, by node.
#[derive(Debug)]
pub(super) struct Conns {
    config: ConnsConfig,
    /// There if connections are encrypted.
    connector: Option<Arc<Connector>>,
    idle: PerCore<HashMap<usize, VecDeque<Idle>, FixedState>>,
}

#[derive(Debug)]
struct Idle {
    conn: Conn,
    since: Moment,
    /// Keeps the address that it is kept under from being another's.
    _endpoint: Arc<Endpoint>,
}

impl Conns {
    pub(super) fn new(config: ConnsConfig, cores: usize) -> Self {
        Self { config, connector: None, idle: PerCore::new(cores, HashMap::default) }
    }

    /// The same with connections encrypted, if there is a connector.
    pub(super) fn over(mut self, connector: Option<Connector>) -> Self {
        self.connector = connector.map(Arc::new);
        self
    }

    /// Reads the files that TLS needs, if it is spoken. Blocks.
    pub(super) fn prepare(&self) -> Result<()> {
        self.connector.as_ref().map_or(Ok(()), |connector| connector.prepare())
    }

    /// The idle connection to a node that was used last, if there is one that is still good.
    pub(super) fn take(&self, endpoint: &Arc<Endpoint>) -> Option<Conn> {
        let mut idle = self.idle.mine();
        let of_node = idle.get_mut(&key(endpoint))?;
        while let Some(Idle { conn, since, .. }) = of_node.pop_back() {
            if clock::now().since(since) > self.config.keep_time {
                // The others have been idle for longer.
                of_node.clear();
                return None;
            }
            if conn.socket.is_quiet() {
                return Some(conn);
            }
        }
        None
    }

    /// A new connection to a node.
    pub(super) async fn connect(&self, pick: &Pick) -> Result<Conn, SendError> {
        let (endpoint, limit) = (pick.endpoint(), self.config.connect_timeout);
        let node = match endpoint.target() {
            Target::Tcp(node) => Some(*node),
            Target::Unix(_) => None,
        };
        let first = self.config.proxy_protocol.header(pick.peer(), node);
        let (host, how) = (
            endpoint.hostname(),
            Dialing { first: &first, via: self.config.via.as_ref(), ..Dialing::default() },
        );
        let connecting = Link::dial(endpoint.target(), &host, self.connector.as_ref(), &how);
        match timeout(limit, connecting).await {
            Ok(Ok(socket)) => {
                Ok(Conn { socket, requests: 0, long: false, patience: Patience::default() })
            }
            Ok(Err(e)) => Err(SendError::Connect(e)),
            Err(_) => Err(SendError::Timeout { what: "connection", limit }),
        }
    }

    /// Keeps a connection for later, if it may be used again.
    pub(super) fn give(&self, endpoint: &Arc<Endpoint>, mut conn: Conn) {
        // Who was told of one client would take another for it.
        let is_anyones = self.config.proxy_protocol == ProxyProtocol::None;
        if !is_anyones || conn.requests >= self.config.max_requests_per_conn {
            return;
        }
        let mut idle = self.idle.mine();
        let of_node = idle.entry(key(endpoint)).or_default();
        if of_node.len() < self.config.keep_conns {
            let since = clock::now();
            conn.patience.rest();
            of_node.push_back(Idle { conn, since, _endpoint: endpoint.clone() });
        }
    }

    /// How many are kept to a node, by all cores.
    pub(super) fn kept(&self, endpoint: &Arc<Endpoint>) -> usize {
        self.idle.each().map(|idle| idle.get(&key(endpoint)).map_or(0, VecDeque::len)).sum()
    }

    /// Closes all idle connections to a node, which has closed one of them.
    pub(super) fn forget(&self, endpoint: &Arc<Endpoint>) {
        self.idle.mine().remove(&key(endpoint));
    }

    /// Closes connections that have been idle for too long, until the stage ends; once it drains, all that are idle: what
    /// they go to may be in the same stage, and wait for their ends.
    pub(super) async fn run(&self, run: &Run) {
        rounds(run, self.config.keep_time, |keep| {
            let now = clock::now();
            for mut idle in self.idle.each() {
                idle.retain(|_, of_node| {
                    of_node.retain(|idle| now.since(idle.since) < keep);
                    !of_node.is_empty()
                });
            }
        })
        .await;
    }
}

/// Has connections closed that have been idle for so long, again and again until the stage ends: for any time once it drains.
pub(super) async fn rounds(run: &Run, keep: Duration, close: impl Fn(Duration)) {
    let each_second = Duration::from_secs(1);
    let usual = async {
        loop {
            tokio::time::sleep((keep / 2).max(each_second)).await;
            close(keep);
        }
    };
    let all = async {
        tokio::select! {
            () = run.closed() => {}
            () = usual => {}
        }
        loop {
            close(Duration::ZERO);
            tokio::time::sleep(each_second).await;
        }
    };
    tokio::select! {
        () = run.shut().cancelled() => {}
        () = all => {}
    }
}

pub(super) fn key(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint).addr()
}
