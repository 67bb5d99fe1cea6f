//! Which node is called.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::node::{Node, NodeInfo, Place};

/// How a node is chosen.
#[derive(Clone, Debug, Default)]
pub enum Selector {
    /// By chance.
    Random,
    /// One after the other.
    #[default]
    RoundRobin,
    /// By their weights, mixed evenly.
    Weighted,
    /// The same node for the same service, method and key ([`super::ClusterAsk::key`]) in all programs; when nodes come or
    /// go, few keys change theirs.
    ConsistentHash,
    /// Of two by chance the one that is likely to answer sooner, by how long it took and how much it has to do.
    Quickest,
    /// The one that is the least far away from here. Those that are not known to be anywhere are not called.
    Closest(Place),
    /// As somebody else says.
    User(Arc<dyn Select>),
}

/// Chooses nodes.
pub trait Select: Send + Sync {
    /// Which of these is called; nobody, if there is none.
    fn select(&self, choice: &Choice<'_>) -> Option<usize>;
}

impl fmt::Debug for dyn Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Select")
    }
}

/// What a choice is made among, and for.
#[derive(Debug)]
pub struct Choice<'a> {
    /// The nodes.
    pub nodes: &'a [&'a NodeInfo],
    /// The service that is called.
    pub service: &'a str,
    /// The method.
    pub method: &'a str,
    /// What the caller has set by [`super::ClusterAsk::key`].
    pub key: &'a str,
}

/// A selector at work.
pub(super) struct Selecting {
    selector: Selector,
    next: AtomicUsize,
    seed: AtomicU64,
    /// Held while credits are compared.
    weighing: Mutex<()>,
}

impl Selecting {
    pub(super) fn new(selector: Selector) -> Self {
        let seed = AtomicU64::new(RandomState::new().hash_one(0));
        Self { selector, next: AtomicUsize::new(0), seed, weighing: Mutex::new(()) }
    }

    /// Which of the nodes, of which there is one at least.
    pub(super) fn select(
        &self,
        nodes: &[&Arc<Node>],
        service: &str,
        method: &str,
        key: &str,
    ) -> Option<usize> {
        match &self.selector {
            Selector::Random => Some(self.random(nodes.len())),
            Selector::RoundRobin => Some(self.next.fetch_add(1, Ordering::Relaxed) % nodes.len()),
            Selector::Weighted => Some(self.weigh(nodes)),
            Selector::ConsistentHash => {
                let key = fnv1a(&["/", service, "/", method, "/", key]);
                let score = |node: &Arc<Node>| mix(key ^ fnv1a(&[&node.info.address]));
                (0..nodes.len()).max_by_key(|at| nodes.get(*at).map(|node| score(node)))
            }
            Selector::Quickest => {
                let one = self.random(nodes.len());
                let step = 1 + self.random(nodes.len().saturating_sub(1).max(1));
                let other = (one + step) % nodes.len();
                let cost = |at: usize| nodes.get(at).map(|node| node.cost());
                Some(if cost(other) < cost(one) { other } else { one })
            }
            Selector::Closest(here) => self.closest(nodes, *here),
            Selector::User(user) => {
                let nodes: Vec<&NodeInfo> = nodes.iter().map(|node| &node.info).collect();
                let choice = Choice { nodes: &nodes, service, method, key };
                user.select(&choice).filter(|at| *at < nodes.len())
            }
        }
    }

    /// Each earns its weight; who has most is chosen, and pays for all.
    fn weigh(&self, nodes: &[&Arc<Node>]) -> usize {
        let _held = self.weighing.lock().unwrap_or_else(PoisonError::into_inner);
        let all: i64 = nodes.iter().map(|node| i64::from(node.info.weight)).sum();
        let mut best = (0, i64::MIN);
        for (at, node) in nodes.iter().enumerate() {
            // If none has a weight, all have the same.
            let weight = if all == 0 { 1 } else { i64::from(node.info.weight) };
            let credit = node.credit.load(Ordering::Relaxed) + weight;
            node.credit.store(credit, Ordering::Relaxed);
            if weight > 0 && credit > best.1 {
                best = (at, credit);
            }
        }
        if let Some(node) = nodes.get(best.0) {
            let pays = if all == 0 { nodes.len() as i64 } else { all };
            node.credit.store(best.1 - pays, Ordering::Relaxed);
        }
        best.0
    }

