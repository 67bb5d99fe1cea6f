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

pub(super) mod codec;

use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::{BackendConfig, Nodes, Pick};
use hemi_core::config::Size;
use hemi_core::io::Outbox;
use hemi_core::metrics::Measures;
use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use hemi_proto::http1::HeadLimits;
use hemi_web::{Body, HttpBackend, Outgoing, Response, Undelivered};
use serde::Deserialize;

use super::conns::{Conns, ConnsConfig};
use super::exchange::{Exchange, Shared, TimesConfig};
use codec::Http1;

pub(super) use codec::expects_content;

/// Passes requests on to servers that speak HTTP/1.1.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct Http1Config {
    /// Whether nodes are spoken to over TLS. Their certificates must be for their hosts, or for `tlsPeerName`.
    pub tls_mode: bool,
    /// How long nothing may pass on a connection that has been upgraded, to WebSocket most often.
    pub tunnel_timeout: Duration,
    /// Bytes of an answer's head, at most.
    pub max_head_size: Size,
}

impl Default for Http1Config {
    fn default() -> Self {
        let tunnel_timeout = Duration::from_secs(3600);
        Self { tls_mode: false, tunnel_timeout, max_head_size: Size(64 << 10) }
    }
}

/// Servers that speak HTTP/1.1.
#[derive(Debug)]
pub struct Http1Backend {
    nodes: Nodes,
    heads: HeadLimits,
    tunnel_timeout: Duration,
    shared: Arc<Shared>,
}

impl Component for Http1Backend {
    const SIGN: &'static str = "http1Backend";
    type Config = (BackendConfig, ConnsConfig, TimesConfig, Http1Config, ConnectorConfig);

    fn create(config: Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (backend, conns, times, config, tls) = config;
        let connector = match config.tls_mode {
            true => Some(Connector::new(tls, &["http/1.1"], cx)?),
            false => None,
        };
        let head_size = usize::try_from(config.max_head_size.0).unwrap_or(usize::MAX);
        let heads = HeadLimits { head_size, fields: 1024, ..HeadLimits::default() };
        let conns = Conns::new(conns, cx.cores()).over(connector);
        let shared = Arc::new(Shared { conns, times });
        let tunnel_timeout = config.tunnel_timeout;
        Ok(Self { nodes: Nodes::of(backend, cx)?, heads, tunnel_timeout, shared })
    }
}

impl Lifecycle for Http1Backend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.shared.conns.prepare()?;
        self.nodes.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        tokio::join!(self.nodes.run(cx), self.shared.conns.run(cx));
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
        pick: Pick,
        request: Outgoing<'_>,
        body: Body,
    ) -> Result<Response, Box<Undelivered>> {
        let begin = |conn, pick, body: Body| {
            let (mut out, len) = (Outbox::default(), body.len());
            let codec = Http1::begin(&request, len, self.heads, self.tunnel_timeout, &mut out);
            Exchange::new(self.shared.clone(), conn, pick, codec, out, body)
        };
        self.shared.send(pick, body, request.hints, begin).await
    }
}
