//! The router `tcpxRouter`: TCP connections, those of TLS and of Unix sockets too, to backends.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "shop" { node { .address = "127.0.0.1:7443" } }
//! 	tcpxBackend "ssh" { node { .address = "127.0.0.1:22" } }
//! 	tcpxRouter "front" {
//! 		.address = ":3443"
//! 		case "shop" $serverName == "shop.test" { tcpxProxy { .toBackend = "shop" } }
//! 		case "ssh" $protocol == "ssh" { tcpxProxy { .toBackend = "ssh"  .idleTimeout = 1h } }
//! 	}
//! }
//! ```
//!
//! The first bytes of a connection are looked at if a condition asks for what they tell, and sent on like
//! all others: of TLS that needs no key. With `tlsMode` TLS is terminated here, and what goes on is in the clear.
//! A connection that no case takes is closed.

pub(crate) mod conn;
pub(crate) mod mysql;
pub(crate) mod opening;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::clock;
use hemi_core::config::{Ref, Several, Spanned};
use hemi_core::gate::{Accepted, Gate, GateConfig, GateCounters};
use hemi_core::io::Socket;
use hemi_core::listen::{Address, ListenOptions};
use hemi_core::logger::{Log, LoggerKind};
use hemi_core::metrics::Measures;
use hemi_core::server::Server;
use hemi_core::tls::{Acceptor, Link, SiteConfig, TlsConfig};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use serde::Deserialize;
use tracing::debug;

use self::conn::TcpxConn;
use self::opening::{Opened, Opening, open, open_secret};
use crate::NetVar;
use crate::case::{Case, CaseKind};
use crate::dealet::{Deal, DynDealet};
use crate::record::{Closed, Counters};
use crate::tls::Tls;

/// Routes TCP connections.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct TcpxConfig {
    /// Where to listen: `"127.0.0.1:443"`, `":443"`, or the path of a Unix socket.
    pub address: Spanned<Address>,
    /// How long the client's first bytes are waited for, where a condition asks for what they tell.
    #[serde(default = "three_seconds")]
    pub peek_timeout: Duration,
    /// How long the kernel holds a connection back until its first bytes are there; 0s hands over
    /// every connection at once, as protocols need in which the server speaks first. Applies when the
    /// address is first bound: a reload does not change it.
    #[serde(default)]
    pub defer_accept: Duration,
    /// After how long a silence clients are asked whether they are still there, by TCP itself; 0s for never.
    /// Applies when the address is first bound, too.
    #[serde(default)]
    pub keep_alive: Duration,
    /// Whether connections come here that were meant for other addresses, by rules of the firewall: `"redirect"`
    /// (or `DNAT`), or `"tproxy"`, which takes the privilege `CAP_NET_ADMIN` and applies when the address is
    /// first bound. Then `$dstHost` and `$dstPort` are where they were meant to go.
    #[serde(default)]
    pub transparent: Transparent,
    /// The protocols that clients of TLS may choose from (RFC 7301), most liked first, with `tlsMode`.
    #[serde(default)]
    pub tls_protocols: Vec<String>,
    /// The logger that connections are written to when they are over, or several.
    #[serde(default)]
    pub use_logger: Several<Ref<LoggerKind>>,
}

/// How connections come that were meant for other addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub enum Transparent {
    /// There are none.
    #[default]
    No,
    /// Their destination was changed to this router (`REDIRECT`, `DNAT`).
    Redirect,
    /// They are given to this router as they are (`TPROXY`).
    Tproxy,
}

fn three_seconds() -> Duration {
    Duration::from_secs(3)
}

/// Routes TCP connections.
#[derive(Debug)]
pub struct TcpxRouter {
    address: Address,
    options: ListenOptions,
    gate_config: GateConfig,
    gate_counters: Arc<GateCounters>,
    gate: OnceLock<Gate>,
    shared: Arc<Shared>,
    tls: Option<Tls>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    name: String,
    branches: Vec<Branch>,
    opening: Opening,
    peek_timeout: Duration,
    transparent: Transparent,
    /// Where it listens.
    bound: OnceLock<Address>,
    logs: Vec<Log<NetVar>>,
    counters: Arc<Counters>,
}

/// A case, with what it has for connections.
struct Branch {
    case: Arc<Case>,
    dealets: Vec<Arc<dyn DynDealet>>,
    /// Whether it needs the first bytes.
    peeks: bool,
}

impl Component for TcpxRouter {
    const SIGN: &'static str = "tcpxRouter";
    type Config = (TcpxConfig, GateConfig, TlsConfig, SiteConfig);