    fn closest(&self, nodes: &[&Arc<Node>], here: Place) -> Option<usize> {
        let distances = nodes
            .iter()
            .enumerate()
            .filter_map(|(at, node)| Some((at, here.distance(node.info.place?))));
        let distances: Vec<(usize, f64)> = distances.collect();
        let least = distances.iter().map(|(_, far)| *far).min_by(f64::total_cmp)?;
        let closest: Vec<usize> =
            distances.into_iter().filter(|(_, far)| *far <= least).map(|(at, _)| at).collect();
        closest.get(self.random(closest.len())).copied()
    }

    /// Below 1.
    pub(super) fn chance(&self) -> f64 {
        self.random(1 << 20) as f64 / f64::from(1 << 20)
    }

    /// Below `most`, which is not 0.
    fn random(&self, most: usize) -> usize {
        let seed = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        (mix(seed) % most.max(1) as u64) as usize
    }
}

/// FNV-1a of 64 bits, which is the same everywhere.
fn fnv1a(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Spreads the bits (the end of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::ClusterConfig;
    use super::*;

    fn nodes(lines: &[&str]) -> Vec<Arc<Node>> {
        let node = |line: &&str| Node::new(NodeInfo::from_line(line)?, &ClusterConfig::default());
        lines.iter().filter_map(node).map(Arc::new).collect()
    }

    /// How often each is chosen.
    fn chosen(selecting: &Selecting, nodes: &[Arc<Node>], times: usize) -> BTreeMap<String, usize> {
        let all: Vec<&Arc<Node>> = nodes.iter().collect();
        let mut counts = BTreeMap::new();
        for number in 0..times {
            let key = number.to_string();
            let Some(at) = selecting.select(&all, "Arith", "Mul", &key) else { continue };
            *counts.entry(nodes[at].info.address.clone()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_hash_is_that_of_others() {
        assert_eq!(fnv1a(&["/Arith", "/Mul", "/x"]), 8_964_570_273_237_532_926);
    }

    #[test]
    fn weights_count_evenly() {
        let nodes = nodes(&["a:1 weight=5", "b:1", "c:1 weight=0"]);
        let counts = chosen(&Selecting::new(Selector::Weighted), &nodes, 60);
        assert_eq!(counts, [("a:1".to_owned(), 50), ("b:1".to_owned(), 10)].into());
        let zeros = self::nodes(&["a:1 weight=0", "b:1 weight=0"]);
        assert_eq!(chosen(&Selecting::new(Selector::Weighted), &zeros, 10)["a:1"], 5);
    }

    #[test]
    fn all_are_chosen_by_chance_and_in_turn() {
        let nodes = nodes(&["a:1", "b:1", "c:1"]);
        let turns = chosen(&Selecting::new(Selector::RoundRobin), &nodes, 300);
        assert!(turns.values().all(|count| *count == 100), "{turns:?}");
        for selector in [Selector::Random, Selector::Quickest, Selector::ConsistentHash] {
            let counts = chosen(&Selecting::new(selector), &nodes, 3000);
            assert_eq!(counts.len(), 3);
            assert!(counts.values().all(|count| (500..1800).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn few_keys_move_when_a_node_goes() {
        let nodes = nodes(&["a:1", "b:1", "c:1", "d:1"]);
        let selecting = Selecting::new(Selector::ConsistentHash);
        let (all, fewer): (Vec<_>, Vec<_>) = (nodes.iter().collect(), nodes[..3].iter().collect());
        for number in 0..1000 {
            let key = number.to_string();
            let before = selecting.select(&all, "S", "m", &key).unwrap();
            let after = selecting.select(&fewer, "S", "m", &key).unwrap();
            assert!(before == 3 || before == after);
        }
    }

    #[test]
    fn the_closest_and_the_users_own_are_taken() {
        struct Last;
        impl Select for Last {
            fn select(&self, choice: &Choice<'_>) -> Option<usize> {
                choice.nodes.len().checked_sub(1)
            }
        }
        let nodes = nodes(&[
            "a:1 latitude=0&longitude=0",
            "b:1 latitude=50&longitude=10",
            "c:1 latitude=-50&longitude=10",
            "d:1",
        ]);
        let here = Place { latitude: 49.0, longitude: 2.0 };
        let closest = chosen(&Selecting::new(Selector::Closest(here)), &nodes, 10);
        assert_eq!(closest, [("b:1".to_owned(), 10)].into());
        let own = chosen(&Selecting::new(Selector::User(Arc::new(Last))), &nodes, 10);
        assert_eq!(own, [("d:1".to_owned(), 10)].into());
    }
}
