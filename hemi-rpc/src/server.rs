//! The server `rpcxServer`: services for callers that speak rpcx.
//!
//! ```gorox
//! stage {
//! 	echoService "Echo" {}
//! 	rpcxServer "main" { .address = "127.0.0.1:8972"  .services = ("Echo")  .callTimeout = 10s }
//! }
//! ```

mod conn;
mod gateway;
mod hrpc;
mod limits;
mod streams;
mod tls;
mod waits;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use hemi_core::config::{Diagnostic, Ref, Secret, Several, Spanned};
use hemi_core::cores::{Counter, PerCore, available};
use hemi_core::gate::{Accepted, Gate, GateConfig, GateCounters};
use hemi_core::listen::{Address, ListenOptions};
use hemi_core::metrics::Measures;
use hemi_core::server::Server;
use hemi_core::tls::{SiteConfig, TlsConfig};
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Parts, Prepare, Result, Run};
use hemi_web::{HttpConfig, HttpxServer, Rule, Webapp};
use serde::Deserialize;

use self::gateway::Gateway;
pub use self::limits::RpcxLimits;
use self::tls::Tls;
use crate::exchange::Route;
use crate::grpc::{guarded, mount, within};
use crate::guard;
use crate::registry::{AnnounceConfig, Announcer};
use crate::service::erase;
use crate::side::{self, Files, SideFile, SideMeta, SideStream, Streams, Tokens};
use crate::{
    Asking, Compressions, DynNodeRegistry, DynService, Endpoint, GrpcLimits, GrpcService,
    GrpcServices, Guard, Refusal, Service, ServiceKind, Snappy, Zstd,
};

/// Serves services to callers that speak rpcx.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct RpcxConfig {
    /// Where to listen: `"127.0.0.1:8972"`, `":8972"`, or the path of a Unix socket.
    pub address: Spanned<Address>,
    /// The services it serves, by their names, which are those that callers ask for. Those that tonic-build has made have
    /// the name of their package for callers, and are there for callers by HRPC and HTTP.
    pub services: Spanned<Vec<Ref<ServiceKind>>>,
    /// Tokens, one of which callers have to show (as `__AUTH` in metadata), or a list; none for calls from anybody. Who
    /// shows none of them is answered with an error, and his connection closed.
    #[serde(default)]
    pub auth_tokens: Several<Secret>,
    /// Whether callers may speak HTTP at the same port: as they do to the gateway of rpcx, by JSON-RPC 2.0, and by gRPC,
    /// gRPC-Web and Connect. What a connection begins with decides.
    #[serde(default)]
    pub http: bool,
    /// The number, from 2 to 7, by which callers by rpcx mean that a payload is compressed by zstd; none by default, as in Go. By
    /// HRPC it is 2.
    #[serde(default)]
    pub zstd_number: Option<u8>,
    /// The same for snappy, in the format of its framing; none by default. By HRPC it is 3.
    #[serde(default)]
    pub snappy_number: Option<u8>,
}

/// A server of rpcx.
pub struct RpcxServer {
    address: Address,
    gate_config: GateConfig,
    gate_counters: Arc<GateCounters>,
    limits: Arc<RpcxLimits>,
    counters: Arc<Counters>,
    services: HashMap<String, Arc<dyn DynService>>,
    guards: Vec<Arc<dyn Guard>>,
    /// There if connections are encrypted.
    tls: Option<Tls>,
    /// Whether callers may speak HTTP.
    http: bool,
    /// Who speaks it with them, if they may.
    web: OnceLock<Arc<HttpxServer>>,
    announcer: Announcer,
    /// Of streams beside calls, if there are any.
    compressions: Compressions,
    tokens: Option<Arc<Tokens>>,
    uploads: Option<side::Taker<SideFile>>,
    downloads: Option<side::Taker<SideFile>>,
    /// Each core has its own, for what all connections write to is slow.
    shared: OnceLock<Arc<PerCore<Arc<Shared>>>>,
    gate: OnceLock<Gate>,
}

/// What the connections of a server share on one core.
pub(crate) struct Shared {
    pub(crate) limits: Arc<RpcxLimits>,
    pub(crate) counters: Arc<Counters>,
    guards: Vec<Arc<dyn Guard>>,
    routes: HashMap<Box<[u8]>, Arc<Route>>,
    /// Of streams beside calls, if there are any.
    pub(crate) tokens: Option<Arc<Tokens>>,
    pub(crate) compressions: Compressions,
    pub(crate) hrpc_compressions: Compressions,
}

