//! Backends: groups of nodes that do the work. Which of them gets the next request, and which are fit to.
//!
//! What protocol they speak is the business of those who hold a [`Nodes`]: HTTP, FastCGI, plain TCP.
//!
//! Nodes are found to be fit in two ways: by checks, and by what comes of requests. A node that fails so
//! often in a row gets none for a while; never all of them, for then the fault is likely elsewhere.

mod adaptive;
mod balancer;
mod check;
mod config;
mod endpoint;
mod failures;
mod measure;
mod node;
mod numbers;
mod pace;
mod pick;
mod proxied;
mod queue;
mod resolve;
mod seat;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::clock::{self, Moment};
use crate::cores::{PerCore, wait_aside};
use crate::resolv::{Resolv, ResolvKind};
use crate::{CreateCx, Error, Prepare, Result, Run};

pub use balancer::{Balancer, By, spread};
pub use check::{Check, CheckConfig, CheckKind, CheckRegistry, DynCheck, TcpCheck};
pub use config::BackendConfig;
pub use endpoint::{Endpoint, Health, Target};
pub use node::{Node, NodeAddress, NodeConfig, NodeKind};
pub use numbers::{Percent, Weight};
pub use pick::Pick;
pub use proxied::ProxyProtocol;

use balancer::Dice;
use endpoint::Kept;
use failures::Bounds;
use queue::{Queue, RetryBudget};
use seat::{Limits, Seat};

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
    /// What each core may do, of what all may.
    share: Share,
}

/// What a core may do.
#[derive(Clone, Copy, Debug)]
struct Share {
    requests: u32,
    pending: usize,
    limits: Limits,
}

/// Where all nodes are now.
#[derive(Debug, Default)]
struct Table(Vec<Place>);

#[derive(Clone, Debug)]
struct Place {
    endpoint: Arc<Endpoint>,
    /// What is said of it: by the config, or by the service that it has.
    node: Arc<Node>,
    /// The node of the config that it is.
    of: Arc<Node>,
}

/// What a core sees of the table.
struct View {
    version: u64,
    seats: Vec<(Arc<Seat>, Arc<Node>)>,
    /// The memory of a choice.
    fit: Vec<(Arc<Seat>, f64)>,
    dice: Dice,
    queue: Arc<Queue>,
    retries: RetryBudget,
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
    /// Those that are fit have as much to do as they can or may.
    #[error("all nodes have as much to do as they can")]
    Full,
}

