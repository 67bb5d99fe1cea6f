//! Accepting connections: a loop per core and socket that outlives every error, with limits on how many
//! connections there are, and a drain that loses none.

mod proxied;

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, warn};

use crate::clock::{self, Moment};
use crate::config::ConfigType;
use crate::cores::{Cores, Counter};
use crate::deadline::{self, Deadline, Group};
use crate::io::Socket;
use crate::listen::{Address, ListenOptions, Listening, Peer};
use crate::metrics::Measures;
use crate::stage::Run;
use crate::sys::watch_readable;
use crate::{Explain, Prepare, Result};

pub use proxied::Proxies;

/// How long the loop rests when the system is out of descriptors or memory: connections wait in the backlog.
const REST: Duration = Duration::from_millis(100);

/// Connections accepted in one go before those accepted get their turn.
const BATCH: usize = 64;

/// Properties of every server that accepts connections.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct GateConfig {
    /// Connections that wait to be accepted, at most; `net.core.somaxconn` may bound it further. Applies
    /// when the address is first bound: a reload does not change it.
    pub backlog: u32,
    /// Connections served at once, at most; others wait in the backlog. 0 stands for what the limit on
    /// open files allows: half of it, less 256.
    pub max_conns: usize,
    /// Connections from one address at once, at most; further ones are closed at once. 0 is no limit.
    /// Clients on this machine (loopback, Unix sockets) are not counted.
    pub max_conns_per_source: usize,
    /// Who may connect, if the address is that of a Unix socket: `"any"` local user, or `"own"`, the user of
    /// this process, and root; others are told by their credentials, and closed at once.
    pub socket_users: SocketUsers,
    /// Proxies in front, by address or block, or `"unix"`: their connections begin with a header of the PROXY
    /// protocol, version 1 or 2, that says who the client is; without it they are closed. It is believed of nobody
    /// else. `maxConnsPerSource` does not apply to them.
    pub proxy_protocol_from: Vec<Proxies>,
}

/// Who may connect to a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SocketUsers {
    /// All that find its file.
    Any,
    /// The user of this process, and root.
    Own,
}

impl ConfigType for SocketUsers {
    fn kind() -> Cow<'static, str> {
        "\"any\" or \"own\"".into()
    }

    fn show(&self) -> String {
        let name = match self {
            Self::Any => "any",
            Self::Own => "own",
        };
        name.to_owned().show()
    }
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            backlog: 4096,
            max_conns: 0,
            max_conns_per_source: 512,
            socket_users: SocketUsers::Any,
            proxy_protocol_from: Vec::new(),
        }
    }
}

/// The accepting side of one server.
#[derive(Debug)]
pub struct Gate {
    address: Address,
    listening: Mutex<Option<(Arc<Listening>, TaskTrackerToken)>>,
    limits: GateConfig,
    state: Arc<State>,
}

/// A connection, just accepted. The server counts it until this is dropped.
#[derive(Debug)]
pub struct Accepted {
    /// Its bytes.
    pub socket: Socket,
    /// Its other end.
    pub peer: Peer,
    /// What the client has connected to, if a proxy in front has said so.
    pub reached: Option<SocketAddr>,
    /// Its place in the server's count.
    pub ticket: Ticket,
}

/// What a connection's task knows of its server, and how the server counts it.
#[derive(Debug)]
pub struct Ticket {
    state: Arc<State>,
    source: Option<IpAddr>,
}

/// What a server expects of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Go on.
    Serving,
    /// Finish what is under way, then end.
    Draining,
    /// End now.
    Ending,
}

/// What a server expects of a connection, for those who work on it and are not counted themselves.
#[derive(Clone, Debug)]
pub struct Outlook(Arc<State>);

/// Numbers of one gate.
#[derive(Clone, Debug)]
pub struct GateCounters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections closed at once, for `maxConnsPerSource`.
    pub refused: Counter,
    /// Times the limit `maxConns` made the gate wait.
    pub full: Counter,
    /// Failures of `accept`: out of descriptors or memory.
    pub failed: Counter,
}

impl GateCounters {
    /// All at zero, for this many cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        Self { accepted: counter(), refused: counter(), full: counter(), failed: counter() }
    }

    /// What they counted, by their names in metrics.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 4] {
        [
            ("conns_accepted", self.accepted.sum()),
            ("conns_refused", self.refused.sum()),
            ("conns_full", self.full.sum()),
            ("accept_failed", self.failed.sum()),
        ]
    }

    /// Tells them to who collects.
    pub fn measure(&self, out: &mut Measures) {
        let GateCounters { accepted, refused, full, failed } = self;
        for (name, help, counter) in [
            ("hemi_server_conns_accepted", "Connections accepted.", accepted),
            (
                "hemi_server_conns_refused",
                "Connections closed at once, for maxConnsPerSource.",
                refused,
            ),
            (
                "hemi_server_conns_full",
                "Times that maxConns made connections wait in the backlog.",
                full,
            ),
            (
                "hemi_server_accept_failures",
                "Failures of accept, out of descriptors or memory.",
                failed,
            ),
        ] {
            out.counter(name, help, &[], counter.sum());
        }
    }
}