/// What is counted.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) calls: Counter,
    pub(crate) faults: Counter,
    pub(crate) panics: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) refused: Counter,
    pub(crate) heartbeats: Counter,
    pub(crate) malformed: Counter,
    pub(crate) cuts: Counter,
}

impl Counters {
    fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        Self {
            calls: counter(),
            faults: counter(),
            panics: counter(),
            timeouts: counter(),
            refused: counter(),
            heartbeats: counter(),
            malformed: counter(),
            cuts: counter(),
        }
    }

    fn named(&self) -> [(&'static str, &'static str, &Counter); 8] {
        [
            ("hemi_rpc_calls", "Calls read, those without an answer among them.", &self.calls),
            ("hemi_rpc_faults", "Calls answered with an error.", &self.faults),
            ("hemi_rpc_panics", "Panics of methods.", &self.panics),
            ("hemi_rpc_timeouts", "Calls that took too long.", &self.timeouts),
            ("hemi_rpc_refused", "Calls that were not admitted, or too many.", &self.refused),
            ("hemi_rpc_heartbeats", "Signs of life sent back.", &self.heartbeats),
            (
                "hemi_rpc_malformed",
                "Connections closed for what is no rpcx, or too long.",
                &self.malformed,
            ),
            ("hemi_rpc_cuts", "Connections closed for being silent or slow.", &self.cuts),
        ]
    }
}

impl Component for RpcxServer {
    const SIGN: &'static str = "rpcxServer";
    type Config = (RpcxConfig, RpcxLimits, AnnounceConfig, GateConfig, TlsConfig, SiteConfig);

    fn create(config: Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (own, limits, announce, gate, tls, site) = config;
        let announcer = Announcer::create(announce, &own.address, cx)?;
        let address = cx.listen_on(own.address)?;
        let found = cx.follow_all(&own.services.value)?;
        let mut services = HashMap::new();
        for (service, name) in found.into_iter().zip(&own.services.value) {
            let called = service.grpc().map_or(name.name(), GrpcService::name).to_owned();
            if services.insert(called, service).is_some() {
                let message = format!("the service \"{}\" is named twice", name.name());
                return Err(Diagnostic::new(name.span(), message).into());
            }
        }
        let cores = cx.cores();
        let counters = cx.keep(|| Counters::new(cores));
        let gate_counters = cx.keep(|| GateCounters::new(cores));
        let server = Self::with_counters(address, limits, gate, counters, gate_counters);
        let server = Self { services, tls: Tls::create(tls, site, cx)?, ..server };
        let (zstd, snappy) = (own.zstd_number, own.snappy_number);
        let mut numbers = [zstd, snappy].into_iter().flatten();
        if numbers.any(|number| !(2..8).contains(&number)) || zstd.is_some() && zstd == snappy {
            let message = "numbers of compressions are from 2 to 7, and each has one meaning";
            return Err(Error::config(cx.span(), message));
        }
        let compressions = Compressions::default();
        let compressions = match zstd {
            Some(number) => compressions.with(number, Zstd),
            None => compressions,
        };
        let compressions = match snappy {
            Some(number) => compressions.with(number, Snappy),
            None => compressions,
        };
        let server = Self { http: own.http, announcer, compressions, ..server };
        let tokens = own.auth_tokens.0;
        Ok(if tokens.is_empty() { server } else { server.guard(guard::Tokens(tokens)) })
    }
}