impl Nodes {
    /// The nodes and checks that stand inside a component.
    ///
    /// # Errors
    /// When there is no node.
    pub fn of(config: BackendConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (nodes, checks) = (cx.children::<NodeKind>(), cx.children::<CheckKind>());
        if nodes.is_empty() && !cx.has_children::<NodeKind>() {
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
        let limits = Limits { most: of_core(config.max_conns, cores), adaptive: config.adaptive };
        let requests = of_core(config.max_requests, cores);
        let share = Share { requests, pending: config.max_pending.div_ceil(cores.max(1)), limits };
        Self {
            share,
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
        wait_aside(self.resolve_all()).map(drop).map_err(|e| Error::other(e.to_string()))
    }

    /// Looks names up again and checks nodes, until the stage ends.
    pub async fn run(&self, run: &Run) {
        tokio::select! {
            () = run.shut().cancelled() => {}
            () = self.watch() => {}
        }
    }

    /// Chooses a node for a request; if all have as much to do as they can, once one has less.
    ///
    /// `tried`: those that were picked for it before, and are not again.
    ///
    /// # Errors
    /// When there is none, or not in time.
    pub async fn pick_in_time(&self, by: &By<'_>, tried: &[Pick]) -> Result<Pick, NoNode> {
        let queue = match self.pick(by, tried) {
            Err(NoNode::Full) if tried.is_empty() => self.views.mine().queue.clone(),
            picked => return picked,
        };
        let limit = self.config.pending_timeout;
        queue
            .wait(self.share.pending, limit, || self.pick_from(&mut self.views.mine(), by, tried))
            .await
    }

    /// Chooses a node for a request, which does not wait for one.
    ///
    /// # Errors
    /// When there is none now.
    pub fn pick(&self, by: &By<'_>, tried: &[Pick]) -> Result<Pick, NoNode> {
        let mut view = self.views.mine();
        if tried.is_empty() {
            view.retries.earn(self.config.retry_budget.share());
            // Who waits was here first.
            if view.queue.waiting.load(Ordering::Relaxed) > 0 {
                return Err(NoNode::Full);
            }
        }
        self.pick_from(&mut view, by, tried)
    }

    fn pick_from(&self, view: &mut View, by: &By<'_>, tried: &[Pick]) -> Result<Pick, NoNode> {
        let version = self.version.load(Ordering::Acquire);
        if view.version != version {
            let table = self.table().clone();
            view.follow(&table, version);
        }
        if view.queue.active.load(Ordering::Relaxed) >= self.share.requests {
            return Err(NoNode::Full);
        }
        let now = clock::now();
        let View { seats, fit, dice, .. } = view;
        if let Some(seat) = self.find_sticky(seats, by, tried, now) {
            return Ok(Pick::of(seat, by, now));
        }
        let found = self.find_fit(seats, fit, tried, now);
        let seat = self.config.balancer.choose(fit, by, dice);
        fit.clear();
        match seat {
            Some(seat) => Ok(Pick::of(seat, by, now)),
            None if found => Err(NoNode::Full),
            None if tried.is_empty() => Err(NoNode::Fit),
            None => Err(NoNode::Left),
        }
    }

    /// The node that the client was given before, if it can take requests: one that is drained still gets
    /// those.
    fn find_sticky(
        &self,
        seats: &[(Arc<Seat>, Arc<Node>)],
        by: &By<'_>,
        tried: &[Pick],
        now: Moment,
    ) -> Option<Arc<Seat>> {
        let wanted = by.node?;
        let is_it = |seat: &Seat| {
            let endpoint = &seat.endpoint;
            endpoint.id() == wanted
                && endpoint.health() != Health::Down
                && !endpoint.is_ejected(now)
                && !tried.iter().any(|pick| pick.is_of(seat))
                && !seat.is_full(self.share.limits)
        };
        seats.iter().find(|(seat, _)| is_it(seat)).map(|(seat, _)| seat.clone())
    }

    /// Fills `fit` with those that may get a request now, each with its weight: nodes that are fit, else
    /// backups, else those that were ejected, for better ones there are none. Tells whether there are such,
    /// even if all have as much to do as they can.
    fn find_fit(
        &self,
        seats: &[(Arc<Seat>, Arc<Node>)],
        fit: &mut Vec<(Arc<Seat>, f64)>,
        tried: &[Pick],
        now: Moment,
    ) -> bool {
        for (backup, ejected) in [(false, false), (true, false), (false, true), (true, true)] {
            let may = |seat: &Arc<Seat>, node: &Node| {
                let endpoint = &seat.endpoint;
                node.backup == backup
                    && endpoint.health() != Health::Down
                    && !endpoint.is_drained()
                    && endpoint.is_ejected(now) == ejected
                    && !tried.iter().any(|pick| pick.is_of(seat))
            };
            let is_near = |node: &Node| node.zone == self.config.zone;
            let near_only = !self.config.zone.is_empty() && {
                let near =
                    || seats.iter().filter(|(_, node)| is_near(node) && node.backup == backup);
                let (all, serving) = (near().count(), near().filter(|(s, n)| may(s, n)).count());
                serving > 0 && serving >= self.config.zone_share.of(all)
            };
            let mut found = false;
            for (seat, node) in seats {
                if !may(seat, node) || (near_only && !is_near(node)) {
                    continue;
                }
                found = true;
                if !seat.is_full(self.share.limits) {
                    let warmth = seat.endpoint.warmth(self.config.slow_start, now);
                    fit.push((seat.clone(), node.weight * warmth));
                }
            }
            if found {
                return true;
            }
        }
        false
    }

    /// Whether a request that has failed may be sent once more, as far as those go that were.
    pub fn may_retry(&self) -> bool {
        self.views.mine().retries.spend(clock::now())
    }

    /// Tells that the request which the node was picked for has failed by the node's fault.
    pub fn failed(&self, pick: &Pick) {
        self.count_failure(pick.seat());
    }

    /// The same of a node that has answered, but badly.
    pub fn failed_at(&self, node: &Endpoint) {
        let view = self.views.mine();
        let seat =
            view.seats.iter().find(|(seat, _)| std::ptr::eq(&raw const *seat.endpoint, node));
        let seat = seat.map(|(seat, _)| seat.clone());
        drop(view);
        seat.into_iter().for_each(|seat| self.count_failure(&seat));
    }

    fn count_failure(&self, seat: &Seat) {
        let failed = seat.failed.fetch_add(1, Ordering::Relaxed) + 1;
        let requests = seat.requests.load(Ordering::Relaxed);
        let most = Bounds { in_a_row: self.config.max_failures, rate: self.config.max_error_rate };
        if seat.failures.one_more(clock::now(), requests, failed, most) {
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

    fn check_all(&self, checks: &mut JoinSet<()>) {
        for place in &self.table().0 {
            for check in &self.checks {
                let (check, endpoint) = (check.clone(), place.endpoint.clone());
                checks.spawn(keep_checking(self.name.clone(), check, endpoint));
            }
        }
    }
}

/// Checks a node again and again.
async fn keep_checking(backend: String, check: Arc<dyn DynCheck>, endpoint: Arc<Endpoint>) {
    let config = *check.config();
    let mut dice = Dice::new();
    let (mut passed, mut failed) = (0, 0);
    loop {
        let result = check.check(&endpoint).await;
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
        Self {
            version: 0,
            seats: Vec::new(),
            fit: Vec::new(),
            dice: Dice::new(),
            queue: Arc::default(),
            retries: RetryBudget::new(),
        }
    }

    /// Takes over a new table; who was in the one before keeps its seat.
    fn follow(&mut self, table: &Table, version: u64) {
        let before = std::mem::take(&mut self.seats);
        self.seats = table
            .0
            .iter()
            .map(|Place { endpoint, node, .. }| {
                let known = before.iter().find(|(seat, _)| Arc::ptr_eq(&seat.endpoint, endpoint));
                let seat = known.map(|(seat, _)| seat.clone());
                let new = || Arc::new(Seat::new(endpoint.clone(), self.queue.clone()));
                let seat = seat.unwrap_or_else(new);
                (seat, node.clone())
            })
            .collect();
        self.version = version;
    }
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The part of a limit that one of so many cores has; 0 is no limit.
fn of_core(limit: usize, cores: usize) -> u32 {
    match limit {
        0 => u32::MAX,
        limit => u32::try_from(limit.div_ceil(cores.max(1))).unwrap_or(u32::MAX),
    }
}
