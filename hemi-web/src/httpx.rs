//! The server `httpxServer`: HTTP over TCP and Unix sockets.
//!
//! ```gorox
//! stage {
//! 	webapp "hello" { .hostnames = ("*")  rule { .returnCode = 200  .returnText = "Hello" } }
//! 	httpxServer "main" {
//! 		.address = "127.0.0.1:3080"
//! 		.webapps = ("hello")
//! 		.headTimeout = 10s
//! 	}
//! }
//! ```

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use hemi_core::acme::{Acme, AcmeKind};
use hemi_core::clock::{self, Moment};
use hemi_core::config::{Diagnostic, Ref, Spanned};
use hemi_core::gate::{Accepted, Gate, GateConfig, GateCounters, Ticket};
use hemi_core::io::Io;
use hemi_core::listen::{Address, ListenOptions, Peer};
use hemi_core::metrics::Measures;
use hemi_core::quic::QuicConfig;
use hemi_core::server::Server;
use hemi_core::tls::{
    Acceptor, Site, Sites, Tickets, TlsConfig, TlsCounters, TlsInfo, UnknownName,
};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Parts, Prepare, Result, Run};
use hemi_proto::acme::WELL_KNOWN;
use hemi_proto::date::format_date;
use hemi_proto::http1::{HeadLimits, encode_status_line};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::conn::{http1, http2};
use crate::http_config::{HttpConfig, HttpCounters, Limit};
use crate::http3::Http3;
use crate::routes::Routes;
use crate::webapp::{Webapp, WebappKind};
use crate::{Request, Response};

/// Serves webapps over HTTP/1.1 and HTTP/2.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct HttpxConfig {
    /// Where to listen: `"127.0.0.1:80"`, `":80"`, or the path of a Unix socket.
    pub address: Spanned<Address>,
    /// The webapps it serves, by their names; the host asked for decides which.
    pub webapps: Spanned<Vec<Ref<WebappKind>>>,
    /// How long the kernel holds a connection back until its first bytes are there; 0s hands over
    /// every connection at once. Applies when the address is first bound: a reload does not change it.
    #[serde(default = "one_second")]
    pub defer_accept: Duration,
    /// Whether HTTP/3 is served as well, on the same address by UDP, and announced in answers over TCP
    /// (`alt-svc`, RFC 7838). Needs `tlsMode`.
    pub http3: Option<Spanned<bool>>,
    /// For how long clients may remember that HTTP/3 is served.
    #[serde(default = "one_day")]
    pub alt_svc_max_age: Duration,
}

/// For who sends requests in the clear where TLS is spoken.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 34\r\nconnection: close\r\n\r\nThis port is for https, not http.\n";

fn one_second() -> Duration {
    Duration::from_secs(1)
}

fn one_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

/// A server of HTTP over TCP or Unix sockets.
#[derive(Debug)]
pub struct HttpxServer {
    address: Address,
    defer_accept: Duration,
    alt_svc_max_age: Duration,
    gate_config: GateConfig,
    gate_counters: Arc<GateCounters>,
    shared: Arc<Shared>,
    gate: OnceLock<Gate>,
    /// There if connections are encrypted.
    tls: Option<Tls>,
    /// There if HTTP/3 is served as well.
    http3: Option<Http3>,
}

/// What is needed to encrypt connections.
#[derive(Debug)]
pub(crate) struct Tls {
    config: TlsConfig,
    tickets: Arc<Tickets>,
    pub(crate) counters: Arc<TlsCounters>,
    pub(crate) acceptor: OnceLock<Arc<Acceptor>>,
}

/// What all connections of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: HttpConfig,
    pub(crate) heads: HeadLimits,
    pub(crate) counters: Arc<HttpCounters>,
    routes: Routes,
    /// Whose certificates are shown to those who ask for a name that none of the webapps has.
    default_site: Option<Arc<Site>>,
    /// Those of the stage, whose challenges are answered in the clear.
    acmes: Vec<Arc<Acme>>,
    /// The `server` field.
    server_line: Vec<u8>,
    /// Known once the server is bound.
    alt_svc: OnceLock<HeaderValue>,
    /// Tells this server from others in what a core keeps for it.
    id: u64,
    jitter: RandomState,
}

/// The start of an answer that is OK: status line, server and date.
struct Start {
    server: u64,
    /// When the date is no longer right.
    until: Moment,
    bytes: BytesMut,
}

