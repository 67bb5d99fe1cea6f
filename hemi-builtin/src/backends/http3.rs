//! The backend `http3Backend`: servers that speak HTTP/3.
//!
//! ```gorox
//! stage {
//! 	http3Backend "far" {
//! 		.tlsTrustedCa = %topDir + "/ca.pem"
//! 		node { .address = "far.internal:443" }
//! 	}
//! 	webapp "site" { .hostnames = ("*")  rule { httpProxy { .toBackend = "far" } } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Over QUIC nothing is in the clear: nodes show certificates, which must be for their hosts, or for
//! `.tlsPeerName`. Many requests share a connection, of which each core has its own; one whose packets are lost holds
//! up no other. Contents flow both ways at the same time, trailers after them. A WebSocket goes on by an extended
//! CONNECT (RFC 9220).

mod conns;
mod exchange;
mod head;
mod tunnel;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::{Nodes, Pick, ProxyProtocol};
use hemi_core::config::{Size, size_of_at_least};
use hemi_core::metrics::Measures;
use hemi_core::quic::QuicConnector;
use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run};
use hemi_proto::http1::HeadLimits;
use hemi_web::{Body, HttpBackend, Outgoing, Response, Undelivered};
use serde::Deserialize;

use super::exchange::TimesConfig;
use super::group::GroupConfig;
use super::multiplexed::{Conns, MultiplexConfig};
use conns::Http3;
use exchange::Exchange;

/// Passes requests on to servers that speak HTTP/3.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct Http3Config {
    /// How long nothing may pass on a stream that has been upgraded, to WebSocket most often.
    pub tunnel_timeout: Duration,
    /// Bytes of an answer's head, at most, and 1K at least.
    #[serde(deserialize_with = "size_of_at_least::<1024, _>")]
    pub max_head_size: Size,
}

impl Default for Http3Config {
    fn default() -> Self {
        Self { tunnel_timeout: Duration::from_secs(3600), max_head_size: Size(64 << 10) }
    }
}

/// Servers that speak HTTP/3.
#[derive(Debug)]
pub struct Http3Backend {
    nodes: Nodes,
    shared: Arc<Shared>,
}

/// What all exchanges of a backend share.
#[derive(Debug)]
struct Shared {
    conns: Conns<Http3>,
    times: TimesConfig,
    heads: HeadLimits,
    tunnel_timeout: Duration,
}

impl Component for Http3Backend {
    const SIGN: &'static str = "http3Backend";
    const ABOUT: Option<&'static str> = Some("Servers that speak HTTP/3.");
    type Config = (GroupConfig, Http3Config, MultiplexConfig, ConnectorConfig);

    fn create(config: Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let ((backend, conns, times), own, multiplex, tls) = config;
        if conns.proxy_protocol != ProxyProtocol::None {
            let message = "connections of HTTP/3 carry requests of many clients: `.proxyProtocol` can't name one";
            return Err(Error::config(cx.span(), message));
        }
        if conns.via.is_some() {
            let message = "HTTP/3 goes by datagrams, which `.via` has no way for";
            return Err(Error::config(cx.span(), message));
        }
        let tls = Arc::new(Connector::new(tls, &["h3"], cx)?);
        let head_size = usize::try_from(own.max_head_size.0).unwrap_or(usize::MAX);
        let heads = HeadLimits { head_size, fields: 1024, ..HeadLimits::default() };
        let protocol = Http3 { quic: QuicConnector::new(tls, cx.cores()), head_size };
        let conns = Conns::new(conns, &multiplex, protocol, cx.cores());
        let shared = Shared { conns, times, heads, tunnel_timeout: own.tunnel_timeout };
        Ok(Self { nodes: Nodes::of(backend, cx)?, shared: Arc::new(shared) })
    }
}

impl Lifecycle for Http3Backend {
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

impl HttpBackend for Http3Backend {
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
