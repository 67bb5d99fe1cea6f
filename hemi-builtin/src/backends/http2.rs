//! The backend `http2Backend`: servers that speak HTTP/2, those of gRPC among them.
//!
//! ```gorox
//! stage {
//! 	http2Backend "greeter" {
//! 		node { .address = "127.0.0.1:50051" }
//! 		node { .address = "greeter.internal:50051" }
//! 	}
//! 	webapp "site" { .hostnames = ("*")  rule { httpProxy { .toBackend = "greeter" } } }
//! 	httpxServer "main" {
//! 		.address = "127.0.0.1:3080"
//! 		.webapps = ("site")
//! 		.h2cPriorKnowledge = true
//! 	}
//! }
//! ```
//!
//! Many requests share a connection, of which each core has its own. In the clear nodes are known to speak
//! HTTP/2; over TLS they have to agree to. Contents flow both ways at the same time, trailers after them;
//! who cancels on one side is cancelled on the other. A WebSocket goes on by an extended CONNECT (RFC 8441).

mod conns;
mod exchange;
pub(super) mod head;
pub(crate) mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::{Nodes, Pick, ProxyProtocol};
use hemi_core::metrics::Measures;
use hemi_core::tls::ConnectorConfig;
use hemi_core::{Component, CreateCx, Error, Lifecycle, Prepare, Result, Run};
use hemi_web::{Body, HttpBackend, Outgoing, Response, Undelivered};

use super::exchange::TimesConfig;
use super::group::GroupConfig;
use super::http::HttpConfig;
use super::multiplexed::{Conns, MultiplexConfig};
use conns::{Http2, MOST_STREAMS};
use exchange::Exchange;

/// Servers that speak HTTP/2.
#[derive(Debug)]
pub struct Http2Backend {
    nodes: Nodes,
    shared: Arc<Shared>,
}

/// What all exchanges of a backend share.
#[derive(Debug)]
struct Shared {
    conns: Conns<Http2>,
    times: TimesConfig,
    tunnel_timeout: Duration,
}

impl Component for Http2Backend {
    const SIGN: &'static str = "http2Backend";
    const ABOUT: Option<&'static str> =
        Some("Servers that speak HTTP/2, those of gRPC among them.");
    type Config = (GroupConfig, HttpConfig, MultiplexConfig, ConnectorConfig);

    fn create(config: Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let ((backend, conns, times), http, mut multiplex, tls) = config;
        if conns.proxy_protocol != ProxyProtocol::None {
            let message = "connections of HTTP/2 carry requests of many clients: `.proxyProtocol` can't name one";
            return Err(Error::config(cx.span(), message));
        }
        let connector = http.connector(tls, &["h2"], cx)?;
        let head_size = u32::try_from(http.max_head_size.0).unwrap_or(u32::MAX);
        let streams = multiplex.max_streams_per_conn.clamp(1, MOST_STREAMS);
        multiplex.max_streams_per_conn = streams;
        let (connector, via) = (connector.map(Arc::new), conns.via.clone());
        let protocol = Http2 { head_size, streams, connector, via };
        let conns = Conns::new(conns, &multiplex, protocol, cx.cores());
        let shared = Arc::new(Shared { conns, times, tunnel_timeout: http.tunnel_timeout });
        Ok(Self { nodes: Nodes::of(backend, cx)?, shared })
    }
}

impl Lifecycle for Http2Backend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.shared.conns.prepare()?;
        self.nodes.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        tokio::join!(self.nodes.run(cx), self.shared.conns.run(cx));
    }

    fn measure(&self, out: &mut Measures) {
        self.nodes.measure_with_conns(out, |endpoint| self.shared.conns.kept(endpoint));
    }
}

impl HttpBackend for Http2Backend {
    fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    async fn send(
        &self,
        pick: Pick,
        request: Outgoing<'_>,
        body: Body,
    ) -> Result<Response, Box<Undelivered>> {
        let shared = &self.shared;
        let send = |lease, pick, body| Exchange::send(shared.clone(), lease, pick, &request, body);
        shared.conns.send(pick, body, send).await
    }
}