    fn create((config, gate, tls, site): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (place, cores) = (config.address.span, cx.cores());
        let address = cx.listen_on(config.address)?;
        let tls = Tls::create(tls, site, config.tls_protocols, place, cx)?;
        let cases = cx.children::<CaseKind>();
        // Where TLS is terminated the handshake has told who is asked for.
        let told = |var: &NetVar| tls.is_some() && *var != NetVar::Protocol;
        let peeked = |var: &NetVar| var.is_peeked() && !told(var);
        let branch = |case: Arc<Case>| {
            let dealets = case.dealets("connections", |dealet| dealet.tcpx.clone())?;
            let peeks = case.asks(peeked) || dealets.iter().any(|dealet| dealet.peeks());
            Ok(Branch { case, dealets, peeks })
        };
        let branches: Vec<_> = cases.into_iter().map(branch).collect::<Result<_>>()?;
        let opening = opening_of(&branches)?;
        let tls = tls.map(|tls| speaking(tls, &opening));
        let shared = Shared {
            name: cx.name().to_owned(),
            branches,
            opening,
            peek_timeout: config.peek_timeout,
            transparent: config.transparent,
            bound: OnceLock::new(),
            logs: Log::<NetVar>::bind_all(cx.follow_all(&config.use_logger.0)?)?,
            counters: cx.keep(|| Counters::new(cores)),
        };
        Ok(Self {
            address,
            options: ListenOptions {
                defer: config.defer_accept,
                keep_alive: config.keep_alive,
                transparent: config.transparent == Transparent::Tproxy,
                ..ListenOptions::default()
            },
            gate_config: gate,
            gate_counters: cx.keep(|| GateCounters::new(cores)),
            gate: OnceLock::new(),
            shared: Arc::new(shared),
            tls,
        })
    }
}

impl Lifecycle for TcpxRouter {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let (options, counters) = (self.options.clone(), self.gate_counters.clone());
        let gate = Gate::open(cx, &self.address, &self.gate_config, options, counters)?;
        let _ = self.shared.bound.set(gate.address().clone());
        let _ = self.gate.set(gate);
        self.tls.as_ref().map_or(Ok(()), |tls| tls.prepare(cx.cores()))
    }

    async fn run(&self, cx: &Run) {
        let Some(gate) = self.gate.get() else { return };
        let shared = self.shared.clone();
        let acceptor = self.tls.as_ref().and_then(|tls| tls.acceptor().cloned());
        if shared.opening != Opening::AsIs {
            let serve = move |accepted| serve_opened(shared.clone(), acceptor.clone(), accepted);
            tokio::join!(gate.run(cx, serve), self.follow(cx));
            return;
        }
        let Some(acceptor) = acceptor else {
            return gate.run(cx, move |accepted| serve(shared.clone(), accepted)).await;
        };
        let serve = move |accepted| serve_tls(shared.clone(), acceptor.clone(), accepted);
        tokio::join!(gate.run(cx, serve), self.follow(cx));
    }

    fn measure(&self, out: &mut Measures) {
        if let Some(gate) = self.gate.get() {
            gate.measure(out);
        }
        if let Some(tls) = &self.tls {
            tls.counters.measure(out);
            tls.site.measure(out);
        }
        self.shared.counters.measure(out);
    }
}

/// What is offered by TLS for what connections are of: clients of PostgreSQL that speak TLS at once insist on its name.
fn speaking(mut tls: Tls, opening: &Opening) -> Tls {
    if *opening == Opening::Pgsql && tls.protocols.is_empty() {
        tls.protocols.push("postgresql".to_owned());
    }
    tls
}

/// How connections begin, by those who deal with them.
fn opening_of(branches: &[Branch]) -> Result<Opening> {
    let mut found = Opening::AsIs;
    for branch in branches {
        for opening in branch.dealets.iter().map(|dealet| dealet.opening()) {
            if opening == Opening::AsIs {
                continue;
            }
            if found == Opening::AsIs {
                found = opening;
            } else if std::mem::discriminant(&found) != std::mem::discriminant(&opening) {
                let message = "connections of a router all begin in the same way";
                return Err(branch.case.mistake(message, "add another router for this protocol"));
            }
        }
    }
    Ok(found)
}

impl std::fmt::Debug for Branch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Branch").field("case", &self.case).finish_non_exhaustive()
    }
}

impl Server for TcpxRouter {
    fn active(&self) -> usize {
        self.gate.get().map_or(0, Gate::active)
    }

    fn addresses(&self) -> Vec<Address> {
        self.gate.get().map(|gate| gate.address().clone()).into_iter().collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let tls = self.tls.iter().flat_map(|tls| tls.counters.named());
        self.gate_counters
            .named()
            .into_iter()
            .chain(self.shared.counters.named())
            .chain(tls)
            .collect()
    }
}

impl TcpxRouter {
    /// Follows the files of certificates.
    async fn follow(&self, cx: &Run) {
        if let Some(tls) = &self.tls {
            tls.follow(cx).await;
        }
    }
}

