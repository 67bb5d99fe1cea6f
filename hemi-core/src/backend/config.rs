//! Properties of every backend.

use std::time::Duration;

use serde::Deserialize;

use super::balancer::Balancer;
use super::numbers::Percent;
use crate::Explain;

/// Properties of every backend.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendConfig {
    /// How requests are spread over the nodes.
    pub balancer: Balancer,
    /// After how many failed requests in a row, as a core counts them, a node gets none for a while;
    /// 0 for never. The answers 502, 503 and 504 are failures too, and those with a status of `.retryOn` from 500.
    pub max_failures: u32,
    /// Percent of the requests within ten seconds, of twenty at least as a core counts them, that a node may fail before
    /// it gets none for a while; 0 for any number.
    pub max_error_rate: Percent,
    /// For how long, the first time; each further time in a row this much longer, up to ten times as long.
    pub eject_time: Duration,
    /// Percent of the nodes that get none at the same time for this reason, at most; at least one node
    /// is always left.
    pub max_ejected: Percent,
    /// How long a node that comes back gets less than its share, from a tenth on.
    pub slow_start: Duration,
    /// How often names of nodes are looked up again, if who is asked does not say how long an answer holds:
    /// servers of the DNS do, the system does not (see `resolv`).
    pub resolve_interval: Duration,
    /// The zone that this server is in: nodes of the same `.zone` are preferred. None if empty.
    pub zone: String,
    /// Percent of the nodes of the own zone that must be fit for the others to get nothing.
    pub zone_share: Percent,
    /// Requests that a node works on at once, at most; where each has a connection of its own, those are the
    /// node's connections in use. Divided among the cores; 0 for any number.
    pub max_conns: usize,
    /// Requests that all nodes together work on at once, at most. Divided among the cores; 0 for any number.
    pub max_requests: usize,
    /// Whether a node gets fewer requests at once while its answers come later than usual because it has too
    /// many: fewer than 8 never are too many, and each core may send one.
    pub adaptive: bool,
    /// Requests that wait while all nodes have as many as they may, at most: others are answered 503 at once.
    /// Divided among the cores.
    pub max_pending: usize,
    /// How long such a request waits, at most: 503 then.
    pub pending_timeout: Duration,
    /// Tries after the first, as percent of the requests, at most; ten in a second, and a hundred at first, always are allowed to
    /// each core. So that nodes which fail are not asked many times as much for that.
    pub retry_budget: Percent,
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self {
            balancer: Balancer::default(),
            max_failures: 5,
            max_error_rate: Percent::NONE,
            eject_time: Duration::from_secs(10),
            max_ejected: Percent::HALF,
            slow_start: Duration::from_secs(10),
            resolve_interval: Duration::from_secs(10),
            zone: String::new(),
            zone_share: Percent::HALF,
            max_conns: 0,
            max_requests: 0,
            adaptive: true,
            max_pending: 1024,
            pending_timeout: Duration::from_millis(300),
            retry_budget: Percent::FIFTH,
        }
    }
}
