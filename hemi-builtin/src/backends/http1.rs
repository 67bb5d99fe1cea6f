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

use std::time::Duration;

use hemi_core::backend::{Nodes, Pick};
use hemi_core::io::Outbox;
use hemi_core::metrics::Measures;
use hemi_core::tls::ConnectorConfig;
use hemi_core::{Component, CreateCx, Lifecycle, Prepare, Result, Run};
use hemi_proto::http1::HeadLimits;
use hemi_web::{Body, HttpBackend, Outgoing, Response, Undelivered};

use super::exchange::Exchange;
use super::group::{Group, GroupConfig};
use super::http::HttpConfig;
use codec::Http1;

pub(super) use codec::expects_content;

/// Servers that speak HTTP/1.1.
#[derive(Debug)]
pub struct Http1Backend {
    group: Group,
    heads: HeadLimits,
    tunnel_timeout: Duration,
}

impl Component for Http1Backend {
    const SIGN: &'static str = "http1Backend";
    const ABOUT: Option<&'static str> = Some("Servers that speak HTTP/1.1.");
    type Config = (GroupConfig, HttpConfig, ConnectorConfig);

    fn create((group, http, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let connector = http.connector(tls, &["http/1.1"], cx)?;
        let head_size = usize::try_from(http.max_head_size.0).unwrap_or(usize::MAX);
        let heads = HeadLimits { head_size, fields: 1024, ..HeadLimits::default() };
        let group = Group::create(group, connector, cx)?;
        Ok(Self { group, heads, tunnel_timeout: http.tunnel_timeout })
    }
}

impl Lifecycle for Http1Backend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.group.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.group.run(cx).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.group.measure(out);
    }
}

impl HttpBackend for Http1Backend {
    fn nodes(&self) -> &Nodes {
        &self.group.nodes
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
            Exchange::new(self.group.shared.clone(), conn, pick, codec, out, body)
        };
        self.group.shared.send(pick, body, request.hints, begin).await
    }
}
