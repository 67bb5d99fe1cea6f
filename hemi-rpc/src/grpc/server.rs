//! The server `grpcServer`: services for callers that speak gRPC, at a port of their own.
//!
//! ```gorox
//! stage {
//! 	echoService "Echo" {}
//! 	grpcServer "main" { .address = "127.0.0.1:50051"  .services = ("Echo")  .callTimeout = 30s }
//! }
//! ```

use std::sync::Arc;
use std::time::Duration;

use hemi_core::config::{Size, Spanned, size_of_at_least};
use hemi_core::gate::GateConfig;
use hemi_core::listen::Address;
use hemi_core::metrics::Measures;
use hemi_core::server::Server;
use hemi_core::tls::{SiteConfig, TlsConfig};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Parts, Prepare, Result, Run};
use hemi_web::{Handlet, HttpConfig, HttpxServer, Reply, Request, Rule, Webapp};
use serde::Deserialize;

use super::services::{GrpcLimits, GrpcServicesConfig};
use super::{GrpcService, GrpcServices, HealthReporter};
use crate::registry::{AnnounceConfig, Announcer};

/// Serves services to callers that speak gRPC, over HTTP/2 in the clear, or over TLS.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct GrpcConfig {
    /// Where to listen: `"127.0.0.1:50051"`, `":50051"`, or the path of a Unix socket.
    pub address: Spanned<Address>,
    /// How long a connection may be idle between calls.
    #[serde(default = "one_hour")]
    pub idle_timeout: Duration,
    /// How long a connection may be used, give or take a tenth: its caller is asked to connect anew then, and calls
    /// under way go on.
    #[serde(default = "one_day")]
    pub max_conn_age: Duration,
    /// How long a caller may take to make room for more of an answer.
    #[serde(default = "thirty_seconds")]
    pub send_timeout: Duration,
    /// Bytes of a call's metadata, at most, and 1K at least.
    #[serde(default = "sixteen_kibibytes", deserialize_with = "size_of_at_least::<1024, _>")]
    pub max_metadata_size: Size,
}

fn one_hour() -> Duration {
    Duration::from_secs(3600)
}

fn one_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn sixteen_kibibytes() -> Size {
    Size(16 << 10)
}

/// A server of gRPC: one of HTTP with nothing else on it.
#[derive(Debug)]
pub struct GrpcServer {
    http: HttpxServer,
    webapp: Arc<Webapp>,
    services: Arc<GrpcServices>,
    announcer: Announcer,
}

/// The one handlet that the server has.
struct Only(Arc<GrpcServices>);

impl Lifecycle for Only {}

impl Handlet for Only {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.0.handle(req).await
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        self.0.handle_now(req)
    }
}

fn http_config(own: &GrpcConfig) -> HttpConfig {
    HttpConfig {
        h2c_prior_knowledge: true,
        max_requests_per_conn: u32::MAX,
        idle_timeout: own.idle_timeout,
        max_conn_age: own.max_conn_age,
        send_timeout: own.send_timeout,
        max_head_size: own.max_metadata_size,
        ..HttpConfig::default()
    }
}

fn webapp(name: &str, services: &Arc<GrpcServices>) -> Webapp {
    Webapp::new(name).max_body_size(u64::MAX).rule(Rule::new().handlet(Only(services.clone())))
}

impl Component for GrpcServer {
    const SIGN: &'static str = "grpcServer";
    type Config = (
        GrpcConfig,
        GrpcServicesConfig,
        GrpcLimits,
        AnnounceConfig,
        GateConfig,
        TlsConfig,
        SiteConfig,
    );

    fn create(config: Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (own, services, limits, announce, gate, tls, site) = config;
        let http = http_config(&own);
        let announcer = Announcer::create(announce, &own.address, cx)?;
        let address = cx.listen_on(own.address)?;
        let services = Arc::new(GrpcServices::create((services, limits), cx)?);
        let webapp = Arc::new(webapp(cx.name(), &services).with_site(site, cx)?);
        let http = HttpxServer::of_webapp(address, &webapp, http, gate, tls, cx)?;
        Ok(Self { http, webapp, services, announcer })
    }
}

impl GrpcServer {
    /// A server of these services, with defaults for all else.
    #[must_use]
    pub fn new(address: Address, services: GrpcServices) -> Self {
        let services = Arc::new(services);
        let webapp = Arc::new(webapp("grpc", &services));
        let http = HttpConfig {
            h2c_prior_knowledge: true,
            max_requests_per_conn: u32::MAX,
            idle_timeout: one_hour(),
            max_conn_age: one_day(),
            ..HttpConfig::default()
        };
        let gate = GateConfig::default();
        let http = HttpxServer::with_config(address, [webapp.clone()], http, gate);
        Self { http, webapp, services, announcer: Announcer::default() }
    }

    /// A server of one service.
    #[must_use]
    pub fn of(address: Address, service: GrpcService) -> Self {
        Self::new(address, GrpcServices::new().service(service))
    }

    /// Who tells callers whether services serve; none if `health` is off.
    #[must_use]
    pub fn health(&self) -> Option<&HealthReporter> {
        self.services.health()
    }

    /// Adds the server to a stage that is built in code.
    ///
    /// # Errors
    /// When the stage has a server of that name.
    pub fn install(self, name: &str, parts: &mut Parts) -> Result<Arc<Self>> {
        parts.server(name, self)
    }
}

impl Lifecycle for GrpcServer {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.services.prepare(cx)?;
        self.webapp.prepare(cx)?;
        self.http.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        let listens = self.http.addresses();
        let announcing = async {
            if let Some(address) = listens.first() {
                self.announcer.run(self.services.names(), address, cx).await;
            }
        };
        tokio::join!(self.services.run(cx), self.webapp.run(cx), self.http.run(cx), announcing);
    }

    fn measure(&self, out: &mut Measures) {
        self.services.measure(out);
        self.http.measure(out);
    }
}

impl Server for GrpcServer {
    fn active(&self) -> usize {
        self.http.active()
    }

    fn addresses(&self) -> Vec<Address> {
        self.http.addresses()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        [self.services.counted(), Server::counters(&self.http)].concat()
    }
}
