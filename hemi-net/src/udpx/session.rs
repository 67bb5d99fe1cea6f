//! Sessions: what a client sends from one port, and what a node answers to that.

use std::any::Any;
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use hemi_core::backend::{Pick, Target};
use hemi_core::clock::{self, Moment};
use hemi_core::config::Lookup;
use hemi_core::datagrams::{Batch, Burst, Port, Sender};
use hemi_core::deadline::Patience;
use hemi_core::quic::peek::Peek;
use hemi_proto::quic_head::QuicHead;
use tokio::sync::Notify;

use super::flow::UdpxRelay;
use super::{Counters, Home};
use crate::NetVar;
use crate::quix::conns::{Conn, Conns, Id};
use crate::record::Closed;

/// Batches passed on in a row, before others of the core get their turn.
const TURN: usize = 8;

/// Clients of a core of which more must come, at most: further ones take the places of the first.
const WAITING: usize = 256;

/// Ids of a client that are noted, at most.
const NOTED: usize = 8;

/// Connections of QUIC that may come from one port at once, at most: for a new one the eldest of them ends.
const OF_CLIENT: usize = 256;

/// Who has sent, and the address of this machine that it was to.
pub(super) type Client = (Sender, Option<IpAddr>);

/// The sessions of a core. They outlive reloads for as long as a stage may drain.
#[derive(Debug, Default)]
pub(crate) struct Table {
    flows: HashMap<Client, Flow>,
    /// How many sessions there are.
    count: usize,
    /// In the order in which they were begun, some that no node has answered.
    unanswered: VecDeque<Weak<Session>>,
    /// Clients of which more must come before it is known what they want, in the order in which they came.
    waiting: VecDeque<(Start, Waiting)>,
}

/// What a client begins with from one port: of QUIC it may be several connections, by their ids.
pub(super) type Start = (Client, Option<Id>);

/// What comes of a client from one port.
#[derive(Debug)]
struct Flow {
    latest: Arc<Session>,
    /// Those that have begun before, if each is a connection of QUIC.
    others: Vec<Arc<Session>>,
}

/// What has come of a client.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) peek: Peek,
    pub(super) datagrams: Vec<Box<[u8]>>,
}

/// A client, and the node that it was given.
#[derive(Debug)]
pub(super) struct Session {
    /// Connected to the node.
    port: Port,
    node: Target,
    client: Client,
    reached: Option<SocketAddr>,
    /// The connection that it is a way of, if that is one of QUIC.
    conn: Option<Arc<Conn>>,
    /// Ids that its client has used, and that its node has not told.
    noted: Mutex<VecDeque<Id>>,
    since: Moment,
    /// Milliseconds of the moment when something has passed last.
    seen: AtomicU64,
    answered: AtomicBool,
    /// Whether the client has shown that it has seen an answer.
    shown: AtomicBool,
    /// Whether nobody listens at the node.
    refused: AtomicBool,
    /// Told when it is to end before its time.
    ends: Notify,
    received: AtomicU64,
    sent: AtomicU64,
}

/// What a session has besides.
pub(super) struct Passing {
    pub(super) pick: Pick,
    pub(super) how: UdpxRelay,
    pub(super) held: Vec<Box<dyn Any + Send + Sync>>,
    /// The case that it is for.
    pub(super) case: usize,
}

impl Table {
    pub(super) fn find(&self, client: &Client) -> Option<&Arc<Session>> {
        self.flows.get(client).map(|flow| &flow.latest)
    }

    /// The session that a datagram is of, where each is a connection of QUIC.
    pub(super) fn find_conn(
        &self,
        client: &Client,
        datagram: &[u8],
        conns: &Conns,
    ) -> Option<&Arc<Session>> {
        let Flow { latest, others } = self.flows.get(client)?;
        let (head, all) = (QuicHead::read(datagram)?, || [latest].into_iter().chain(others));
        if let Some(session) = all().find(|session| session.is_for(&head)) {
            return Some(session);
        }
        let QuicHead::Short { to } = head else { return None };
        // An id that was not seen before: of the node whose ids are like it, or else of the connection that came last.
        let session = match conns.find(&head) {
            Some(known) => all().find(|session| session.is_with(known.node))?,
            None => latest,
        };
        session.note(to);
        Some(session)
    }

    /// What has come of a client before.
    pub(super) fn waiting(&mut self, start: &Start) -> Option<Waiting> {
        let place = self.waiting.iter().position(|(known, _)| known == start);
        place.and_then(|place| self.waiting.remove(place)).map(|(_, it)| it)
    }