impl Default for Start {
    fn default() -> Self {
        Self { server: u64::MAX, until: Moment::NEVER, bytes: BytesMut::new() }
    }
}

fn put_date(out: &mut BytesMut, time: SystemTime) {
    out.extend_from_slice(b"date: ");
    out.extend_from_slice(&format_date(time));
    out.extend_from_slice(b"\r\n");
}

/// Which of the fields that every answer has are to be added to those of a handlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// `server` and `date`
    Both,
    Date,
    None,
}

impl Standing {
    /// What is to be added to fields among which there are these already, or not.
    pub(crate) fn beside(date: bool, server: bool) -> Self {
        match (date, server) {
            (false, false) => Self::Both,
            (false, true) => Self::Date,
            // Of one who knows the date we need not say who answers.
            (true, _) => Self::None,
        }
    }
}

impl Component for HttpxServer {
    const SIGN: &'static str = "httpxServer";
    type Config = (HttpxConfig, HttpConfig, GateConfig, TlsConfig, QuicConfig);

    fn create((own, http, gate, tls, quic): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let address = cx.listen_on(own.address)?;
        let http3 = own.http3.filter(|http3| http3.value).map(|http3| http3.span);
        if let Some(span) = http3.filter(|_| !tls.tls_mode || matches!(address, Address::Unix(_))) {
            let message = "HTTP/3 needs `.tlsMode = true` and an address of IP";
            return Err(Diagnostic::new(span, message).into());
        }
        let shared = Shared::create(&own.webapps, http, &tls, cx)?;
        let cores = cx.cores();
        Ok(Self {
            address,
            defer_accept: own.defer_accept,
            alt_svc_max_age: own.alt_svc_max_age,
            gate_counters: cx.keep(|| GateCounters::new(cores)),
            http3: http3.map(|_| Http3::create(quic, gate.clone(), cx)),
            gate_config: gate,
            shared: Arc::new(shared),
            gate: OnceLock::new(),
            tls: tls.tls_mode.then(|| Tls::create(tls, cx)),
        })
    }
}

impl HttpxServer {
    /// A server of these webapps, with defaults for all else.
    #[must_use]
    pub fn new(address: Address, webapps: impl IntoIterator<Item = Arc<Webapp>>) -> Self {
        Self::with_config(address, webapps, HttpConfig::default(), GateConfig::default())
    }

    /// The same with these properties.
    #[must_use]
    pub fn with_config(
        address: Address,
        webapps: impl IntoIterator<Item = Arc<Webapp>>,
        http: HttpConfig,
        gate: GateConfig,
    ) -> Self {
        let (mut routes, mut site) = (Routes::default(), None);
        for webapp in webapps {
            // Of two webapps with the same hostname the first has it.
            let _ = routes.add(&webapp);
            site = site.or_else(|| webapp.site().cloned());
        }
        let cores = hemi_core::cores::available().get();
        let counters = Arc::new(HttpCounters::new(cores));
        Self {
            address,
            defer_accept: one_second(),
            alt_svc_max_age: one_day(),
            gate_config: gate,
            gate_counters: Arc::new(GateCounters::new(cores)),
            shared: Arc::new(Shared::new(http, routes, site, counters)),
            gate: OnceLock::new(),
            tls: None,
            http3: None,
        }
    }

    /// The server within a component that speaks another protocol by HTTP, with this webapp alone.
    ///
    /// # Errors
    /// When it is to speak TLS, and the webapp has no certificate.
    pub fn of_webapp(
        address: Address,
        webapp: &Arc<Webapp>,
        http: HttpConfig,
        gate: GateConfig,
        tls: TlsConfig,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        if tls.tls_mode && webapp.site().is_none() {
            let message = "connections are to be encrypted, but there is no certificate";
            let help = "add `.tlsCertificate = …` and `.tlsPrivateKey = …`";
            return Err(Diagnostic::new(cx.span(), message).help(help).into());
        }
        let mut routes = Routes::default();
        let _ = routes.add(webapp);
        let cores = cx.cores();
        let counters = cx.keep(|| HttpCounters::new(cores));
        Ok(Self {
            address,
            defer_accept: Duration::ZERO,
            alt_svc_max_age: one_day(),
            gate_config: gate,
            gate_counters: cx.keep(|| GateCounters::new(cores)),
            shared: Arc::new(Shared::new(http, routes, webapp.site().cloned(), counters)),
            gate: OnceLock::new(),
            tls: tls.tls_mode.then(|| Tls::create(tls, cx)),
            http3: None,
        })
    }