async fn serve(shared: Arc<Shared>, accepted: Accepted) {
    let Accepted { socket, peer, reached, ticket } = accepted;
    let diverted = shared.diverted(&socket, reached);
    let mut conn = TcpxConn::new(Link::Plain(socket), peer, diverted);
    let case = match ticket.until_ending(shared.deal(&mut conn)).await {
        Some(case) => case,
        None => {
            conn.end_as("stopped");
            conn.reset();
            None
        }
    };
    shared.note(&conn, case);
}

async fn serve_tls(shared: Arc<Shared>, acceptor: Arc<Acceptor>, accepted: Accepted) {
    let Accepted { socket, peer, reached, ticket } = accepted;
    let (local, diverted) = (socket.local_addr(), shared.diverted(&socket, reached));
    let Some(stream) = acceptor.accept(socket, &peer, &ticket).await else { return };
    let mut conn = TcpxConn::new(Link::Tls(Box::new(stream)), peer, diverted);
    conn.note_local(local);
    let case = ticket.until_ending(shared.deal(&mut conn)).await.flatten();
    shared.note(&conn, case);
}

/// The same for connections that begin in a way of their own.
async fn serve_opened(shared: Arc<Shared>, tls: Option<Arc<Acceptor>>, accepted: Accepted) {
    let Accepted { socket, peer, reached, ticket } = accepted;
    let (local, diverted) = (socket.local_addr(), shared.diverted(&socket, reached));
    let (mut link, mut early, limit) = (Link::Plain(socket), BytesMut::new(), shared.peek_timeout);
    let opening = open(&shared.opening, &mut link, &mut early, tls.is_some(), limit);
    let mut opened = ticket.until_ending(opening).await.flatten();
    if let (Some(Opened::Tls), Some(acceptor)) = (&opened, &tls) {
        let Link::Plain(mut socket) = link else { return };
        socket.unread(std::mem::take(&mut early));
        let Some(stream) = acceptor.accept(socket, &peer, &ticket).await else { return };
        link = Link::Tls(Box::new(stream));
        let opening = open_secret(&shared.opening, &mut link, &mut early, limit);
        opened = ticket.until_ending(opening).await.flatten();
    }
    // Who does not begin, or for TLS once more, is no client.
    let Some(Opened::Going(begun)) = opened else { return };
    let mut conn = TcpxConn::new(link, peer, diverted);
    conn.note_local(local);
    conn.begin(begun, early);
    let case = ticket.until_ending(shared.deal(&mut conn)).await.flatten();
    shared.note(&conn, case);
}

impl Shared {
    /// Where a connection was meant to go, if that is elsewhere, and a proxy in front or the firewall tells.
    fn diverted(&self, socket: &Socket, told: Option<SocketAddr>) -> Option<SocketAddr> {
        let by_firewall = || match self.transparent {
            Transparent::No => None,
            Transparent::Redirect => socket.original_dst(),
            Transparent::Tproxy => socket.local_addr(),
        };
        told.or_else(by_firewall).filter(|at| !self.is_own(*at))
    }

    /// Whether what connects there comes here.
    fn is_own(&self, at: SocketAddr) -> bool {
        let own = match self.bound.get() {
            Some(Address::Tcp(own)) => *own,
            _ => return false,
        };
        own.port() == at.port() && (own.ip().is_unspecified() || own.ip() == at.ip())
    }

    /// Has the connection be dealt with; tells which case has done it.
    async fn deal(&self, conn: &mut TcpxConn) -> Option<usize> {
        for (index, branch) in self.branches.iter().enumerate() {
            if branch.peeks {
                conn.peek(self.peek_timeout).await;
            }
            if !branch.case.matches(conn) {
                continue;
            }
            for dealet in &branch.dealets {
                let now = dealet.deal_now(conn);
                let deal = match now {
                    Some(deal) => deal,
                    None => dealet.deal(conn).await,
                };
                if deal == Deal::Done {
                    return Some(index);
                }
            }
        }
        self.counters.unmatched.add(1);
        debug!(router = self.name, peer = %conn.peer(), "no case takes the connection");
        None
    }

    /// Counts and logs a connection that is over.
    fn note(&self, conn: &TcpxConn, case: Option<usize>) {
        self.counters.received.add(conn.passed.there);
        self.counters.sent.add(conn.passed.back);
        let case = case.and_then(|index| Some(&self.branches.get(index)?.case));
        if self.logs.is_empty() || case.is_some_and(|case| !case.is_logged()) {
            return;
        }
        let case = case.map_or("", |case| case.name());
        let at = clock::calendar();
        let closed = Closed { of: conn, since: conn.since(), router: &self.name, case, at };
        for log in &self.logs {
            log.log(&closed);
        }
    }
}