    /// More of it must come.
    pub(super) fn wait(&mut self, start: Start, waiting: Waiting) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((start, waiting));
    }

    /// Whether there may be one more, when there may be so many: for a new one the eldest of those ends that no
    /// node has answered.
    pub(super) fn make_room(&mut self, most: usize) -> bool {
        while self.count >= most {
            let Some(eldest) = self.unanswered.pop_front() else { return false };
            if let Some(session) = eldest.upgrade().filter(|session| session.is_unanswered()) {
                self.evict(&session);
            }
        }
        true
    }

    pub(super) fn add(&mut self, session: Arc<Session>) {
        if self.unanswered.len() > 2 * self.count + 64 {
            let is_one = |s: &Weak<Session>| s.upgrade().is_some_and(|s| s.is_unanswered());
            self.unanswered.retain(is_one);
        }
        self.unanswered.push_back(Arc::downgrade(&session));
        self.count += 1;
        let eldest = match self.flows.entry(session.client.clone()) {
            Entry::Vacant(place) => {
                place.insert(Flow { latest: session, others: Vec::new() });
                None
            }
            Entry::Occupied(place) => {
                let flow = place.into_mut();
                flow.others.push(std::mem::replace(&mut flow.latest, session));
                let unanswered = || flow.others.iter().find(|other| other.is_unanswered());
                let eldest =
                    flow.others.get(OF_CLIENT).and_then(|_| unanswered().or(flow.others.first()));
                eldest.cloned()
            }
        };
        if let Some(eldest) = eldest {
            self.evict(&eldest);
        }
    }

    fn evict(&mut self, session: &Arc<Session>) {
        self.remove(session);
        session.ends.notify_one();
    }

    /// True if it was there.
    fn remove(&mut self, session: &Arc<Session>) -> bool {
        let Entry::Occupied(mut place) = self.flows.entry(session.client.clone()) else {
            return false;
        };
        let Flow { latest, others } = place.get_mut();
        if !Arc::ptr_eq(latest, session) {
            let at = others.iter().position(|other| Arc::ptr_eq(other, session));
            let Some(at) = at else { return false };
            others.remove(at);
        } else if let Some(before) = others.pop() {
            *latest = before;
        } else {
            place.remove();
        }
        self.count -= 1;
        true
    }
}

