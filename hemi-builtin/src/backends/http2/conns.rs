//! Connections to nodes, each shared by many requests. They belong to a core.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::FixedState;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use hemi_core::backend::Endpoint;
use hemi_core::clock::{self, Moment};
use hemi_core::cores::PerCore;
use hemi_core::tls::{Connector, Link};
use hemi_core::{Result, Run};
use hemi_web::SendError;
use tokio::time::timeout;
use tracing::debug;

use crate::backends::conns::ConnsConfig;

/// Bytes of an answer that a node may send before they are taken.
const STREAM_WINDOW: u32 = 128 << 10;

/// The same for all answers of a connection: so many that those that are taken slowly don't hold up others.
const CONN_WINDOW: u32 = 16 << 20;

/// What a connection is kept to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Requests under way.
    pub(super) streams: usize,
    /// Bytes of an answer's head.
    pub(super) head_size: u32,
}

/// Connections of all cores, by node.
#[derive(Debug)]
pub(super) struct Conns {
    config: ConnsConfig,
    limits: Limits,
    /// There if connections are encrypted.
    connector: Option<Arc<Connector>>,
    groups: PerCore<HashMap<usize, Arc<Group>, FixedState>>,
}

/// A core's connections to a node.
#[derive(Debug)]
struct Group {
    conns: Mutex<Vec<Arc<Conn>>>,
    /// One is made at a time: who waits for it may get one that others need no more.
    connecting: tokio::sync::Mutex<()>,
    /// Keeps the address that the group is kept under from being another's.
    _endpoint: Arc<Endpoint>,
}

#[derive(Debug)]
struct Conn {
    sender: SendRequest<Bytes>,
    streams: AtomicUsize,
    requests: AtomicU32,
    /// It takes no more requests.
    gone: AtomicBool,
    /// Since when it carries none.
    idle_since: Mutex<Moment>,
}

/// The right to send a request on a connection, which counts as under way until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    conn: Arc<Conn>,
    is_new: bool,
}

impl Conns {
    pub(super) fn new(
        config: ConnsConfig,
        limits: Limits,
        connector: Option<Connector>,
        cores: usize,
    ) -> Self {
        let groups = PerCore::new(cores, HashMap::default);
        Self { config, limits, connector: connector.map(Arc::new), groups }
    }

    /// Reads the files that TLS needs, if it is spoken. Blocks.
    pub(super) fn prepare(&self) -> Result<()> {
        self.connector.as_ref().map_or(Ok(()), |connector| connector.prepare())
    }

    /// A connection to a node that has room for a request: a new one, if need be.
    pub(super) async fn lease(&self, endpoint: &Arc<Endpoint>) -> Result<Lease, SendError> {
        let group = self.group(endpoint);
        if let Some(lease) = self.find(&group) {
            return Ok(lease);
        }
        let limit = self.config.connect_timeout;
        let connected = timeout(limit, async {
            let _turn = group.connecting.lock().await;
            match self.find(&group) {
                Some(lease) => Ok(lease),
                None => self.connect(&group, endpoint).await,
            }
        });
        match connected.await {
            Ok(connected) => connected.map_err(SendError::Connect),
            Err(_) => Err(SendError::Timeout { what: "connection", limit }),
        }
    }

    fn group(&self, endpoint: &Arc<Endpoint>) -> Arc<Group> {
        let mut groups = self.groups.mine();
        let group = groups.entry(Arc::as_ptr(endpoint).addr()).or_insert_with(|| {
            Arc::new(Group {
                conns: Mutex::default(),
                connecting: tokio::sync::Mutex::default(),
                _endpoint: endpoint.clone(),
            })
        });
        group.clone()
    }

