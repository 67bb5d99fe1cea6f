//! The router `udpxRouter`: datagrams of UDP, or those to a Unix socket, to backends, or to those who answer them.
//!
//! ```gorox
//! stage {
//! 	udpxBackend "game" { node { .address = "127.0.0.1:7777" } }
//! 	udpxRouter "game" {
//! 		.address = ":3777"
//! 		.maxSessions = 5000
//! 		case "players" $srcHost != "192.0.2.66" {
//! 			udpxProxy { .toBackend = "game"  .idleTimeout = 30s }
//! 		}
//! 	}
//! }
//! ```
//!
//! What a client sends from one port is a session once a dealet passes it on: what it sends later goes to the same
//! node, and what that answers goes back. There are so many sessions, and no more: when a new one comes, the eldest of
//! those ends that no node has answered, so that senders who forge their addresses keep nobody out.
//! Whom a client of QUIC asks for is seen without a key, in its first datagrams, if a condition asks for that: sites of
//! HTTP/3 share a port by `$serverName`. Datagrams that no case takes are dropped. A reload keeps the sessions
//! there are for as long as `--grace` says.

mod backend;
pub(crate) mod flow;
mod session;

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hemi_core::config::{Ref, Several, Spanned};
use hemi_core::cores::{Counter, PerCore};
use hemi_core::datagrams::{Batch, Burst, Port, Sender};
use hemi_core::listen::{Address, Datagrams};
use hemi_core::logger::{Log, LoggerKind, Record};
use hemi_core::metrics::Measures;
use hemi_core::quic::peek::Peeked;
use hemi_core::server::Server;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run, Shut};
use hemi_proto::client_hello::ClientHello;
use hemi_proto::quic_head::QuicHead;
use hemi_proto::quic_initial::Initial;
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::warn;

pub use self::backend::{UdpxBackend, UdpxBackendKind};
use self::flow::{Of, UdpxFlow};
use self::session::{Start, Table, Waiting};
use crate::NetVar;
use crate::case::{Case, CaseKind};
use crate::dealet::{Deal, UdpxDealet};
use crate::quix::conns::{Conns, Id};

/// Datagrams that a hello of QUIC may come in, at most.
const HELLO: usize = 8;

/// Bytes of a datagram of QUIC, at least, that anybody would answer (RFC 9000, 10.3).
const SMALLEST: usize = 21;

/// Batches received in a row, before others of the core get their turn.
const TURN: usize = 8;

/// Routes datagrams of UDP.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct UdpxConfig {
    /// Where to receive: `"127.0.0.1:53"`, `":53"`, or the path of a Unix socket.
    pub address: Spanned<Address>,
    /// Sessions at once, at most; divided among the cores.
    #[serde(default = "ten_thousand")]
    pub max_sessions: NonZeroUsize,
    /// The logger that sessions are written to when they are over, or several.
    #[serde(default)]
    pub use_logger: Several<Ref<LoggerKind>>,
}

fn ten_thousand() -> NonZeroUsize {
    NonZeroUsize::new(10_000).unwrap_or(NonZeroUsize::MIN)
}

/// Routes datagrams of UDP.
pub struct UdpxRouter {
    wanted: Address,
    datagrams: OnceLock<Arc<Datagrams>>,
    accepting: Mutex<Option<Box<dyn Send>>>,
    shared: Arc<Shared>,
    tables: Arc<PerCore<Table>>,
    /// Stages that receive, or are about to.
    readers: Arc<AtomicUsize>,
    active: Arc<Active>,
}

/// A stage that receives, until this is dropped.
struct Reader(Arc<AtomicUsize>);

/// What all cores share.
struct Shared {
    name: String,
    branches: Vec<Branch>,
    /// There if sessions are connections of QUIC.
    conns: Option<Arc<Conns>>,
    /// Whether it must be known whom clients of QUIC ask for.
    peeks: bool,
    /// Sessions of a core, at most.
    most: usize,
    logs: Vec<Log<NetVar>>,
    counters: Arc<Counters>,
}

/// A case, with what it has for flows.
struct Branch {
    case: Arc<Case>,
    dealets: Vec<Arc<dyn UdpxDealet>>,
}

/// A core at work for a router.
struct Home {
    port: Port,
    address: Address,
    shared: Arc<Shared>,
    tables: Arc<PerCore<Table>>,
    active: Arc<Active>,
    /// Fires when all sessions are to end.
    close: Shut,
}

/// What is known of datagrams that are of no session.
#[derive(Default)]
struct Known {
    /// What has come before, with them, if that had to be waited for.
    early: Vec<Box<[u8]>>,
    hello: Option<Arc<ClientHello>>,
    of: Option<Of>,
}