/// The connections of a server: how many there are, and what is expected of them.
#[derive(Debug)]
pub(crate) struct State {
    phase: AtomicU8,
    /// Milliseconds of the moment until which idle connections linger.
    linger: AtomicU64,
    group: Group,
    active: AtomicUsize,
    sources: Mutex<HashMap<IpAddr, usize>>,
    /// Told when a connection has ended while somebody waits for that.
    ended: Notify,
    counters: Arc<GateCounters>,
    users: SocketUsers,
}

impl Gate {
    /// Binds the address, or takes over the sockets that an earlier stage bound; counts into
    /// `counters`, which [`crate::CreateCx::keep`] carries over reloads.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub fn open(
        cx: &Prepare<'_>,
        address: &Address,
        limits: &GateConfig,
        mut options: ListenOptions,
        counters: Arc<GateCounters>,
    ) -> Result<Self> {
        options.backlog = limits.backlog;
        if limits.socket_users == SocketUsers::Own {
            options.mode = 0o600;
        }
        let listening = cx.listeners().open(address, cx.cores(), &options)?;
        let mut limits = limits.clone();
        if limits.max_conns == 0 {
            limits.max_conns = affordable_conns();
        }
        let users = limits.socket_users;
        let state = Arc::new(State { users, ..State::new(counters) });
        let address = listening.address().clone();
        let listening = Mutex::new(Some((listening, cx.stage().accepting())));
        Ok(Self { address, listening, limits, state })
    }

    /// Where it listens: with the port the kernel chose, if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its numbers.
    #[must_use]
    pub fn counters(&self) -> &GateCounters {
        &self.state.counters
    }

    /// Connections served now.
    #[must_use]
    pub fn active(&self) -> usize {
        self.state.active()
    }

    /// Tells what it counts, for the server it accepts for.
    pub fn measure(&self, out: &mut Measures) {
        let address = self.address.to_string();
        out.info("hemi_server", "Where a server listens.", &[("address", &address)]);
        let active = "Connections served now.";
        out.gauge("hemi_server_conns_active", active, &[], self.active() as u64);
        self.counters().measure(out);
    }

    /// Accepts on every core, each connection served by the future that `serve` makes, until the stage is
    /// told to end; then lets connections finish, until the stage's deadline.
    pub async fn run<F, Fut>(&self, run: &Run, serve: F)
    where
        F: Fn(Accepted) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let taken = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((listening, accepting)) = taken else { return };
        let loops: Vec<_> = (0..run.cores().count().max(listening.sockets().len()))
            .map(|core| {
                let (state, limits) = (self.state.clone(), self.limits.clone());
                let (listening, shut, serve) = (listening.clone(), run.shut().clone(), serve.clone());
                run.cores().spawn(core, async move {
                    let accepting = accept_all(core, &listening, &state, &limits, &serve);
                    tokio::select! {
                        biased;
                        () = shut.cancelled() => {
                            // Who waits in the queue was promised an answer.
                            accept_queued(core, &listening, &state, &limits, &serve);
                        }
                        Err(e) = accepting => warn!(address = %listening.address(), "cannot accept: {e}"),
                    }
                })
            })
            .collect();
        // The sockets close with the last loop, unless another stage has them.
        drop(listening);
        for ended in loops {
            let _ = ended.await;
        }
        drop(accepting);
        self.state.drain(run).await;
    }
}

impl Ticket {
    /// What the server expects now. One read, and no lock.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// The same for others than the connection's own task.
    #[must_use]
    pub fn outlook(&self) -> Outlook {
        Outlook(self.state.clone())
    }

    /// While the server drains: until when an idle connection may wait for one more request, to be told
    /// with its answer that it is the last; none if that time is over.
    #[must_use]
    pub fn linger(&self, now: Moment) -> Option<Moment> {
        self.state.linger(now)
    }

