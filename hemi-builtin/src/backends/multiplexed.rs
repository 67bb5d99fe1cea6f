//! Connections to nodes, each shared by many requests. They belong to a core. What they are made of is the
//! business of a [`Multiplex`].

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::FixedState;
use hemi_core::backend::{Endpoint, Pick};
use hemi_core::clock::{self, Moment};
use hemi_core::cores::PerCore;
use hemi_core::{Explain, Result, Run};
use hemi_web::{Body, Response, SendError, Undelivered};
use serde::Deserialize;
use tokio::time::timeout;

use super::conns::{ConnsConfig, key, rounds};

/// Properties of connections that many requests share.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct MultiplexConfig {
    /// Requests under way on a connection, at most; a node may have it be less. Of each answer up to 128 KiB wait for
    /// who takes it slowly, by HTTP/3 up to 256 KiB. By HTTP/2 there are 16383 at most.
    pub max_streams_per_conn: usize,
}

impl Default for MultiplexConfig {
    fn default() -> Self {
        Self { max_streams_per_conn: 100 }
    }
}

/// A protocol whose connections carry many requests at once.
pub(super) trait Multiplex: Debug + Send + Sync + 'static {
    /// A connection.
    type Conn: Debug + Send + Sync;

    /// Reads the files that TLS needs, if it is spoken. Blocks.
    fn prepare(&self) -> Result<()>;

    /// Connects to a node. When the connection takes no more requests, `gone` is to be told.
    fn connect(
        &self,
        endpoint: &Endpoint,
        gone: Gone,
    ) -> impl Future<Output = io::Result<Self::Conn>> + Send;

    /// Requests that the node lets be under way on it.
    fn room(conn: &Self::Conn) -> usize {
        let _ = conn;
        usize::MAX
    }
}

/// Whether a connection takes no more requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone(Arc<AtomicBool>);

impl Gone {
    pub(super) fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Connections of all cores, by node.
#[derive(Debug)]
pub(super) struct Conns<M: Multiplex> {
    config: ConnsConfig,
    most_streams: usize,
    protocol: M,
    groups: PerCore<Groups<M::Conn>>,
}

/// Those of a core.
type Groups<C> = HashMap<usize, Arc<Group<C>>, FixedState>;

/// A core's connections to a node.
#[derive(Debug)]
struct Group<C> {
    conns: Mutex<Vec<Arc<Conn<C>>>>,
    /// One is made at a time: who waits for it may get one that others need no more.
    connecting: tokio::sync::Mutex<()>,
    /// Keeps the address that the group is kept under from being another's.
    _endpoint: Arc<Endpoint>,
}

#[derive(Debug)]
struct Conn<C> {
    conn: C,
    streams: AtomicUsize,
    requests: AtomicU32,
    gone: Gone,
    /// Since when it carries none.
    idle_since: Mutex<Moment>,
}

/// The right to send a request on a connection, which counts as under way until this is dropped.
#[derive(Debug)]
pub(super) struct Lease<C> {
    conn: Arc<Conn<C>>,
    /// The connection was made for it.
    is_new: bool,
}

impl<M: Multiplex> Conns<M> {
    pub(super) fn new(
        config: ConnsConfig,
        multiplex: &MultiplexConfig,
        protocol: M,
        cores: usize,
    ) -> Self {
        let most_streams = multiplex.max_streams_per_conn.max(1);
        Self { config, most_streams, protocol, groups: PerCore::new(cores, HashMap::default) }
    }

    /// Reads the files that TLS needs, if it is spoken. Blocks.
    pub(super) fn prepare(&self) -> Result<()> {
        self.protocol.prepare()
    }

