//! The backend `http1Backend`: servers that speak HTTP/1.1.
//!
//! ```gorox
//! stage {
//! 	http1Backend "api" {
//! 		.balancer = "p2c"
//! 		node { .address = "127.0.0.1:7001"  .weight = 2 }
//! 		node { .address = "app.internal:7001"  .backup = true }
//! 		tcpCheck { .interval = 5s }
//! 	}
//! 	webapp "site" { .hostnames = ("*")  rule { httpProxy { .toBackend = "api" } } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! A connection carries one request after the other, and is closed after an answer that leaves any doubt
//! about where the next one begins. Each core has its own connections.

mod exchange;
mod pool;

use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::{BackendConfig, Nodes, Pick};
use hemi_core::config::Size;
use hemi_core::io::Socket;
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use hemi_proto::http1::HeadLimits;
use hemi_web::{HttpBackend, Outgoing, Response, SendError, Undelivered};
use serde::Deserialize;
use tokio::time::timeout;

use exchange::Exchange;
use pool::{Conn, Pool};

/// Passes requests on to servers that speak HTTP/1.1.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct Http1Config {
    /// How long connecting to a node may take.
    pub connect_timeout: Duration,
    /// How long a node may take from the whole request to the head of its answer.
    pub answer_timeout: Duration,
    /// How long the next piece of an answer's content may take.
    pub read_timeout: Duration,
    /// How long a node may take to make room for more of a request.
    pub write_timeout: Duration,
    /// Idle connections that each core keeps to a node, at most.
    pub keep_conns: usize,
    /// How long an idle connection is kept.
    pub keep_time: Duration,
    /// Requests on a connection, at most.
    pub max_requests_per_conn: u32,
    /// How long nothing may pass on a connection that has been upgraded, to WebSocket most often.
    pub tunnel_timeout: Duration,
    /// Bytes of an answer's head, at most.
    pub max_head_size: Size,
}

impl Default for Http1Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            answer_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            keep_conns: 64,
            keep_time: Duration::from_secs(30),
            max_requests_per_conn: 10_000,
            tunnel_timeout: Duration::from_secs(3600),
            max_head_size: Size(64 << 10),
        }
    }
}

/// Servers that speak HTTP/1.1.
#[derive(Debug)]
pub struct Http1Backend {
    nodes: Nodes,
    shared: Arc<Shared>,
}

/// What all exchanges of a backend share.
#[derive(Debug)]
struct Shared {
    config: Http1Config,
    heads: HeadLimits,
    pool: Pool,
}

impl Component for Http1Backend {
    const SIGN: &'static str = "http1Backend";
    type Config = (BackendConfig, Http1Config);

    fn create((backend, config): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let head_size = usize::try_from(config.max_head_size.0).unwrap_or(usize::MAX);
        let heads = HeadLimits { head_size, fields: 1024, ..HeadLimits::default() };
        let pool = Pool::new(config.keep_conns, config.keep_time, cx.cores());
        let nodes = Nodes::of(backend, cx)?;
        Ok(Self { nodes, shared: Arc::new(Shared { config, heads, pool }) })
    }
}

impl Lifecycle for Http1Backend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.nodes.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        tokio::join!(self.nodes.run(cx), self.shared.pool.run(cx));
    }

    fn measure(&self, out: &mut Measures) {
        self.nodes.measure(out);
    }
}

impl HttpBackend for Http1Backend {
    fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    async fn send(
        &self,
        mut pick: Pick,
        mut request: Outgoing<'_>,
    ) -> Result<Response, Box<Undelivered>> {
        // A connection that was idle may be found closed just when it is used: that is nobody's fault.
        if let Some(conn) = self.shared.pool.take(pick.endpoint()) {
            match self.exchange(conn, pick, &mut request).await {
                Err(undelivered) if undelivered.unseen => match *undelivered {
                    Undelivered { body: Some(body), pick: again, .. } => {
                        (request.body, pick) = (body, again);
                        self.shared.pool.forget(pick.endpoint());
                    }
                    undelivered => return Err(Box::new(undelivered)),
                },
                done => return done,
            }
        }
        match self.connect(&pick).await {
            Ok(conn) => self.exchange(conn, pick, &mut request).await,
            Err(error) => {
                let body = Some(request.body);
                Err(Box::new(Undelivered { error, pick, unseen: true, body }))
            }
        }
    }
}

impl Http1Backend {
    async fn exchange(
        &self,
        conn: Conn,
        pick: Pick,
        request: &mut Outgoing<'_>,
    ) -> Result<Response, Box<Undelivered>> {
        Exchange::new(self.shared.clone(), conn, pick).run(request).await
    }

    async fn connect(&self, pick: &Pick) -> Result<Conn, SendError> {
        let limit = self.shared.config.connect_timeout;
        match timeout(limit, Socket::connect(pick.endpoint().target())).await {
            Ok(Ok(socket)) => Ok(Conn::new(socket)),
            Ok(Err(e)) => Err(SendError::Connect(e)),
            Err(_) => Err(SendError::Timeout { what: "connection", limit }),
        }
    }
}