    /// Works on a future of the connection's task until it is ready; none if the server has to end first.
    pub async fn until_ending<F: Future>(&self, future: F) -> Option<F::Output> {
        let (mut future, mut place) = (pin!(future), None);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.phase() == Phase::Ending => Poll::Ready(None),
            Poll::Pending => {
                place.get_or_insert_with(|| Deadline::new(self.group(), cx.waker()));
                Poll::Pending
            }
        })
        .await
    }

    /// The group of this server's connections, woken when the phase changes.
    #[must_use]
    pub fn group(&self) -> Group {
        self.state.group
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(source) = self.source {
            let mut sources = self.state.sources.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = sources.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    sources.remove(&source);
                }
            }
        }
        self.state.active.fetch_sub(1, Ordering::AcqRel);
        self.state.ended.notify_waiters();
    }
}

impl Outlook {
    /// What the server expects now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.0.phase()
    }

    /// The group of the server's connections, woken when the phase changes.
    #[must_use]
    pub fn group(&self) -> Group {
        self.0.group
    }

    /// See [`Ticket::linger`].
    #[must_use]
    pub fn linger(&self, now: Moment) -> Option<Moment> {
        self.0.linger(now)
    }
}

impl State {
    pub(crate) fn new(counters: Arc<GateCounters>) -> Self {
        static NEXT_GROUP: AtomicU64 = AtomicU64::new(0);
        Self {
            phase: AtomicU8::new(Phase::Serving as u8),
            linger: AtomicU64::new(0),
            group: Group(NEXT_GROUP.fetch_add(1, Ordering::Relaxed)),
            active: AtomicUsize::new(0),
            sources: Mutex::default(),
            ended: Notify::new(),
            counters,
            users: SocketUsers::Any,
        }
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Ending,
        }
    }

    fn linger(&self, now: Moment) -> Option<Moment> {
        let until = Moment::from_millis(self.linger.load(Ordering::Relaxed));
        (now < until).then_some(until)
    }

    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn counters(&self) -> &GateCounters {
        &self.counters
    }

    /// Lets connections finish, until the stage's deadline.
    pub(crate) async fn drain(&self, run: &Run) {
        let linger = clock::now().after(run.linger());
        self.linger.store(linger.millis(), Ordering::Relaxed);
        self.enter(Phase::Draining, run.cores());
        tokio::select! {
            () = self.all_ended() => return,
            () = run.stop().cancelled() => {}
        }
        self.enter(Phase::Ending, run.cores());
        self.all_ended().await;
    }

    fn enter(&self, phase: Phase, cores: &Cores) {
        // Who sees the phase sees until when to linger, too.
        self.phase.store(phase as u8, Ordering::Release);
        for core in 0..cores.count() {
            let group = self.group;
            cores.spawn(core, async move { deadline::wake(group) });
        }
    }

    async fn all_ended(&self) {
        self.wait_below(1).await;
    }

    /// Waits until fewer than `limit` connections are served.
    async fn wait_below(&self, limit: usize) {
        loop {
            let ended = self.ended.notified();
            if self.active.load(Ordering::Acquire) < limit {
                return;
            }
            ended.await;
        }
    }

    /// Counts a connection in; none if its source has too many.
    pub(crate) fn admit(self: &Arc<Self>, peer: &Peer, per_source: usize) -> Option<Ticket> {
        let source = peer.ip().filter(|ip| per_source > 0 && !ip.is_loopback());
        if let Some(source) = source {
            let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            let count = sources.entry(source).or_default();
            if *count >= per_source {
                self.counters.refused.add(1);
                return None;
            }
            *count += 1;
        }
        self.active.fetch_add(1, Ordering::AcqRel);
        self.counters.accepted.add(1);
        Some(Ticket { state: self.clone(), source })
    }
}

/// Connections that the limit on open files affords, when each may need a second file.
pub(crate) fn affordable_conns() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.and_then(|n| usize::try_from(n).ok()).unwrap_or(1 << 20);
    (files / 2).saturating_sub(256).max(files / 4).max(1)
}

