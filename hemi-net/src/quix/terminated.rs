//! A router that terminates QUIC.

use std::sync::{Arc, OnceLock};

use hemi_core::clock;
use hemi_core::config::{Diagnostic, Span};
use hemi_core::gate::{GateConfig, GateCounters};
use hemi_core::listen::Address;
use hemi_core::logger::Log;
use hemi_core::metrics::Measures;
use hemi_core::quic::quinn::VarInt;
use hemi_core::quic::{QuicAccepted, QuicConfig, QuicGate, Sessions};
use hemi_core::server::Server;
use hemi_core::tls::{Site, TlsInfo};
use hemi_core::{CreateCx, Lifecycle, Prepare, Result, Run};
use tracing::debug;

use super::conn::QuixConn;
use crate::case::{Case, CaseKind};
use crate::dealet::{Deal, DynQuixDealet};
use crate::record::{Closed, Counters};
use crate::tls::{OneSite, Tls};
use crate::{NetVar, UdpxConfig};

/// The code of the application by which clients are told that no case takes their connection.
const NOBODY: VarInt = VarInt::from_u32(1);

/// Terminates QUIC.
#[derive(Debug)]
pub(super) struct Terminated {
    address: Address,
    limits: GateConfig,
    quic: QuicConfig,
    tls: Tls,
    gate_counters: Arc<GateCounters>,
    gate: OnceLock<QuicGate>,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    name: String,
    branches: Vec<Branch>,
    site: Arc<Site>,
    logs: Vec<Log<NetVar>>,
    counters: Arc<Counters>,
}

/// A case, with what it has for connections of QUIC.
struct Branch {
    case: Arc<Case>,
    dealets: Vec<Arc<dyn DynQuixDealet>>,
}

impl Terminated {
    pub(super) fn create(
        config: UdpxConfig,
        (limits, quic, tls): (GateConfig, QuicConfig, Tls),
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let (span, cores) = (config.address.span, cx.cores());
        possible(&quic, &tls, span)?;
        let address = Address::Tcp(cx.receive_on(config.address)?);
        let branch = |case: Arc<Case>| {
            if case.asks(NetVar::is_of_connections) {
                let help = "go by addresses, `$serverName` or `$nextProto`";
                return Err(case.mistake("QUIC does not tell what other connections do", help));
            }
            let dealets =
                case.dealets("connections of QUIC that are terminated", |of| of.quix.clone())?;
            Ok(Branch { case, dealets })
        };
        let shared = Shared {
            name: cx.name().to_owned(),
            branches: cx.children::<CaseKind>().into_iter().map(branch).collect::<Result<_>>()?,
            site: tls.site.clone(),
            logs: Log::<NetVar>::bind_all(cx.follow_all(&config.use_logger.0)?)?,
            counters: cx.keep(|| Counters::new(cores)),
        };
        Ok(Self {
            address,
            limits,
            quic,
            tls,
            gate_counters: cx.keep(|| GateCounters::new(cores)),
            gate: OnceLock::new(),
            shared: Arc::new(shared),
        })
    }
}

/// Whether what is configured can be had by QUIC.
fn possible(quic: &QuicConfig, tls: &Tls, span: Span) -> Result<()> {
    let mistake = |message: &str, help: &str| Err(Diagnostic::new(span, message).help(help).into());
    if tls.protocols.is_empty() {
        let message = "clients of QUIC have to agree on a protocol (RFC 9001, 8.1)";
        return mistake(message, "add `.tlsProtocols = (\"h3\")`, or whatever they speak");
    }
    if quic.quic_early_data {
        let message = "what is sent early can be replayed by others, and a router can't tell what that would do";
        return mistake(message, "leave `.quicEarlyData` out");
    }
    Ok(())
}

impl Lifecycle for Terminated {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.tls.prepare(cx.cores())?;
        let Some(acceptor) = self.tls.acceptor() else { return Ok(()) };
        let protocols: Vec<_> = self.tls.protocols.iter().map(String::as_str).collect();
        let crypto = self.quic.crypto(acceptor, &protocols, &Arc::new(Sessions::default()))?;
        let counters = self.gate_counters.clone();
        let gate = QuicGate::open(cx, &self.address, &self.limits, &self.quic, crypto, counters)?;
        let _ = self.gate.set(gate);
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        let Some(gate) = self.gate.get() else { return };
        let (shared, bound) = (self.shared.clone(), gate.address());
        let serve = move |accepted: QuicAccepted| {
            let shared = shared.clone();
            async move {
                let QuicAccepted { conn, peer, ticket } = accepted;
                let tls = TlsInfo::of_quic(&conn, &OneSite(shared.site.clone()));
                let mut conn = QuixConn::new(conn, peer, bound, tls);
                let case = ticket.until_ending(shared.deal(&mut conn)).await;
                conn.close(NOBODY);
                shared.note(&conn, case.flatten());
            }
        };
        tokio::join!(gate.run(cx, serve), self.tls.follow(cx));
    }

    fn measure(&self, out: &mut Measures) {
        if let Some(gate) = self.gate.get() {
            let address = gate.address().to_string();
            out.info("hemi_server", "Where a server listens.", &[("address", &address)]);
            gate.measure(out);
        }
        self.gate_counters.measure(out);
        self.tls.site.measure(out);
        self.shared.counters.measure(out);
    }
}

impl Server for Terminated {
    fn active(&self) -> usize {
        self.gate.get().map_or(0, QuicGate::active)
    }

    fn addresses(&self) -> Vec<Address> {
        self.gate.get().map(|gate| Address::Tcp(gate.address())).into_iter().collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.gate_counters.named().into_iter().chain(self.shared.counters.named()).collect()
    }
}

impl Shared {
    /// Has the connection be dealt with; tells which case has done it.
    async fn deal(&self, conn: &mut QuixConn) -> Option<usize> {
        for (index, branch) in self.branches.iter().enumerate() {
            if !branch.case.matches(conn) {
                continue;
            }
            for dealet in &branch.dealets {
                if dealet.deal_quix(conn).await == Deal::Done {
                    return Some(index);
                }
            }
        }
        self.counters.unmatched.add(1);
        debug!(router = self.name, peer = %conn.peer(), "no case takes the connection");
        None
    }

    /// Counts and logs a connection that is over.
    fn note(&self, conn: &QuixConn, case: Option<usize>) {
        let (received, sent) = conn.passed();
        self.counters.received.add(received);
        self.counters.sent.add(sent);
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

impl std::fmt::Debug for Branch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Branch").field("case", &self.case).finish_non_exhaustive()
    }
}