    /// Serves a connection to its end that another server has accepted, and read this from: one of a port where more than
    /// HTTP is spoken.
    pub fn go_on<I>(
        &self,
        io: I,
        read: BytesMut,
        tls: Option<Arc<TlsInfo>>,
        peer: Peer,
        ticket: Ticket,
    ) -> impl Future<Output = ()> + Send + use<I>
    where
        I: Io + AsyncRead + AsyncWrite,
    {
        http1::go_on(io, read, tls, peer, ticket, self.shared.clone())
    }

    /// The same over TLS only, by the certificates of its webapps.
    #[must_use]
    pub fn tls(mut self, config: TlsConfig) -> Self {
        let counters = Arc::new(TlsCounters::new(hemi_core::cores::available().get()));
        let config = TlsConfig { tls_mode: true, ..config };
        self.tls =
            Some(Tls { config, tickets: Arc::default(), counters, acceptor: OnceLock::new() });
        self
    }

    /// Adds the server to a stage that is built in code.
    ///
    /// # Errors
    /// When the stage has a server of that name.
    pub fn install(self, name: &str, parts: &mut Parts) -> Result<Arc<Self>> {
        parts.server(name, self)
    }

    /// Its numbers.
    #[must_use]
    pub fn counters(&self) -> &HttpCounters {
        &self.shared.counters
    }

    /// Accepts over TCP, or on a Unix socket.
    async fn run_streams(&self, cx: &Run) {
        let Some(gate) = self.gate.get() else { return };
        let shared = self.shared.clone();
        let Some(acceptor) = self.tls.as_ref().and_then(|tls| tls.acceptor.get()) else {
            let serve = move |accepted: Accepted| {
                let Accepted { socket, peer, ticket, .. } = accepted;
                http1::serve(socket, None, peer, ticket, shared.clone())
            };
            return gate.run(cx, serve).await;
        };
        let acceptor = acceptor.clone();
        let serve = move |accepted: Accepted| {
            let Accepted { socket, peer, ticket, .. } = accepted;
            let (acceptor, shared) = (acceptor.clone(), shared.clone());
            async move {
                let Some(stream) = acceptor.accept(socket, &peer, &ticket).await else { return };
                let info = stream.info().clone();
                if info.alpn.as_deref() == Some(b"h2") {
                    http2::serve(stream, Some(info), peer, ticket, shared).await;
                } else {
                    http1::serve(stream, Some(info), peer, ticket, shared).await;
                }
            }
        };
        gate.run(cx, serve).await;
    }
}

impl Lifecycle for HttpxServer {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let options = ListenOptions { defer: self.defer_accept, ..ListenOptions::default() };
        let gate =
            Gate::open(cx, &self.address, &self.gate_config, options, self.gate_counters.clone())?;
        let _ = self.gate.set(gate);
        if let Some(tls) = &self.tls {
            let both = ["h2", "http/1.1"];
            let protocols = if self.shared.config.http2 { &both[..] } else { &both[1..] };
            tls.prepare(&self.shared, protocols, cx.cores())?;
            if let Some(http3) = &self.http3 {
                // At the same port, if the kernel has chosen it.
                let address = self.gate.get().map_or(&self.address, Gate::address);
                http3.prepare(cx, address, tls, self.gate_counters.clone())?;
                if let Address::Tcp(address) = address {
                    self.shared.announce(address.port(), self.alt_svc_max_age);
                }
            }
        }
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        match &self.http3 {
            None => self.run_streams(cx).await,
            Some(http3) => {
                tokio::join!(self.run_streams(cx), http3.run(cx, &self.shared));
            }
        }
    }

    fn measure(&self, out: &mut Measures) {
        self.shared.measure(out);
        if let Some(gate) = self.gate.get() {
            gate.measure(out);
        }
        if let Some(tls) = &self.tls {
            tls.counters.measure(out);
        }
        if let Some(http3) = &self.http3 {
            http3.measure(out);
        }
    }
}