/// Accepts on the socket of this core, for as long as it is not dropped.
async fn accept_all<F, Fut>(
    core: usize,
    listening: &Listening,
    state: &Arc<State>,
    limits: &GateConfig,
    serve: &F,
) -> io::Result<()>
where
    F: Fn(Accepted) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let socket = socket_of(core, listening).try_clone()?;
    let socket = watch_readable(socket)?;
    let mut warned = None;
    loop {
        let mut ready = socket.readable().await?;
        for _ in 0..BATCH {
            if state.active.load(Ordering::Relaxed) >= limits.max_conns {
                state.counters.full.add(1);
                debug!(address = %listening.address(), limit = "conns_full", "limit hit");
                state.wait_below(limits.max_conns).await;
            }
            match accept(socket.get_ref(), state) {
                Ok((socket, peer)) => {
                    if !begin(socket, peer, state, limits, limits.max_conns_per_source, serve) {
                        debug!(%peer, limit = "conns_refused", "limit hit");
                    }
                }
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    break;
                }
                Err(e) if of_the_connection(e) => {}
                Err(e) => {
                    state.counters.failed.add(1);
                    complain(&mut warned, listening, e);
                    tokio::time::sleep(REST).await;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Accepts what waits in the queue right now.
fn accept_queued<F, Fut>(
    core: usize,
    listening: &Listening,
    state: &Arc<State>,
    limits: &GateConfig,
    serve: &F,
) where
    F: Fn(Accepted) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    loop {
        match accept(socket_of(core, listening), state) {
            Ok((socket, peer)) => {
                begin(socket, peer, state, limits, 0, serve);
            }
            Err(e) if of_the_connection(e) => {}
            Err(_) => return,
        }
    }
}

/// Serves a connection; false if its source has too many, and it is closed.
fn begin<F, Fut>(
    socket: Socket,
    peer: Peer,
    state: &Arc<State>,
    limits: &GateConfig,
    per_source: usize,
    serve: &F,
) -> bool
where
    F: Fn(Accepted) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let is_proxy = limits.proxy_protocol_from.iter().any(|proxies| proxies.hold(&peer));
    let Some(ticket) = state.admit(&peer, if is_proxy { 0 } else { per_source }) else {
        return false;
    };
    let accepted = Accepted { socket, peer, reached: None, ticket };
    if is_proxy {
        let serve = serve.clone();
        tokio::spawn(async move {
            if let Some(accepted) = proxied::unwrap(accepted).await {
                serve(accepted).await;
            }
        });
    } else {
        tokio::spawn(serve(accepted));
    }
    true
}

fn socket_of(core: usize, listening: &Listening) -> &OwnedFd {
    &listening.sockets()[core % listening.sockets().len()]
}

fn accept(listener: impl AsFd, state: &State) -> Result<(Socket, Peer), Errno> {
    use crate::io::Family;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (fd, from) = rustix::net::acceptfrom_with(listener, flags)?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
    Ok(match from {
        Some(mut address) => {
            address.set_ip(address.ip().to_canonical());
            (Socket::fresh(fd, Family::Tcp), Peer::Tcp(address))
        }
        None if state.users == SocketUsers::Own && !is_own(&fd)? => {
            state.counters.refused.add(1);
            return Err(Errno::PERM);
        }
        None => (Socket::fresh(fd, Family::Unix), Peer::Unix),
    })
}

/// Whether the other end of a Unix socket is a process of the same user, or of root.
fn is_own(socket: &OwnedFd) -> Result<bool, Errno> {
    let user = rustix::net::sockopt::socket_peercred(socket)?.uid;
    Ok(user.is_root() || user == rustix::process::geteuid())
}

/// Whether accept failed for the connection it was to give, which is gone now (accept(2), "Error handling").
fn of_the_connection(e: Errno) -> bool {
    use Errno as E;
    matches!(e, E::INTR | E::CONNABORTED | E::PERM | E::PROTO | E::NETDOWN | E::NOPROTOOPT)
        || matches!(e, E::HOSTDOWN | E::NONET | E::HOSTUNREACH | E::OPNOTSUPP | E::NETUNREACH)
}

/// Warns, but not more than once in ten seconds.
fn complain(warned: &mut Option<Moment>, listening: &Listening, e: Errno) {
    let now = clock::now();
    if warned.is_none_or(|at| now.since(at) > Duration::from_secs(10)) {
        *warned = Some(now);
        warn!(address = %listening.address(), "cannot accept connections for now: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_so_many_places_and_gets_them_back() {
        let state = Arc::new(State::new(Arc::new(GateCounters::new(1))));
        let peer = |address: &str| Peer::Tcp(address.parse().unwrap());
        let first: Vec<_> =
            (1..4).map(|n| state.admit(&peer(&format!("192.0.2.1:{n}")), 2)).collect();
        assert_eq!(first.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(state.counters.refused.sum(), 1);
        // Others are not concerned, and clients on this machine are not counted.
        let others =
            ["192.0.2.2:1", "[2001:db8::1]:1", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];
        let others = others.map(|address| state.admit(&peer(address), 2).unwrap());
        let local = [(); 3].map(|()| state.admit(&Peer::Unix, 2).unwrap());
        assert_eq!(state.active.load(Ordering::Relaxed), 10);
        drop((first, others, local));
        assert!(state.admit(&peer("192.0.2.1:9"), 2).is_some());
        assert_eq!(state.active.load(Ordering::Relaxed), 0);
        assert!(state.sources.lock().unwrap().is_empty());
    }
}