    /// A connection to a node that has room for a request: a new one, if need be.
    async fn lease(&self, endpoint: &Arc<Endpoint>) -> Result<Lease<M::Conn>, SendError> {
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

    /// Sends a request by `send`, again on another connection if the node has taken leave of one just when it was
    /// used: nobody's fault.
    pub(super) async fn send<F>(
        &self,
        mut pick: Pick,
        mut body: Body,
        mut send: impl FnMut(Lease<M::Conn>, Pick, Body) -> F,
    ) -> Result<Response, Box<Undelivered>>
    where
        F: Future<Output = Result<Response, Box<Undelivered>>>,
    {
        loop {
            let lease = match self.lease(pick.endpoint()).await {
                Ok(lease) => lease,
                Err(error) => {
                    let body = Some(body);
                    return Err(Box::new(Undelivered { error, pick, unseen: true, body }));
                }
            };
            let is_new = lease.is_new;
            match send(lease, pick, body).await {
                Err(undelivered) if undelivered.unseen && !is_new => match *undelivered {
                    Undelivered { body: Some(untouched), pick: again, .. } => {
                        (body, pick) = (untouched, again);
                    }
                    undelivered => return Err(Box::new(undelivered)),
                },
                done => return done,
            }
        }
    }

    fn group(&self, endpoint: &Arc<Endpoint>) -> Arc<Group<M::Conn>> {
        let mut groups = self.groups.mine();
        let group = groups.entry(key(endpoint)).or_insert_with(|| {
            Arc::new(Group {
                conns: Mutex::default(),
                connecting: tokio::sync::Mutex::default(),
                _endpoint: endpoint.clone(),
            })
        });
        group.clone()
    }

    fn find(&self, group: &Group<M::Conn>) -> Option<Lease<M::Conn>> {
        let mut conns = group.conns.lock().unwrap_or_else(PoisonError::into_inner);
        conns.retain(|conn| {
            let spent = conn.requests.load(Ordering::Relaxed) >= self.config.max_requests_per_conn;
            !spent && !conn.gone.is_told()
        });
        let conn = conns.iter().find(|conn| {
            let most = self.most_streams.min(M::room(&conn.conn));
            conn.streams.load(Ordering::Relaxed) < most
        })?;
        Some(Lease::of(conn.clone(), false))
    }

    async fn connect(
        &self,
        group: &Group<M::Conn>,
        endpoint: &Endpoint,
    ) -> io::Result<Lease<M::Conn>> {
        let gone = Gone::default();
        let conn = Arc::new(Conn {
            conn: self.protocol.connect(endpoint, gone.clone()).await?,
            streams: AtomicUsize::new(0),
            requests: AtomicU32::new(0),
            gone,
            idle_since: Mutex::new(clock::now()),
        });
        let mut conns = group.conns.lock().unwrap_or_else(PoisonError::into_inner);
        conns.push(conn.clone());
        Ok(Lease::of(conn, true))
    }

    /// How many there are to a node, of all cores.
    pub(super) fn kept(&self, endpoint: &Arc<Endpoint>) -> usize {
        let count = |groups: MutexGuard<'_, Groups<M::Conn>>| {
            let group = groups.get(&key(endpoint))?;
            Some(group.conns.lock().unwrap_or_else(PoisonError::into_inner).len())
        };
        self.groups.each().filter_map(count).sum()
    }

    /// Closes connections that have been idle for too long, until the stage ends; once it drains, all that are idle, and then
    /// the others when they are.
    pub(super) async fn run(&self, run: &Run) {
        rounds(run, self.config.keep_time, |keep| {
            for mut groups in self.groups.each() {
                groups.retain(|_, group| self.keep(group, keep));
            }
        })
        .await;
        for mut groups in self.groups.each() {
            groups.clear();
        }
    }

    /// Lets go of what is not to be kept; false if nothing is left.
    fn keep(&self, group: &Arc<Group<M::Conn>>, time: Duration) -> bool {
        let (now, mut idle) = (clock::now(), 0);
        let mut conns = group.conns.lock().unwrap_or_else(PoisonError::into_inner);
        conns.retain(|conn| {
            if conn.streams.load(Ordering::Relaxed) > 0 {
                return true;
            }
            idle += 1;
            let since = *conn.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
            now.since(since) < time && idle <= self.config.keep_conns
        });
        !conns.is_empty() || Arc::strong_count(group) > 1
    }
}

impl<C> Lease<C> {
    fn of(conn: Arc<Conn<C>>, is_new: bool) -> Self {
        conn.streams.fetch_add(1, Ordering::Relaxed);
        conn.requests.fetch_add(1, Ordering::Relaxed);
        Self { conn, is_new }
    }

    pub(super) fn conn(&self) -> &C {
        &self.conn.conn
    }

    /// The connection may be dead: it gets no more requests.
    pub(super) fn distrust(&self) {
        self.conn.gone.tell();
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        let mut idle_since = self.conn.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        *idle_since = clock::now();
        self.conn.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