    fn find(&self, group: &Group) -> Option<Lease> {
        let mut conns = group.conns.lock().unwrap_or_else(PoisonError::into_inner);
        conns.retain(|conn| {
            let spent = conn.requests.load(Ordering::Relaxed) >= self.config.max_requests_per_conn;
            !spent && !conn.gone.load(Ordering::Relaxed)
        });
        let conn = conns.iter().find(|conn| {
            let most = self.limits.streams.min(conn.sender.current_max_send_streams());
            conn.streams.load(Ordering::Relaxed) < most
        })?;
        Some(Lease::of(conn.clone(), false))
    }

    async fn connect(&self, group: &Group, endpoint: &Endpoint) -> io::Result<Lease> {
        let host = endpoint.hostname();
        let link = Link::connect(endpoint.target(), &host, self.connector.as_ref()).await?;
        if let Link::Tls(stream) = &link
            && stream.info().alpn.as_deref() != Some(b"h2")
        {
            return Err(io::Error::other("the node does not speak HTTP/2"));
        }
        let handshake = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONN_WINDOW)
            .max_header_list_size(self.limits.head_size)
            .handshake::<_, Bytes>(link);
        let (sender, mut connection) = handshake.await.map_err(io::Error::other)?;
        let ping = connection.ping_pong();
        let conn = Arc::new(Conn {
            sender,
            streams: AtomicUsize::new(0),
            requests: AtomicU32::new(0),
            gone: AtomicBool::new(false),
            idle_since: Mutex::new(clock::now()),
        });
        let (weak, node) = (Arc::downgrade(&conn), endpoint.target().clone());
        // Is over when nobody holds the connection any more, or the node has closed it.
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                debug!(%node, "connection to the node lost: {e}");
            }
            if let Some(conn) = weak.upgrade() {
                conn.gone.store(true, Ordering::Relaxed);
            }
        });
        if let Some(ping) = ping {
            answered(ping).await?;
        }
        let mut conns = group.conns.lock().unwrap_or_else(PoisonError::into_inner);
        conns.push(conn.clone());
        Ok(Lease::of(conn, true))
    }

    /// Closes connections that have been idle for too long, until the stage ends; then those that are idle,
    /// and the others when they are.
    pub(super) async fn run(&self, run: &Run) {
        let rounds = async {
            loop {
                tokio::time::sleep((self.config.keep_time / 2).max(Duration::from_secs(1))).await;
                for mut groups in self.groups.each() {
                    groups.retain(|_, group| self.keep(group));
                }
            }
        };
        tokio::select! {
            () = run.shut().cancelled() => {}
            () = rounds => {}
        }
        for mut groups in self.groups.each() {
            groups.clear();
        }
    }

    /// Lets go of what is not to be kept; false if nothing is left.
    fn keep(&self, group: &Arc<Group>) -> bool {
        let (now, mut idle) = (clock::now(), 0);
        let mut conns = group.conns.lock().unwrap_or_else(PoisonError::into_inner);
        conns.retain(|conn| {
            if conn.streams.load(Ordering::Relaxed) > 0 {
                return true;
            }
            idle += 1;
            let since = *conn.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
            now.since(since) <= self.config.keep_time && idle <= self.config.keep_conns
        });
        !conns.is_empty() || Arc::strong_count(group) > 1
    }
}

/// Whoever answers a ping speaks HTTP/2, and has told before how many requests it takes, and of what kind.
async fn answered(mut ping: PingPong) -> io::Result<()> {
    ping.ping(Ping::opaque()).await.map(drop).map_err(io::Error::other)
}

impl Lease {
    fn of(conn: Arc<Conn>, is_new: bool) -> Self {
        conn.streams.fetch_add(1, Ordering::Relaxed);
        conn.requests.fetch_add(1, Ordering::Relaxed);
        Self { conn, is_new }
    }

    /// Whether the connection was made for it.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.conn.sender.clone()
    }

    /// The connection may be dead: it gets no more requests.
    pub(super) fn distrust(&self) {
        self.conn.gone.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut idle_since = self.conn.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        *idle_since = clock::now();
        self.conn.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