impl Server for HttpxServer {
    fn active(&self) -> usize {
        self.gate.get().map_or(0, Gate::active) + self.http3.as_ref().map_or(0, Http3::active)
    }

    fn addresses(&self) -> Vec<Address> {
        self.gate.get().map(|gate| gate.address().clone()).into_iter().collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let tls = self.tls.iter().flat_map(|tls| tls.counters.named());
        self.shared.counters.named().chain(self.gate_counters.named()).chain(tls).collect()
    }
}

/// Whose certificates are shown to those who ask for a name that no webapp has, if they are to see any.
fn default_site(
    routes: &Routes,
    webapps: &[Arc<Webapp>],
    unknown: UnknownName,
) -> Option<Arc<Site>> {
    if unknown == UnknownName::Refuse {
        return None;
    }
    let default = routes.default_webapp().and_then(|webapp| webapp.site());
    default.or_else(|| webapps.iter().find_map(|webapp| webapp.site())).cloned()
}

impl Tls {
    pub(crate) fn create(config: TlsConfig, cx: &mut CreateCx<'_>) -> Self {
        let cores = cx.cores();
        let tls_key_log = config.tls_key_log.map(|path| cx.written(path));
        Self {
            config: TlsConfig { tls_key_log, ..config },
            tickets: cx.keep(Tickets::default),
            counters: cx.keep(|| TlsCounters::new(cores)),
            acceptor: OnceLock::new(),
        }
    }

    /// Makes ready to speak these protocols over TCP.
    pub(crate) fn prepare(
        &self,
        shared: &Arc<Shared>,
        protocols: &[&str],
        cores: usize,
    ) -> Result<()> {
        self.tickets.configure_by(&self.config)?;
        let acceptor = Acceptor::new(
            self.config.clone(),
            protocols,
            shared.clone(),
            self.tickets.clone(),
            self.counters.clone(),
            cores,
        )?;
        let _ = self.acceptor.set(Arc::new(acceptor.plain_answer(SPEAK_TLS)));
        Ok(())
    }
}

impl Sites for Shared {
    fn find(&self, name: Option<&str>) -> Option<Arc<Site>> {
        self.site_of(name).cloned()
    }
}

impl Shared {
    /// Of the server in a config that serves these webapps.
    pub(crate) fn create(
        names: &Spanned<Vec<Ref<WebappKind>>>,
        http: HttpConfig,
        tls: &TlsConfig,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let webapps = cx.follow_all(&names.value)?;
        let mut routes = Routes::default();
        for (webapp, name) in webapps.iter().zip(&names.value) {
            if let Some(host) = routes.add(webapp) {
                let message = format!("another webapp here has the hostname \"{host}\" too");
                return Err(Diagnostic::new(name.span(), message).into());
            }
        }
        let site = default_site(&routes, &webapps, tls.tls_unknown_name);
        if tls.tls_mode && webapps.iter().all(|webapp| webapp.site().is_none()) {
            let message = "connections are to be encrypted, but no webapp here has a certificate";
            let help =
                "add `.acme = …`, or `.tlsCertificate = …` and `.tlsPrivateKey = …`, to a webapp";
            return Err(Diagnostic::new(names.span, message).help(help).into());
        }
        let cores = cx.cores();
        let counters = cx.keep(|| HttpCounters::new(cores));
        let acmes = cx.all::<AcmeKind>().into_iter().map(|(_, acme)| acme).collect();
        Ok(Self { acmes, ..Self::new(http, routes, site, counters) })
    }

    /// Has answers over TCP say that HTTP/3 is served at this port (RFC 9114 section 3.1.1).
    fn announce(&self, port: u16, max_age: Duration) {
        let text = format!("h3=\":{port}\"; ma={}", max_age.as_secs());
        let _ = HeaderValue::try_from(text).map(|value| self.alt_svc.set(value));
    }

    /// The `alt-svc` field of answers over TCP, if they are to have one.
    pub(crate) fn alt_svc(&self) -> Option<&HeaderValue> {
        self.alt_svc.get()
    }