impl RpcxServer {
    /// A server without services, with defaults for all else.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self::with_config(address, RpcxLimits::default(), GateConfig::default())
    }

    /// The same with these properties.
    #[must_use]
    pub fn with_config(address: Address, limits: RpcxLimits, gate: GateConfig) -> Self {
        let cores = available().get();
        let counters = (Arc::new(Counters::new(cores)), Arc::new(GateCounters::new(cores)));
        Self::with_counters(address, limits, gate, counters.0, counters.1)
    }

    fn with_counters(
        address: Address,
        limits: RpcxLimits,
        gate_config: GateConfig,
        counters: Arc<Counters>,
        gate_counters: Arc<GateCounters>,
    ) -> Self {
        Self {
            address,
            gate_config,
            gate_counters,
            limits: Arc::new(limits),
            counters,
            services: HashMap::new(),
            guards: Vec::new(),
            tls: None,
            http: false,
            web: OnceLock::new(),
            announcer: Announcer::default(),
            compressions: Compressions::default(),
            tokens: None,
            uploads: None,
            downloads: None,
            shared: OnceLock::new(),
            gate: OnceLock::new(),
        }
    }

    /// The same with a service more, by its own name.
    #[must_use]
    pub fn service<S: Service>(self, service: S) -> Self {
        self.service_as(S::NAME, Arc::new(service))
    }

    /// The same by this name.
    #[must_use]
    pub fn service_as<S: Service>(mut self, name: &str, service: Arc<S>) -> Self {
        self.services.insert(name.to_owned(), erase(service));
        self
    }

    /// The same with a service that tonic-build has made, for callers by HRPC and HTTP.
    #[must_use]
    pub fn grpc_service(mut self, service: GrpcService) -> Self {
        self.services.insert(service.name().to_owned(), mount(service));
        self
    }

    /// The same with a guard more, which is asked after those before it.
    #[must_use]
    pub fn guard(mut self, guard: impl Guard) -> Self {
        self.guards.push(Arc::new(guard));
        self
    }

    /// The same for callers that speak HTTP too: see `http` in its config.
    #[must_use]
    pub fn http(self) -> Self {
        Self { http: true, ..self }
    }

    /// The same with a registry more that is told where the services are: see `registries` in its config.
    #[must_use]
    pub fn registry(mut self, registry: Arc<dyn DynNodeRegistry>) -> Self {
        self.announcer.registries.push(registry);
        self
    }

    /// Has registries told that the services are there, and this besides: see `advertise` and `node_metadata` in its config.
    #[must_use]
    pub fn advertise(mut self, at: Endpoint, metadata: &str) -> Self {
        self.announcer.advertise = Some(at);
        self.announcer.metadata = metadata.to_owned();
        self
    }

    /// The same with these meanings of numbers of compressions: see `zstd_number` in its config.
    #[must_use]
    pub fn compressions(self, compressions: Compressions) -> Self {
        Self { compressions, ..self }
    }

    /// The same with streams beside calls, as `EnableStreamService` has them in Go: callers ask for one by a call, and connect to
    /// this server again, at what it advertises or listens on. They can't over TLS. A stream ends when the future does.
    #[must_use]
    pub fn streams<F, Fut>(mut self, take: F) -> Self
    where
        F: Fn(SideStream, SideMeta) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let service = Streams::new(self.tokens(), side::taker(take));
        self.services.insert(Streams::NAME.to_owned(), erase(Arc::new(service)));
        self
    }

    /// The same with files that callers send, as `EnableFileTransfer` has them in Go: the stream has as many bytes as the caller
    /// has said, or breaks off with an error.
    #[must_use]
    pub fn uploads<F, Fut>(mut self, take: F) -> Self
    where
        F: Fn(SideStream, SideFile) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.uploads = Some(side::taker(take));
        self.files()
    }

    /// The same with files that callers ask for: what is written to the stream is the file's.
    #[must_use]
    pub fn downloads<F, Fut>(mut self, give: F) -> Self
    where
        F: Fn(SideStream, SideFile) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.downloads = Some(side::taker(give));
        self.files()
    }

    fn files(mut self) -> Self {
        let (tokens, uploads, downloads) =
            (self.tokens(), self.uploads.clone(), self.downloads.clone());
        let files = Files { tokens, uploads, downloads };
        self.services.insert(Files::NAME.to_owned(), erase(Arc::new(files)));
        self
    }

    fn tokens(&mut self) -> Arc<Tokens> {
        self.tokens.get_or_insert_default().clone()
    }

    /// Who speaks HTTP with callers.
    fn web(&self) -> HttpxServer {
        let shared = Shared::for_core(self);
        let limits = GrpcLimits {
            max_message_size: self.limits.max_message_size,
            call_timeout: self.limits.call_timeout,
            // Nobody prepares it.
            reflection: false,
            ..GrpcLimits::default()
        };
        let mut grpc = GrpcServices::with_limits(limits);
        for (name, service) in &self.services {
            grpc = grpc.service(match service.grpc() {
                Some(service) => guarded(service, &shared),
                None => within(name, service, &shared),
            });
        }
        let rule = Rule::new().handlet(Gateway(shared)).handlet(grpc);
        let webapp = Webapp::new("rpcx").max_body_size(u64::MAX).rule(rule);
        let http = HttpConfig {
            h2c_prior_knowledge: true,
            max_requests_per_conn: u32::MAX,
            idle_timeout: self.limits.idle_timeout,
            send_timeout: self.limits.send_timeout,
            ..HttpConfig::default()
        };
        let address = self.address.clone();
        HttpxServer::with_config(address, [Arc::new(webapp)], http, GateConfig::default())
    }

    /// Adds the server to a stage that is built in code.
    ///
    /// # Errors
    /// When the stage has a server of that name.
    pub fn install(self, name: &str, parts: &mut Parts) -> Result<Arc<Self>> {
        parts.server(name, self)
    }
}