impl Session {
    pub(super) fn new(
        (port, node): (Port, Target),
        client: Client,
        reached: Option<SocketAddr>,
        conn: Option<Arc<Conn>>,
    ) -> Self {
        let now = clock::now();
        Self {
            port,
            node,
            client,
            reached,
            conn,
            noted: Mutex::default(),
            since: now,
            seen: AtomicU64::new(now.millis()),
            answered: AtomicBool::new(false),
            shown: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            ends: Notify::new(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// Whether no node has answered, or nobody, as far as one can tell: to a forged address a node of QUIC answers, too.
    fn is_unanswered(&self) -> bool {
        let seen = if self.conn.is_some() { &self.shown } else { &self.answered };
        !seen.load(Ordering::Relaxed)
    }

    /// Whether a packet is for the connection of QUIC that it is a way of.
    fn is_for(&self, head: &QuicHead<'_>) -> bool {
        self.conn.as_ref().is_some_and(|conn| conn.knows(head))
            || self.noted().iter().any(|id| id.is_of(head))
    }

    fn is_with(&self, node: u64) -> bool {
        self.conn.as_ref().is_some_and(|conn| conn.node == node)
    }

    /// Notes the id that such a packet is to, which has as many bytes as others of its node.
    fn note(&self, to: &[u8]) {
        let len = self.conn.as_ref().and_then(|conn| conn.id_len());
        if let Some(id) = len.and_then(|len| to.get(..len)) {
            let mut noted = self.noted();
            if noted.len() >= NOTED {
                noted.pop_front();
            }
            noted.push_back(Id::new(id));
        }
    }

    fn noted(&self) -> MutexGuard<'_, VecDeque<Id>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether what a client of QUIC has sent shows that it has seen what the node has sent.
    fn look(&self, conn: &Conn, datagrams: &Burst<'_>) {
        let waits = !self.shown.load(Ordering::Relaxed) && self.answered.load(Ordering::Relaxed);
        let mut heads = datagrams.datagrams().filter_map(QuicHead::read);
        if waits && heads.any(|head| conn.is_chosen(&head)) {
            self.shown.store(true, Ordering::Relaxed);
        }
    }

    /// Passes on what the client has sent.
    pub(super) fn pass(&self, burst: &Burst<'_>, counters: &Counters) {
        self.seen.store(clock::now().millis(), Ordering::Relaxed);
        if let Some(conn) = &self.conn {
            self.look(conn, burst);
        }
        let count = burst.count();
        let passed = match self.port.pass(&self.node, burst.bytes, burst.size) {
            Ok(passed) => passed,
            Err(e) => {
                if e.kind() == io::ErrorKind::ConnectionRefused {
                    self.refused.store(true, Ordering::Relaxed);
                    self.ends.notify_one();
                }
                0
            }
        };
        // Those that did not fit are the last ones.
        self.received.fetch_add(burst.bytes.len() as u64, Ordering::Relaxed);
        if passed < count {
            counters.dropped.add((count - passed) as u64);
        }
    }

    /// Passes on what the node answers, until the session is over.
    pub(super) async fn serve(self: Arc<Self>, home: Arc<Home>, passing: Passing) {
        let active = home.enter();
        let Passing { pick, how, held, case } = passing;
        let reason = tokio::select! {
            biased;
            reason = self.answers(&home, &pick, &how) => reason,
            () = self.ends.notified() => match self.refused.load(Ordering::Relaxed) {
                true => "refused",
                false => "evicted",
            },
            () = home.close.cancelled() => "stopped",
        };
        if reason == "refused" {
            how.backend.nodes().failed(&pick);
        }
        let was_there = home.tables.mine().remove(&self);
        if !was_there {
            home.shared.counters.evicted.add(1);
        }
        home.shared.note(case, |router, case| {
            let closed = Ended { session: &self, reason };
            let at = clock::calendar();
            let since = self.since;
            home.shared.log(&Closed { of: &closed, since, router, case, at });
        });
        drop((held, active));
    }

    async fn answers(&self, home: &Home, pick: &Pick, how: &UdpxRelay) -> &'static str {
        let mut patience = Patience::default();
        let mut answers = 0;
        poll_fn(|cx| {
            for _ in 0..TURN {
                match self.poll_answers(cx, home) {
                    Poll::Ready(Ok(count)) => {
                        if answers == 0 {
                            self.answered.store(true, Ordering::Relaxed);
                            pick.answered(clock::now().since(self.since));
                        }
                        answers += count;
                        if how.answers > 0 && answers >= how.answers {
                            return Poll::Ready("done");
                        }
                    }
                    Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => {
                        return Poll::Ready("refused");
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready("broken"),
                    Poll::Pending => {
                        let seen = Moment::from_millis(self.seen.load(Ordering::Relaxed));
                        let quiet = clock::now().since(seen);
                        patience.renew();
                        let over = quiet >= how.idle || patience.is_over(cx, how.idle - quiet);
                        // Both have had their say.
                        let reason = if answers > 0 { "done" } else { "timeout" };
                        return if over { Poll::Ready(reason) } else { Poll::Pending };
                    }
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// Passes on what has come from the node, and tells how many datagrams.
    fn poll_answers(&self, cx: &mut Context<'_>, home: &Home) -> Poll<io::Result<u64>> {
        Batch::with(|batch| {
            std::task::ready!(self.port.poll_recv(cx, batch))?;
            let mut count = 0;
            let (client, local) = &self.client;
            for burst in batch.bursts() {
                count += burst.count() as u64;
                if let Some(conn) = &self.conn {
                    burst.datagrams().filter_map(QuicHead::read).for_each(|head| conn.learn(&head));
                }
                home.send(client, *local, burst.bytes, burst.size);
                self.sent.fetch_add(burst.bytes.len() as u64, Ordering::Relaxed);
            }
            self.seen.store(clock::now().millis(), Ordering::Relaxed);
            Poll::Ready(Ok(count))
        })
    }
}

/// A session that is over.
struct Ended<'a> {
    session: &'a Session,
    reason: &'static str,
}

impl Lookup<NetVar> for Ended<'_> {
    fn lookup<'a>(&'a self, var: &'a NetVar) -> Cow<'a, [u8]> {
        let text = |text: String| Cow::Owned(text.into_bytes());
        let client = self.session.client.0.udp();
        let Session { reached, node, received, sent, conn, .. } = self.session;
        let hello = conn.as_ref().and_then(|conn| conn.hello.as_deref());
        match var {
            NetVar::SrcHost => client.map(|at| text(at.ip().to_string())).unwrap_or_default(),
            NetVar::SrcPort => client.map(|at| text(at.port().to_string())).unwrap_or_default(),
            NetVar::DstHost => reached.map(|at| text(at.ip().to_string())).unwrap_or_default(),
            NetVar::DstPort => reached.map(|at| text(at.port().to_string())).unwrap_or_default(),
            NetVar::ServerName => hello
                .and_then(|hello| hello.server_name.as_deref())
                .unwrap_or_default()
                .as_bytes()
                .into(),
            NetVar::NextProto => hello.map(|hello| &*hello.protocols).unwrap_or_default().into(),
            NetVar::Protocol if conn.is_some() => b"quic"[..].into(),
            NetVar::Node => text(node.to_string()),
            NetVar::BytesReceived => text(received.load(Ordering::Relaxed).to_string()),
            NetVar::BytesSent => text(sent.load(Ordering::Relaxed).to_string()),
            NetVar::Reason => self.reason.as_bytes().into(),
            _ => Cow::default(),
        }
    }
}
