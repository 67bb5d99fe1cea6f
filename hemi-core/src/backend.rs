//! Backends: groups of nodes that do the work. Which of them gets the next request, and which are fit to.
//!
//! What protocol they speak is the business of those who hold a [`Nodes`]: HTTP, FastCGI, plain TCP.
//!
//! Nodes are found to be fit in two ways: by checks, and by what comes of requests. A node that fails so
//! often in a row gets none for a while; never all of them, for then the fault is likely elsewhere.

mod balancer;
mod check;
mod endpoint;
mod node;
mod numbers;
mod seat;

use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::clock::{self, Moment};
use crate::cores::{PerCore, wait_aside};
use crate::metrics::Measures;
use crate::resolv::{Resolv, ResolvKind};
use crate::{CreateCx, Error, Explain, Prepare, Result, Run};

pub use balancer::{Balancer, By, spread};
pub use check::{Check, CheckConfig, CheckKind, CheckRegistry, DynCheck, TcpCheck};
pub use endpoint::{Endpoint, Health, Target};
pub use node::{Node, NodeAddress, NodeConfig, NodeKind};
pub use numbers::{Percent, Weight};

use balancer::Dice;
use endpoint::Kept;
use seat::Seat;

/// Properties of every backend.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendConfig {
    /// How requests are spread over the nodes.
    pub balancer: Balancer,
    /// After how many failed requests in a row, as a core counts them, a node gets none for a while;
    /// 0 for never.
    pub max_failures: u32,
    /// For how long, the first time; each further time in a row this much longer, up to ten times as long.
    pub eject_time: Duration,
    /// Percent of the nodes that get none at the same time for this reason, at most; at least one node
    /// is always left.
    pub max_ejected: Percent,
    /// How long a node that comes back gets less than its share, from a tenth on.
    pub slow_start: Duration,
    /// How often names of nodes are looked up again.
    pub resolve_interval: Duration,
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self {
            balancer: Balancer::default(),
            max_failures: 5,
            eject_time: Duration::from_secs(10),
            max_ejected: Percent::HALF,
            slow_start: Duration::from_secs(10),
            resolve_interval: Duration::from_secs(10),
        }
    }
}

/// The nodes of a backend.
pub struct Nodes {
    name: String,
    config: BackendConfig,
    nodes: Vec<Arc<Node>>,
    checks: Vec<Arc<dyn DynCheck>>,
    resolv: Arc<Resolv>,
    kept: Arc<Kept>,
    table: Mutex<Arc<Table>>,
    /// Of the table: counted up with each new one.
    version: AtomicU64,
    views: PerCore<View>,
}

/// Where all nodes are now.
#[derive(Debug, Default)]
struct Table(Vec<Place>);

#[derive(Clone, Debug)]
struct Place {
    endpoint: Arc<Endpoint>,
    node: Arc<Node>,
}

/// What a core sees of the table.
struct View {
    version: u64,
    seats: Vec<(Arc<Seat>, Arc<Node>)>,
    /// The memory of a choice.
    fit: Vec<(Arc<Seat>, f64)>,
    dice: Dice,
}

/// There is no node that may get the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNode {
    /// None is fit.
    #[error("no node is fit")]
    Fit,
    /// All that are fit were tried.
    #[error("all nodes that are fit were tried")]
    Left,
}

/// A node that was chosen for a request, which counts as under way until this is dropped.
#[derive(Debug)]
pub struct Pick {
    seat: Arc<Seat>,
}

impl Nodes {
    /// The nodes and checks that stand inside a component.
    ///
    /// # Errors
    /// When there is no node.
    pub fn of(config: BackendConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (nodes, checks) = (cx.children::<NodeKind>(), cx.children::<CheckKind>());
        if nodes.is_empty() {
            let message = "a backend needs nodes";
            let help = "add `node { .address = \"127.0.0.1:8000\" }`";
            let diagnostic = crate::config::Diagnostic::new(cx.span(), message);
            return Err(diagnostic.help(help).into());
        }
        let (resolv, kept) = (cx.fixture::<ResolvKind>()?, cx.keep(Kept::default));
        let new = Self::new(cx.name(), config, nodes, resolv, cx.cores());
        Ok(Self { checks, kept, ..new })
    }

