//! Sessions: what a client sends from one port, and what a node answers to that.

use std::any::Any;
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use hemi_core::backend::{Pick, Target};
use hemi_core::clock::{self, Moment};
use hemi_core::config::Lookup;
use hemi_core::datagrams::{Batch, Burst, Port};
use hemi_core::deadline::Patience;
use hemi_core::quic::peek::Peek;
use tokio::sync::Notify;

use super::flow::UdpxRelay;
use super::{Counters, Home};
use crate::NetVar;
use crate::record::Closed;

/// Batches passed on in a row, before others of the core get their turn.
const TURN: usize = 8;

/// Clients of a core of which more must come, at most: further ones take the places of the first.
const WAITING: usize = 256;

/// Who has sent, and the address of this machine that it was to.
pub(super) type Client = (SocketAddr, Option<IpAddr>);

/// The sessions of a core. They outlive reloads.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sessions: HashMap<Client, Arc<Session>>,
    /// In the order in which they were begun, some that no node has answered.
    unanswered: VecDeque<Weak<Session>>,
    /// Clients of which more must come before it is known what they want, in the order in which they came.
    waiting: VecDeque<(Client, Waiting)>,
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
    node: SocketAddr,
    client: Client,
    reached: SocketAddr,
    since: Moment,
    /// Milliseconds of the moment when something has passed last.
    seen: AtomicU64,
    answered: AtomicBool,
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
        self.sessions.get(client)
    }

    /// What has come of a client before.
    pub(super) fn waiting(&mut self, client: &Client) -> Waiting {
        let place = self.waiting.iter().position(|(known, _)| known == client);
        place.and_then(|place| self.waiting.remove(place)).map(|(_, it)| it).unwrap_or_default()
    }

    /// More of it must come.
    pub(super) fn wait(&mut self, client: Client, waiting: Waiting) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((client, waiting));
    }

    /// Whether there may be one more, when there may be so many: for a new one the eldest of those ends that no
    /// node has answered.
    pub(super) fn make_room(&mut self, most: usize) -> bool {
        while self.sessions.len() >= most {
            let Some(eldest) = self.unanswered.pop_front() else { return false };
            if let Some(session) = eldest.upgrade().filter(|session| session.is_unanswered()) {
                self.remove(&session);
                session.ends.notify_one();
            }
        }
        true
    }

    pub(super) fn add(&mut self, session: Arc<Session>) {
        if self.unanswered.len() > 2 * self.sessions.len() + 64 {
            let is_one = |s: &Weak<Session>| s.upgrade().is_some_and(|s| s.is_unanswered());
            self.unanswered.retain(is_one);
        }
        self.unanswered.push_back(Arc::downgrade(&session));
        self.sessions.insert(session.client, session);
    }

    /// True if it was there.
    fn remove(&mut self, session: &Arc<Session>) -> bool {
        let same = self.find(&session.client).is_some_and(|known| Arc::ptr_eq(known, session));
        if same {
            self.sessions.remove(&session.client);
        }
        same
    }
}

impl Session {
    pub(super) fn new(port: Port, node: SocketAddr, client: Client, reached: SocketAddr) -> Self {
        let now = clock::now();
        Self {
            port,
            node,
            client,
            reached,
            since: now,
            seen: AtomicU64::new(now.millis()),
            answered: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            ends: Notify::new(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    fn is_unanswered(&self) -> bool {
        !self.answered.load(Ordering::Relaxed)
    }

    /// Passes on what the client has sent.
    pub(super) fn pass(&self, burst: &Burst<'_>, counters: &Counters) {
        self.seen.store(clock::now().millis(), Ordering::Relaxed);
        let count = burst.count();
        let passed = match self.port.send(self.node, None, burst.bytes, burst.size) {
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
            let (client, local) = self.client;
            for burst in batch.bursts() {
                count += burst.count() as u64;
                home.send(client, local, burst.bytes, burst.size);
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
        let Session { client: (client, _), reached, node, received, sent, .. } = self.session;
        match var {
            NetVar::SrcHost => text(client.ip().to_string()),
            NetVar::SrcPort => text(client.port().to_string()),
            NetVar::DstHost => text(reached.ip().to_string()),
            NetVar::DstPort => text(reached.port().to_string()),
            NetVar::Node => text(Target::Tcp(*node).to_string()),
            NetVar::BytesReceived => text(received.load(Ordering::Relaxed).to_string()),
            NetVar::BytesSent => text(sent.load(Ordering::Relaxed).to_string()),
            NetVar::Reason => self.reason.as_bytes().into(),
            _ => Cow::default(),
        }
    }
}