impl Shared {
    /// For calls that come by other protocols, whose servers have limits of their own.
    pub(crate) fn without_limits(cores: usize) -> Arc<Self> {
        Arc::new(Self {
            limits: Arc::default(),
            counters: Arc::new(Counters::new(cores)),
            guards: Vec::new(),
            routes: HashMap::new(),
            tokens: None,
            compressions: Compressions::default(),
            hrpc_compressions: Compressions::default().by_hrpc(),
        })
    }

    fn for_core(server: &RpcxServer) -> Arc<Self> {
        let route = |(name, service): (&String, &Arc<dyn DynService>)| {
            let route = Route { name: name.clone(), service: service.for_core() };
            (name.as_bytes().into(), Arc::new(route))
        };
        Arc::new(Self {
            limits: server.limits.clone(),
            counters: server.counters.clone(),
            guards: server.guards.clone(),
            routes: server.services.iter().map(route).collect(),
            tokens: server.tokens.clone(),
            compressions: server.compressions.clone(),
            hrpc_compressions: server.compressions.by_hrpc(),
        })
    }

    pub(crate) fn route(&self, service: &[u8]) -> Option<&Arc<Route>> {
        self.routes.get(service)
    }

    pub(crate) fn admit(&self, asking: &Asking<'_>) -> std::result::Result<(), Refusal> {
        self.guards.iter().try_for_each(|guard| guard.admit(asking))
    }
}

impl fmt::Debug for RpcxServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.keys().collect();
        f.debug_struct("RpcxServer")
            .field("address", &self.address)
            .field("services", &services)
            .finish_non_exhaustive()
    }
}

impl Lifecycle for RpcxServer {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let _ = self.shared.set(Arc::new(PerCore::new(cx.cores(), || Shared::for_core(self))));
        let options = ListenOptions::default();
        let counters = self.gate_counters.clone();
        let gate = Gate::open(cx, &self.address, &self.gate_config, options, counters)?;
        if let Some(tokens) = &self.tokens
            && let Some(at) = self.announcer.reached_at(gate.address())
        {
            let _ = tokens.at.set(at);
        }
        let _ = self.gate.set(gate);
        if let Some(tls) = &self.tls {
            tls.prepare(cx.cores())?;
        }
        if self.http {
            let _ = self.web.set(Arc::new(self.web()));
        }
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        let (Some(gate), Some(shared)) = (self.gate.get(), self.shared.get()) else { return };
        let services = self.services.keys().cloned().collect();
        let announcing = self.announcer.run(services, gate.address(), cx);
        let (shared, web) = (shared.clone(), self.web.get().cloned());
        let acceptor = self.tls.as_ref().and_then(|tls| Some((tls, tls.acceptor.get()?.clone())));
        let Some((tls, acceptor)) = acceptor else {
            let serve = move |accepted: Accepted| {
                let Accepted { socket, peer, ticket, .. } = accepted;
                conn::serve(socket, None, peer, ticket, shared.mine().clone(), web.clone())
            };
            tokio::join!(gate.run(cx, serve), announcing);
            return;
        };
        let serve = move |accepted: Accepted| {
            let Accepted { socket, peer, ticket, .. } = accepted;
            let (acceptor, shared) = (acceptor.clone(), shared.mine().clone());
            let web = web.clone();
            async move {
                let Some(stream) = acceptor.accept(socket, &peer, &ticket).await else { return };
                let tls = Some(stream.info().clone());
                conn::serve(stream, tls, peer, ticket, shared, web).await;
            }
        };
        tokio::select! {
            _ = async { tokio::join!(gate.run(cx, serve), announcing) } => {}
            // Certificates that change are shown from then on.
            () = tls.files.follow(&tls.site) => {}
        }
    }

    fn measure(&self, out: &mut Measures) {
        for (name, help, counter) in self.counters.named() {
            out.counter(name, help, &[], counter.sum());
        }
        if let Some(gate) = self.gate.get() {
            gate.measure(out);
        }
        if let Some(tls) = &self.tls {
            tls.counters.measure(out);
            tls.site.measure(out);
        }
    }
}

impl Server for RpcxServer {
    fn active(&self) -> usize {
        self.gate.get().map_or(0, Gate::active)
    }

    fn addresses(&self) -> Vec<Address> {
        self.gate.get().map(|gate| gate.address().clone()).into_iter().collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let own = self
            .counters
            .named()
            .map(|(name, _, counter)| (name.strip_prefix("hemi_").unwrap_or(name), counter.sum()));
        own.into_iter().chain(self.gate_counters.named()).collect()
    }
}