    /// These nodes, which nobody checks.
    #[must_use]
    pub fn new(
        name: &str,
        config: BackendConfig,
        nodes: Vec<Arc<Node>>,
        resolv: Arc<Resolv>,
        cores: usize,
    ) -> Self {
        Self {
            name: name.to_owned(),
            config,
            nodes,
            checks: Vec::new(),
            resolv,
            kept: Arc::default(),
            table: Mutex::default(),
            version: AtomicU64::new(0),
            views: PerCore::new(cores, View::new),
        }
    }

    /// Looks all names up: those that can't be found now are looked for later.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        wait_aside(self.resolve_all()).map_err(|e| Error::other(e.to_string()))
    }

    /// Looks names up again and checks nodes, until the stage ends.
    pub async fn run(&self, run: &Run) {
        tokio::select! {
            () = run.shut().cancelled() => {}
            () = self.watch() => {}
        }
    }

    /// Chooses a node for a request.
    ///
    /// `tried`: those that were picked for it before, and are not again.
    ///
    /// # Errors
    /// When there is none.
    pub fn pick(&self, by: &By<'_>, tried: &[Pick]) -> Result<Pick, NoNode> {
        let mut view = self.views.mine();
        let version = self.version.load(Ordering::Acquire);
        if view.version != version {
            let table = self.table().clone();
            view.follow(&table, version);
        }
        let now = clock::now();
        let View { seats, fit, dice, .. } = &mut *view;
        self.find_fit(seats, fit, tried, now);
        let seat = self.config.balancer.choose(fit, by, dice);
        fit.clear();
        match seat {
            Some(seat) => Ok(Pick::of(seat)),
            None if tried.is_empty() => Err(NoNode::Fit),
            None => Err(NoNode::Left),
        }
    }

    /// Fills `fit` with those that may get a request now, each with its weight: nodes that are fit, else
    /// backups, else those that were ejected, for better ones there are none.
    fn find_fit(
        &self,
        seats: &[(Arc<Seat>, Arc<Node>)],
        fit: &mut Vec<(Arc<Seat>, f64)>,
        tried: &[Pick],
        now: Moment,
    ) {
        for (backup, ejected) in [(false, false), (true, false), (false, true), (true, true)] {
            let may = |seat: &Arc<Seat>, node: &Node| {
                let endpoint = &seat.endpoint;
                node.backup == backup
                    && endpoint.health() != Health::Down
                    && !endpoint.is_drained()
                    && endpoint.is_ejected(now) == ejected
                    && !tried.iter().any(|pick| Arc::ptr_eq(&pick.seat, seat))
            };
            let those = seats.iter().filter(|(seat, node)| may(seat, node));
            fit.extend(those.map(|(seat, node)| {
                let warmth = seat.endpoint.warmth(self.config.slow_start, now);
                (seat.clone(), node.weight * warmth)
            }));
            if !fit.is_empty() {
                return;
            }
        }
    }

    /// Tells that the request which the node was picked for has failed by the node's fault.
    pub fn failed(&self, pick: &Pick) {
        let seat = &pick.seat;
        seat.failed.fetch_add(1, Ordering::Relaxed);
        let failures = seat.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if self.config.max_failures > 0 && failures >= self.config.max_failures {
            seat.failures.store(0, Ordering::Relaxed);
            self.eject(&seat.endpoint);
        }
    }

    fn eject(&self, endpoint: &Endpoint) {
        let (table, now) = (self.table(), clock::now());
        let serving = |place: &&Place| {
            let other = &place.endpoint;
            other.health() != Health::Down && !other.is_drained() && !place.node.backup
        };
        let all = table.0.iter().filter(serving).count();
        let out = table.0.iter().filter(serving).filter(|p| p.endpoint.is_ejected(now)).count();
        let most = self.config.max_ejected.of(all).min(all.saturating_sub(1));
        if endpoint.is_ejected(now) || out >= most {
            return;
        }
        let time = endpoint.eject(self.config.eject_time, now);
        let (backend, node) = (&self.name, endpoint.target());
        warn!(%backend, %node, "node failed too often: it gets no requests for {time:?}");
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Arc<Table>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where all nodes are now, with what is known of them.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.table().0.iter().map(|place| place.endpoint.clone()).collect()
    }

    async fn resolve_all(&self) {
        let mut places = Vec::new();
        for node in &self.nodes {
            let targets = self.targets(node).await;
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            for target in targets {
                let endpoint = match kept.entry(target) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(new) => {
                        let endpoint = Arc::new(Endpoint::new(new.key().clone()));
                        endpoint.set_drained(node.drain);
                        new.insert(endpoint).clone()
                    }
                };
                if let NodeAddress::Tcp { host, .. } = &node.address {
                    endpoint.set_hostname(host);
                }
                if !places.iter().any(|p: &Place| Arc::ptr_eq(&p.endpoint, &endpoint)) {
                    places.push(Place { endpoint, node: node.clone() });
                }
            }
        }
        let mut table = self.table();
        let same = table.0.len() == places.len()
            && table.0.iter().zip(&places).all(|(a, b)| Arc::ptr_eq(&a.endpoint, &b.endpoint));
        if !same {
            *table = Arc::new(Table(places));
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Where a node is now. If its name can't be found, it is where it was.
    async fn targets(&self, node: &Arc<Node>) -> Vec<Target> {
        let (host, port) = match &node.address {
            NodeAddress::Unix(path) => return Vec::from([Target::Unix(path.clone())]),
            NodeAddress::Tcp { host, port } => (host, *port),
        };
        match self.resolv.resolve(host).await {
            Ok(ips) => {
                let mut ips: Vec<_> = ips.iter().map(|ip| ip.to_canonical()).collect();
                // The order of an answer changes, and means nothing here.
                ips.sort_unstable();
                ips.dedup();
                ips.iter().map(|ip| Target::Tcp(SocketAddr::new(*ip, port))).collect()
            }
            Err(e) => {
                warn!(backend = %self.name, node = %host, "cannot find the node: {e}");
                let table = self.table();
                let of_node = table.0.iter().filter(|place| Arc::ptr_eq(&place.node, node));
                of_node.map(|place| place.endpoint.target.clone()).collect()
            }
        }
    }

    /// Looks names up again, and has every node be checked.
    async fn watch(&self) {
        let mut checks = JoinSet::new();
        let mut checked = u64::MAX;
        let resolves = self.nodes.iter().any(|node| node.address.is_name());
        loop {
            let version = self.version.load(Ordering::Acquire);
            if checked != version {
                checked = version;
                checks.shutdown().await;
                self.check_all(&mut checks);
            }
            if !resolves {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(self.config.resolve_interval).await;
            self.resolve_all().await;
        }
    }

    fn check_all(&self, checks: &mut JoinSet<()>) {
        for place in &self.table().0 {
            for check in &self.checks {
                let (check, endpoint) = (check.clone(), place.endpoint.clone());
                checks.spawn(keep_checking(self.name.clone(), check, endpoint));
            }
        }
    }

    /// Tells what is known of the nodes, for the backend that they are of.
    pub fn measure(&self, out: &mut Measures) {
        let now = clock::now();
        let places = self.table().clone();
        for Place { endpoint, node } in &places.0 {
            let sum = self.sum(endpoint);
            let address = endpoint.target.to_string();
            let labels =
                [("node", node.name.as_deref().unwrap_or(&address)), ("address", &address)];
            let fit = endpoint.health() != Health::Down && !endpoint.is_ejected(now);
            let help = "Whether the node gets requests, as far as checks and failures go.";
            out.gauge("hemi_backend_node_up", help, &labels, u64::from(fit));
            let help = "Requests that the node was picked for.";
            out.counter("hemi_backend_requests", help, &labels, sum.requests);
            let help = "Of these, those that failed by its fault.";
            out.counter("hemi_backend_failures", help, &labels, sum.failed);
            let help = "Requests that the node works on now.";
            out.gauge("hemi_backend_active", help, &labels, sum.active);
            let help = "How long its answers take to begin, of late.";
            let latency = sum.latency.unwrap_or_default().as_secs_f64();
            out.gauge("hemi_backend_latency_seconds", help, &labels, latency);
        }
    }

    /// What all cores have counted of a node.
    fn sum(&self, endpoint: &Arc<Endpoint>) -> Sum {
        let mut sum = Sum::default();
        for view in self.views.each() {
            let seat = view.seats.iter().find(|(seat, _)| Arc::ptr_eq(&seat.endpoint, endpoint));
            let Some((seat, _)) = seat else { continue };
            sum.requests += seat.requests.load(Ordering::Relaxed);
            sum.failed += seat.failed.load(Ordering::Relaxed);
            sum.active += u64::from(seat.active.load(Ordering::Relaxed));
            sum.latency = sum.latency.max(seat.latency());
        }
        sum
    }
}

/// What was counted of a node.
#[derive(Debug, Default)]
struct Sum {
    requests: u64,
    failed: u64,
    active: u64,
    /// As the core sees it that waits longest.
    latency: Option<Duration>,
}

/// Checks a node again and again.
async fn keep_checking(backend: String, check: Arc<dyn DynCheck>, endpoint: Arc<Endpoint>) {
    let config = *check.config();
    let mut dice = Dice::new();
    let (mut passed, mut failed) = (0, 0);
    loop {
        let result = check.check(&endpoint.target).await;
        let node = endpoint.target();
        match &result {
            Ok(()) => (passed, failed) = (passed + 1, 0),
            Err(_) => (passed, failed) = (0, failed + 1),
        }
        let health = endpoint.health();
        match result {
            // The first check of all decides at once.
            Ok(()) if health == Health::Unknown => {
                endpoint.set_health(Health::Up, clock::now());
            }
            Ok(()) if health == Health::Down && passed >= config.rise => {
                endpoint.set_health(Health::Up, clock::now());
                info!(%backend, %node, "node is up again");
            }
            Err(why) if health != Health::Down && failed >= config.fall => {
                endpoint.set_health(Health::Down, clock::now());
                warn!(%backend, %node, "node is down: {why}");
            }
            _ => {}
        }
        tokio::time::sleep(config.interval.mul_f64(0.9 + 0.2 * dice.roll())).await;
    }
}

impl View {
    fn new() -> Self {
        Self { version: 0, seats: Vec::new(), fit: Vec::new(), dice: Dice::new() }
    }

    /// Takes over a new table; who was in the one before keeps its seat.
    fn follow(&mut self, table: &Table, version: u64) {
        let before = std::mem::take(&mut self.seats);
        self.seats = table
            .0
            .iter()
            .map(|Place { endpoint, node }| {
                let known = before.iter().find(|(seat, _)| Arc::ptr_eq(&seat.endpoint, endpoint));
                let seat = known.map(|(seat, _)| seat.clone());
                let seat = seat.unwrap_or_else(|| Arc::new(Seat::new(endpoint.clone())));
                (seat, node.clone())
            })
            .collect();
        self.version = version;
    }
}

impl Pick {
    fn of(seat: Arc<Seat>) -> Self {
        seat.active.fetch_add(1, Ordering::Relaxed);
        seat.requests.fetch_add(1, Ordering::Relaxed);
        Self { seat }
    }

    /// Another hold of the same node, which counts as under way too.
    #[must_use]
    pub fn twin(&self) -> Self {
        self.seat.active.fetch_add(1, Ordering::Relaxed);
        Self { seat: self.seat.clone() }
    }

    /// The node.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.seat.endpoint
    }

    /// Tells that the node has begun to answer, after this time.
    pub fn answered(&self, after: Duration) {
        self.seat.failures.store(0, Ordering::Relaxed);
        self.seat.answered(after);
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.seat.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolv::ResolvConfig;

    /// Nodes at ports 1, 2, 3, ...; those in `backups` are backups.
    fn nodes(count: u16, backups: &[u16]) -> Nodes {
        let node = |port| {
            let address = NodeAddress::Tcp { host: "127.0.0.1".into(), port };
            Arc::new(Node { backup: backups.contains(&port), ..Node::at(address) })
        };
        let resolv = Arc::new(Resolv::new(ResolvConfig::default()));
        let config = BackendConfig { balancer: Balancer::RoundRobin, ..BackendConfig::default() };
        let nodes = Nodes::new("b", config, (1..=count).map(node).collect(), resolv, 1);
        wait_aside(nodes.resolve_all()).unwrap();
        nodes
    }

    fn port(pick: &Pick) -> u16 {
        let Target::Tcp(address) = pick.endpoint().target() else { panic!("not TCP") };
        address.port()
    }

    /// All that are picked, in the course of some requests.
    fn picked(nodes: &Nodes) -> Vec<u16> {
        let ports = (0..20).map(|_| port(&nodes.pick(&By::default(), &[]).unwrap()));
        ports.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    fn fail(nodes: &Nodes, of: u16) {
        let all: Vec<_> = (0..6).map(|_| nodes.pick(&By::default(), &[]).unwrap()).collect();
        let pick = all.iter().find(|pick| port(pick) == of).unwrap();
        (0..5).for_each(|_| nodes.failed(pick));
    }

    #[test]
    fn who_fails_in_a_row_is_left_out_but_never_more_than_half() {
        let nodes = nodes(4, &[]);
        assert_eq!(picked(&nodes), [1, 2, 3, 4]);
        fail(&nodes, 1);
        assert_eq!(picked(&nodes), [2, 3, 4]);
        fail(&nodes, 2);
        fail(&nodes, 3);
        assert_eq!(picked(&nodes), [3, 4]);
    }

    #[test]
    fn the_last_one_is_not_left_out() {
        let nodes = nodes(1, &[]);
        fail(&nodes, 1);
        assert_eq!(picked(&nodes), [1]);
    }

    #[test]
    fn an_answer_ends_the_row() {
        let nodes = nodes(2, &[]);
        let pick = nodes.pick(&By::default(), &[]).unwrap();
        for _ in 0..3 {
            (0..4).for_each(|_| nodes.failed(&pick));
            pick.answered(Duration::from_millis(1));
        }
        assert_eq!(picked(&nodes), [1, 2]);
    }

    #[test]
    fn backups_serve_when_nobody_else_can() {
        let nodes = nodes(3, &[3]);
        assert_eq!(picked(&nodes), [1, 2]);
        let [one, two, three] = &nodes.endpoints()[..] else { panic!("not three") };
        one.set_health(Health::Down, clock::now());
        two.set_drained(true);
        assert_eq!(picked(&nodes), [3]);
        three.set_health(Health::Down, clock::now());
        assert_eq!(nodes.pick(&By::default(), &[]).unwrap_err(), NoNode::Fit);
    }

    #[test]
    fn who_was_tried_is_not_tried_again() {
        let nodes = nodes(2, &[]);
        let mut tried = Vec::new();
        for _ in 0..2 {
            tried.push(nodes.pick(&By::default(), &tried).unwrap());
        }
        assert_ne!(port(&tried[0]), port(&tried[1]));
        assert_eq!(nodes.pick(&By::default(), &tried).unwrap_err(), NoNode::Left);
    }
}