/// The sessions of a stage.
#[derive(Debug, Default)]
struct Active {
    count: AtomicUsize,
    ended: Notify,
}

/// One of them, until this is dropped.
struct One(Arc<Active>);

/// Numbers of a router.
#[derive(Debug)]
struct Counters {
    opened: Counter,
    evicted: Counter,
    refused: Counter,
    moved: Counter,
    unmatched: Counter,
    dropped: Counter,
    received: Counter,
    sent: Counter,
    bytes_received: Counter,
    bytes_sent: Counter,
}

impl Component for UdpxRouter {
    const SIGN: &'static str = "udpxRouter";
    type Config = UdpxConfig;

    fn create(config: UdpxConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Self::of(config, None, cx)
    }
}

impl UdpxRouter {
    /// One whose sessions are connections of QUIC, if it has those.
    pub(crate) fn of(
        config: UdpxConfig,
        conns: Option<Arc<Conns>>,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let wanted = match conns {
            Some(_) => Address::Tcp(cx.receive_on(config.address)?),
            None => cx.receive_at(config.address)?,
        };
        let cores = cx.cores();
        let branch = |case: Arc<Case>| {
            if case.asks(NetVar::is_of_connections) {
                let help = "go by addresses, `$serverName`, `$nextProto` or `$protocol`";
                return Err(case.mistake("datagrams don't tell what connections do", help));
            }
            let dealets = case.dealets("datagrams", |dealet| dealet.udpx.clone())?;
            Ok(Branch { case, dealets })
        };
        let branches: Vec<_> =
            cx.children::<CaseKind>().into_iter().map(branch).collect::<Result<_>>()?;
        let peeks = |branch: &Branch| {
            branch.case.asks(NetVar::is_peeked) || branch.dealets.iter().any(|d| d.peeks_flow())
        };
        let shared = Shared {
            name: cx.name().to_owned(),
            conns,
            peeks: branches.iter().any(peeks),
            branches,
            most: config.max_sessions.get().div_ceil(cores),
            logs: Log::<NetVar>::bind_all(cx.follow_all(&config.use_logger.0)?)?,
            counters: cx.keep(|| Counters::new(cores)),
        };
        Ok(Self {
            wanted,
            datagrams: OnceLock::new(),
            accepting: Mutex::default(),
            shared: Arc::new(shared),
            tables: cx.keep(|| PerCore::new(cores, Table::default)),
            readers: cx.keep(Default::default),
            active: Arc::default(),
        })
    }
}

impl Lifecycle for UdpxRouter {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let datagrams = cx.listeners().open_datagrams(self.wanted.clone(), cx.cores())?;
        let _ = self.datagrams.set(datagrams);
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Box::new((cx.stage().accepting(), Reader::new(&self.readers))));
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        let Some(datagrams) = self.datagrams.get() else { return };
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let close = Shut::new();
        let loops: Vec<_> = (0..datagrams.count())
            .map(|core| {
                let (datagrams, close) = (datagrams.clone(), close.clone());
                let (shared, tables) = (self.shared.clone(), self.tables.clone());
                let (active, shut) = (self.active.clone(), cx.shut().clone());
                cx.cores().spawn(core, async move {
                    let address = datagrams.address().clone();
                    let port = match datagrams.port(core) {
                        Ok(port) => port,
                        Err(e) => return warn!(%address, "cannot receive: {e}"),
                    };
                    let home = Home { port, address, shared, tables, active, close };
                    tokio::select! {
                        biased;
                        () = shut.cancelled() => {}
                        () = Arc::new(home).receive() => {}
                    }
                })
            })
            .collect();
        for ended in loops {
            let _ = ended.await;
        }
        drop(accepting);
        // What follows this stage passes on what clients of its sessions send; else nobody does, and all that may still
        // come are answers.
        let followed = self.readers.load(Ordering::Acquire) > 0;
        tokio::select! {
            () = self.active.all_ended() => {}
            () = cx.stop().cancelled() => {}
            () = tokio::time::sleep(cx.linger()), if !followed => {}
        }
        close.cancel();
        self.active.all_ended().await;
    }

    fn measure(&self, out: &mut Measures) {
        if let Some(datagrams) = self.datagrams.get() {
            let address = datagrams.address().to_string();
            out.info("hemi_server", "Where a server listens.", &[("address", &address)]);
        }
        let active = "Sessions of datagrams served now.";
        out.gauge("hemi_router_sessions_active", active, &[], self.active() as u64);
        self.shared.counters.measure(out);
    }
}