    /// Appends the fields that every answer has but for the date.
    fn put_server(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.server_line);
        if let Some(value) = self.alt_svc() {
            out.extend_from_slice(b"alt-svc: ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    pub(crate) fn measure(&self, out: &mut Measures) {
        let counters = &self.counters;
        out.counter("hemi_server_requests", "Requests read.", &[], counters.requests.sum());
        let errors = "Requests answered with a status from 500 on.";
        out.counter("hemi_server_errors", errors, &[], counters.errors.sum());
        let panics = "Panics of what answers requests.";
        out.counter("hemi_server_panics", panics, &[], counters.panics.sum());
        for limit in Limit::ALL {
            let (help, label) = ("Times a limit was hit.", [("limit", limit.name())]);
            let hits = counters.limit(limit).sum();
            out.counter("hemi_server_limit_hits", help, &label, hits);
        }
    }

    fn new(
        config: HttpConfig,
        routes: Routes,
        default_site: Option<Arc<Site>>,
        counters: Arc<HttpCounters>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let server_line = match &config.server_field.0 {
            Some(name) => [b"server: ", name.as_bytes(), b"\r\n"].concat(),
            None => Vec::new(),
        };
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            heads: config.head_limits(),
            config,
            counters,
            routes,
            default_site,
            acmes: Vec::new(),
            server_line,
            alt_svc: OnceLock::new(),
            jitter: RandomState::new(),
        }
    }

    /// Tells this server from others in what a core keeps for it.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The answer to a CA that looks for one in the clear (RFC 8555, 8.3), whatever host it asks for.
    pub(crate) fn answer_challenge(&self, req: &Request) -> Option<Response> {
        if self.acmes.is_empty() || req.tls().is_some() {
            return None;
        }
        let token = req.path().strip_prefix(WELL_KNOWN)?;
        let answer = self.acmes.iter().find_map(|acme| acme.answer(token))?;
        let mut response = Response::from(answer);
        let media_type = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        Some(response)
    }

    /// The webapp for the host that a request asks for.
    pub(crate) fn route(&self, req: &Request) -> Option<&Arc<Webapp>> {
        self.routes.find(|| req.hostname())
    }

    /// Whose certificates are shown to those who ask for this name.
    fn site_of(&self, name: Option<&str>) -> Option<&Arc<Site>> {
        let named = name.and_then(|name| self.routes.find_named(name)?.site());
        named.or(self.default_site.as_ref())
    }

    /// Whether a request came by a connection that is not good for its host (RFC 9110, 7.4): one that was
    /// begun for another webapp, if either asks clients for certificates, or has none for this host.
    pub(crate) fn is_misdirected(&self, req: &Request, tls: &TlsInfo) -> bool {
        let host = req.hostname();
        if tls.server_name.as_deref() == Some(host) {
            return false;
        }
        let (Some(meant), Some(shown)) = (self.site_of(Some(host)), &tls.site) else { return true };
        !Arc::ptr_eq(meant, shown)
            && (meant.asks_clients() || shown.asks_clients() || !shown.covers(host))
    }

    /// Appends the status line, and those of the fields that every answer has that `standing` names.
    pub(crate) fn put_start(
        &self,
        out: &mut BytesMut,
        status: StatusCode,
        standing: Standing,
        now: Moment,
    ) {
        if status == StatusCode::OK && standing == Standing::Both {
            return self.put_ok(out, now);
        }
        encode_status_line(out, status);
        match standing {
            Standing::Both => self.put_server(out),
            Standing::Date => {}
            Standing::None => return,
        }
        put_date(out, clock::calendar());
    }

    /// The start of most answers, made once a second on each core.
    fn put_ok(&self, out: &mut BytesMut, now: Moment) {
        thread_local! {
            static START: RefCell<Start> = RefCell::default();
        }
        START.with_borrow_mut(|start| {
            if now >= start.until || start.server != self.id {
                *start = self.make_start(now);
            }
            out.extend_from_slice(&start.bytes);
        });
    }

    fn make_start(&self, now: Moment) -> Start {
        let time = clock::calendar();
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
        let mut bytes = BytesMut::new();
        encode_status_line(&mut bytes, StatusCode::OK);
        self.put_server(&mut bytes);
        put_date(&mut bytes, time);
        Start { server: self.id, until: now.after(left), bytes }
    }

    /// How long this connection may be used: the limit, give or take a tenth, so that connections that
    /// began together do not end together.
    pub(crate) fn conn_age(&self, peer: &Peer) -> Duration {
        let spread = self.jitter.hash_one(peer) % 201;
        self.config.max_conn_age / 1000 * (900 + spread as u32)
    }
}
