//! Calls a service that several nodes have: finds them, chooses among them, and does what is to be done when one fails.

mod ask;
mod breaker;
mod discovery;
mod node;
mod select;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hemi_core::clock;
use tokio::sync::watch;

pub use self::ask::{ClusterAsk, Receipt};
pub use self::breaker::BreakerConfig;
pub use self::discovery::{Discovery, Dns, NodesFile, Several};
pub(crate) use self::discovery::{read, set};
use self::node::Node;
pub use self::node::{NodeInfo, Place};
use self::select::Selecting;
pub use self::select::{Choice, Select, Selector};
use crate::client::ClientConfig;

/// What is done when a call comes to nothing, though not by an answer of the service: its errors are final, and so is the end
/// of the time that an answer may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailMode {
    /// Nothing.
    Failfast,
    /// It is made again, to the same node.
    Failtry,
    /// It is made again, to a node that has not failed it yet.
    #[default]
    Failover,
    /// It is made a second time, to another node, if no answer comes soon; the first reply is taken.
    Failbackup,
}

/// How the nodes of a cluster are called.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// How each of them is.
    pub client: ClientConfig,
    /// What is done when a call comes to nothing.
    pub fail_mode: FailMode,
    /// Which node is called.
    pub selector: Selector,
    /// Whether calls go to the same node for as long as it works, whatever the selector says.
    pub sticky: bool,
    /// How often a call is made again, at most: 3 times by default.
    pub retries: u32,
    /// How long is waited before that the first time, give or take half; the double each further time. Nothing by default.
    pub retry_interval: Duration,
    /// Calls that may be made again, for each that is made: 0.2 by default. Some ten more may be at any time.
    pub retry_budget: f64,
    /// When [`FailMode::Failbackup`] calls another node: 10 ms by default.
    pub backup_latency: Duration,
    /// When a node is left alone.
    pub breaker: BreakerConfig,
    /// Only nodes of this group are called, if it is set.
    pub group: Option<String>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            fail_mode: FailMode::default(),
            selector: Selector::default(),
            sticky: false,
            retries: 3,
            retry_interval: Duration::ZERO,
            retry_budget: 0.2,
            backup_latency: Duration::from_millis(10),
            breaker: BreakerConfig::default(),
            group: None,
        }
    }
}

/// Calls the services of several nodes. Clones share all.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    config: ClusterConfig,
    selecting: Selecting,
    view: Mutex<View>,
    budget: Budget,
}

/// The nodes there are, in the order of their addresses.
struct View {
    found: watch::Receiver<Vec<NodeInfo>>,
    nodes: Arc<[Arc<Node>]>,
    /// They were not looked at yet.
    unread: bool,
    /// The one that calls stick to.
    stuck: Option<Arc<Node>>,
}

impl Cluster {
    /// Calls the nodes that are found. It is used within a runtime of tokio.
    #[must_use]
    pub fn new(discovery: &impl Discovery, config: ClusterConfig) -> Self {
        let (found, nodes) = (discovery.nodes(), Arc::default());
        let view = Mutex::new(View { found, nodes, unread: true, stuck: None });
        let selecting = Selecting::new(config.selector.clone());
        let budget = Budget::new(config.retry_budget);
        Self(Arc::new(Inner { config, selecting, view, budget }))
    }

    /// Begins to ask for something: see [`ClusterAsk`].
    pub fn ask<'a>(&'a self, service: &'a str, method: &'a str) -> ClusterAsk<'a> {
        ClusterAsk::new(self, service, method)
    }

    /// The addresses of the nodes that may be called now.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.nodes().iter().map(|node| node.info.address.clone()).collect()
    }

    fn config(&self) -> &ClusterConfig {
        &self.0.config
    }

    /// The nodes there are now. Those that stay keep their connections.
    fn nodes(&self) -> Arc<[Arc<Node>]> {
        let mut view = self.0.view.lock().unwrap_or_else(PoisonError::into_inner);
        // Who found them may be gone: then they stay as they are.
        let changed = view.found.has_changed().unwrap_or(false);
        if std::mem::take(&mut view.unread) || changed {
            let config = &self.0.config;
            let mut found = view.found.borrow_and_update().clone();
            found.retain(|info| info.is_wanted(config.group.as_deref()));
            found.sort_by(|a, b| a.address.cmp(&b.address));
            found.dedup_by(|a, b| a.address == b.address);
            let before = view.nodes.clone();
            let nodes = found.into_iter().filter_map(|info| {
                let known = before.iter().find(|node| node.info == info).cloned();
                known.or_else(|| Node::new(info, config).map(Arc::new))
            });
            let nodes: Arc<[_]> = nodes.collect();
            view.nodes = nodes.clone();
            view.stuck.take_if(|stuck| !nodes.iter().any(|node| Arc::ptr_eq(node, stuck)));
        }
        view.nodes.clone()
    }

    /// A node to call that is none of these.
    fn select(&self, ask: &ClusterAsk<'_>, excluded: &[Arc<Node>]) -> Option<Arc<Node>> {
        let (nodes, now) = (self.nodes(), clock::now());
        let is_excluded = |node: &Node| excluded.iter().any(|e| std::ptr::eq(&**e, node));
        let sticky = self.0.config.sticky;
        if sticky {
            let view = self.0.view.lock().unwrap_or_else(PoisonError::into_inner);
            let stuck = view.stuck.as_ref().filter(|node| !is_excluded(node));
            if let Some(node) = stuck.filter(|node| node.breaker.admit(now)) {
                return Some(node.clone());
            }
        }
        let free = nodes.iter().filter(|node| !is_excluded(node) && node.breaker.is_ready(now));
        let mut free: Vec<&Arc<Node>> = free.collect();
        while !free.is_empty() {
            let at = self.0.selecting.select(&free, ask.service(), ask.method(), ask.key_text())?;
            let node = (*free.get(at)?).clone();
            // Another call may be trying it out.
            if node.breaker.admit(now) {
                if sticky {
                    let mut view = self.0.view.lock().unwrap_or_else(PoisonError::into_inner);
                    view.stuck = Some(node.clone());
                }
                return Some(node);
            }
            free.swap_remove(at);
        }
        None
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.addresses()).finish()
    }
}

/// How many calls may be made again, so that who is in trouble does not get the more to do.
struct Budget {
    /// Thousandths of calls.
    left: AtomicI64,
    per_call: i64,
}

impl Budget {
    const RESERVE: i64 = 10_000;
    const MOST: i64 = 100_000;

    fn new(per_call: f64) -> Self {
        let per_call = (per_call.clamp(0.0, 100.0) * 1000.0) as i64;
        Self { left: AtomicI64::new(Self::RESERVE), per_call }
    }

    fn earn(&self) {
        let left = self.left.load(Ordering::Relaxed);
        if left < Self::MOST {
            self.left.fetch_add(self.per_call, Ordering::Relaxed);
        }
    }

    fn spend(&self) -> bool {
        let spend = |left: i64| (left >= 1000).then(|| left - 1000);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_earned() {
        let budget = Budget::new(0.5);
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
        (0..4).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 2);
    }
}