impl Server for UdpxRouter {
    fn active(&self) -> usize {
        self.active.count.load(Ordering::Relaxed)
    }

    fn addresses(&self) -> Vec<Address> {
        self.datagrams.get().map(|datagrams| datagrams.address().clone()).into_iter().collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let short = |name: &'static str| name.trim_start_matches("hemi_router_");
        self.shared.counters.each().map(|(name, _, counter)| (short(name), counter.sum())).to_vec()
    }
}

impl Home {
    /// Deals with all that comes, for as long as it is not dropped.
    async fn receive(self: Arc<Self>) {
        loop {
            for _ in 0..TURN {
                let received = std::future::poll_fn(|cx| {
                    Batch::with(|batch| {
                        let received = std::task::ready!(self.port.poll_recv(cx, batch));
                        received.iter().for_each(|()| self.take(batch));
                        std::task::Poll::Ready(received)
                    })
                });
                if let Err(e) = received.await {
                    // One datagram is lost; those that follow are none the worse for it.
                    warn!(address = %self.address, "cannot receive: {e}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn take(self: &Arc<Self>, batch: &Batch) {
        let counters = &self.shared.counters;
        let mut table = self.tables.mine();
        for burst in batch.bursts() {
            counters.received.add(burst.count() as u64);
            counters.bytes_received.add(burst.bytes.len() as u64);
            if let Some(conns) = &self.shared.conns {
                self.take_conns(burst, &mut table, conns);
                continue;
            }
            let client = (burst.from.clone(), burst.to);
            match table.find(&client) {
                Some(session) => session.pass(&burst, counters),
                None if self.shared.peeks => {
                    let start = (client, None);
                    let waiting = table.waiting(&start).unwrap_or_default();
                    self.peek(burst, &mut table, start, waiting);
                }
                None => self.deal(burst, &mut table, Known::default()),
            }
        }
    }

    /// The same for what is of connections of QUIC, or will be.
    fn take_conns(self: &Arc<Self>, mut burst: Burst<'_>, table: &mut Table, conns: &Arc<Conns>) {
        let client = (burst.from.clone(), burst.to);
        while let Some(first) = burst.datagrams().next().filter(|first| !first.is_empty()) {
            let Some(session) = table.find_conn(&client, first, conns) else {
                let (one, others) = burst.split_at(1);
                self.begin_conn(one, table, conns);
                burst = others;
                continue;
            };
            let is_of = |datagram: &&[u8]| {
                table.find_conn(&client, datagram, conns).is_some_and(|of| Arc::ptr_eq(of, session))
            };
            let count = burst.datagrams().take_while(is_of).count();
            let (of, others) = burst.split_at(count);
            session.pass(&of, &self.shared.counters);
            burst = others;
        }
    }

    /// Deals with a datagram that is of no session of its core.
    fn begin_conn(self: &Arc<Self>, one: Burst<'_>, table: &mut Table, conns: &Arc<Conns>) {
        let Some(head) = QuicHead::read(one.bytes).filter(|_| one.bytes.len() >= SMALLEST) else {
            return self.shared.counters.unmatched.add(1);
        };
        if let Some(conn) = conns.find(&head) {
            let known =
                Known { hello: conn.hello.clone(), of: Some(Of::Known(conn)), ..Known::default() };
            return self.deal(one, table, known);
        }
        let first = Id::new(head.to());
        if matches!(head, QuicHead::Long { .. }) && self.shared.peeks {
            let start = ((one.from.clone(), one.to), Some(first));
            let waiting = table.waiting(&start);
            if waiting.is_some() || Initial::take(&mut { one.bytes }).is_some() {
                return self.peek(one, table, start, waiting.unwrap_or_default());
            }
        }
        self.deal(one, table, Known { of: Some(Of::New(first)), ..Known::default() });
    }

    /// Has a flow be dealt with once it is known whom it asks for, if it is one of QUIC.
    fn peek(
        self: &Arc<Self>,
        burst: Burst<'_>,
        table: &mut Table,
        start: Start,
        mut waiting: Waiting,
    ) {
        let mut seen = if waiting.datagrams.is_empty() { Peeked::Nothing } else { Peeked::More };
        for datagram in burst.datagrams() {
            waiting.datagrams.push(datagram.into());
            seen = match (seen, waiting.peek.see(datagram)) {
                (Peeked::Hello(hello), _) => Peeked::Hello(hello),
                // What is sent early may come between the parts.
                (Peeked::More, Peeked::Nothing) => Peeked::More,
                (_, new) => new,
            };
        }
        match seen {
            Peeked::More if waiting.datagrams.len() < HELLO => table.wait(start, waiting),
            seen => {
                let hello = match seen {
                    Peeked::Hello(hello) => Some(Arc::new(hello)),
                    Peeked::More | Peeked::Nothing => None,
                };
                let known = Known { early: waiting.datagrams, hello, of: start.1.map(Of::New) };
                self.deal(burst, table, known);
            }
        }
    }

    /// Has a flow that is of no session be dealt with.
    fn deal(
        self: &Arc<Self>,
        burst: Burst<'_>,
        table: &mut Table,
        Known { early, hello, of }: Known,
    ) {
        let (held, reason) = (Vec::new(), "unmatched");
        let mut flow =
            UdpxFlow { burst, home: self, table, early, hello, of, case: 0, held, reason };
        for (index, branch) in self.shared.branches.iter().enumerate() {
            flow.case = index;
            if !branch.case.matches(&flow) {
                continue;
            }
            for dealet in &branch.dealets {
                if dealet.deal_flow(&mut flow) == Deal::Done {
                    // That is what dealets say who do nothing more with it.
                    if matches!(flow.reason, "denied" | "limited" | "unreachable") {
                        self.shared.counters.dropped.add(flow.burst.count() as u64);
                    }
                    return;
                }
            }
        }
        self.shared.counters.unmatched.add(flow.burst.count() as u64);
    }

    /// Sends datagrams of a size to a client.
    fn send(&self, client: &Sender, local: Option<IpAddr>, bytes: &[u8], size: usize) -> usize {
        let counters = &self.shared.counters;
        let count = bytes.len().div_ceil(size.max(1)).max(1);
        let sent = self.port.answer(client, local, bytes, size).unwrap_or(0);
        counters.sent.add(sent as u64);
        counters.bytes_sent.add(bytes.len().min(sent.saturating_mul(size)) as u64);
        if sent < count {
            counters.dropped.add((count - sent) as u64);
        }
        sent
    }

    fn answer(&self, client: &Sender, local: Option<IpAddr>, bytes: &[u8], size: usize) -> bool {
        self.send(client, local, bytes, size) > 0
    }

    fn enter(&self) -> One {
        self.active.count.fetch_add(1, Ordering::AcqRel);
        One(self.active.clone())
    }
}

impl Reader {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::AcqRel);
        Self(all.clone())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_waiters();
    }
}

impl Active {
    async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Shared {
    /// Has what is over be logged, if it is to be.
    fn note(&self, case: usize, log: impl FnOnce(&str, &str)) {
        let Some(Branch { case, .. }) = self.branches.get(case) else { return };
        if !self.logs.is_empty() && case.is_logged() {
            log(&self.name, case.name());
        }
    }

    fn log(&self, record: &impl Record<NetVar>) {
        self.logs.iter().for_each(|log| log.log(record));
    }
}

impl Counters {
    fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        Self {
            opened: counter(),
            evicted: counter(),
            refused: counter(),
            moved: counter(),
            unmatched: counter(),
            dropped: counter(),
            received: counter(),
            sent: counter(),
            bytes_received: counter(),
            bytes_sent: counter(),
        }
    }

    /// Each with its name and what it is.
    fn each(&self) -> [(&'static str, &'static str, &Counter); 10] {
        [
            ("hemi_router_sessions_opened", "Sessions begun.", &self.opened),
            (
                "hemi_router_sessions_evicted",
                "Sessions ended for new ones, unanswered.",
                &self.evicted,
            ),
            ("hemi_router_sessions_refused", "Sessions not begun, for maxSessions.", &self.refused),
            (
                "hemi_router_sessions_moved",
                "Sessions begun by clients of QUIC that came by another way.",
                &self.moved,
            ),
            ("hemi_router_datagrams_unmatched", "Datagrams that no case took.", &self.unmatched),
            ("hemi_router_datagrams_dropped", "Datagrams not passed on.", &self.dropped),
            ("hemi_router_datagrams_received", "Datagrams that clients sent.", &self.received),
            ("hemi_router_datagrams_sent", "Datagrams sent to clients.", &self.sent),
            (
                "hemi_router_datagram_bytes_received",
                "Bytes of datagrams that clients sent.",
                &self.bytes_received,
            ),
            (
                "hemi_router_datagram_bytes_sent",
                "Bytes of datagrams sent to clients.",
                &self.bytes_sent,
            ),
        ]
    }

    fn measure(&self, out: &mut Measures) {
        for (name, help, counter) in self.each() {
            out.counter(name, help, &[], counter.sum());
        }
    }
}

impl std::fmt::Debug for UdpxRouter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpxRouter").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}
