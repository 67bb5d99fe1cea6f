//! One node of a cluster.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hemi_core::clock;
use hemi_proto::path::push_encoded;
use hemi_proto::query;

use super::ClusterConfig;
use super::breaker::Breaker;
use crate::{Client, RpcError};

/// What is known of a node. Where it comes from a registry of rpcx, its metadata is the query of a URL.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeInfo {
    /// Where it is: see [`Client::to`].
    pub address: String,
    /// What it gets of the calls, compared with others: `weight=`, 1 unless said otherwise.
    pub weight: u32,
    /// Whether it is to be left out: `state=inactive`.
    pub inactive: bool,
    /// The groups it is in: `group=`, which may be there several times.
    pub groups: Vec<String>,
    /// Where on earth it is: `latitude=` and `longitude=`.
    pub place: Option<Place>,
}

/// A place on earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// North is positive.
    pub latitude: f64,
    /// East is positive.
    pub longitude: f64,
}

impl Place {
    /// Metres from here to there, as the crow flies.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        const RADIUS: f64 = 6_378_100.0;
        let (a, b) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half = |from: f64, to: f64| ((to - from) / 2.0).sin().powi(2);
        let east = half(self.longitude.to_radians(), other.longitude.to_radians());
        2.0 * RADIUS * (half(a, b) + a.cos() * b.cos() * east).sqrt().min(1.0).asin()
    }
}

impl NodeInfo {
    /// A node of which nothing but its address is known.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), weight: 1, ..Self::default() }
    }

    /// The same with metadata, such as `weight=7&group=blue`. What is not understood is not looked at.
    #[must_use]
    pub fn with_metadata(mut self, metadata: &str) -> Self {
        let (mut latitude, mut longitude) = (None, None);
        for (key, value) in query::pairs(metadata.as_bytes()) {
            let value = String::from_utf8_lossy(&value).into_owned();
            match &*key {
                b"weight" => self.weight = value.parse().unwrap_or(1),
                b"state" => self.inactive = value == "inactive",
                b"group" => self.groups.push(value),
                b"latitude" => latitude = value.parse().ok(),
                b"longitude" => longitude = value.parse().ok(),
                _ => {}
            }
        }
        if let (Some(latitude), Some(longitude)) = (latitude, longitude) {
            self.place = Some(Place { latitude, longitude });
        }
        self
    }

    /// Reads a line: an address, and after a space metadata, if there is any.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let line = line.trim();
        let (address, metadata) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let none = address.is_empty() || address.starts_with('#');
        (!none).then(|| Self::new(address).with_metadata(metadata.trim()))
    }

    /// Writes the line that [`Self::from_line`] reads; none for an address that has no place in one.
    pub(crate) fn to_line(&self) -> Option<String> {
        let address = &self.address;
        if address.is_empty() || address.starts_with('#') || address.contains(char::is_whitespace) {
            return None;
        }
        let mut line = format!("{address} weight={}", self.weight);
        if self.inactive {
            line += "&state=inactive";
        }
        for group in &self.groups {
            line += "&group=";
            push_encoded(&mut line, group);
        }
        if let Some(Place { latitude, longitude }) = self.place {
            line += &format!("&latitude={latitude}&longitude={longitude}");
        }
        Some(line + "\n")
    }

    pub(super) fn is_wanted(&self, group: Option<&str>) -> bool {
        !self.inactive && group.is_none_or(|group| self.groups.iter().any(|own| own == group))
    }
}

pub(super) struct Node {
    pub(super) info: NodeInfo,
    pub(super) client: Client,
    pub(super) breaker: Breaker,
    /// Calls under way.
    pub(super) busy: AtomicUsize,
    /// Microseconds that answers take, about: later ones count more.
    latency: AtomicU64,
    /// What it has coming, where nodes are chosen by weight.
    pub(super) credit: AtomicI64,
}

impl Node {
    /// None for an address that can't be called from here, such as one of another network.
    pub(super) fn new(info: NodeInfo, config: &ClusterConfig) -> Option<Self> {
        let client = match info.address.parse() {
            Ok(endpoint) => Client::new(endpoint, config.client.clone()),
            Err(e) => {
                tracing::warn!("a node is left out: {e}");
                return None;
            }
        };
        Some(Self {
            info,
            client,
            breaker: Breaker::new(config.breaker),
            busy: AtomicUsize::new(0),
            latency: AtomicU64::new(0),
            credit: AtomicI64::new(0),
        })
    }

    /// Makes a call, and notes how it went.
    pub(super) async fn watch<R>(
        &self,
        call: impl Future<Output = Result<R, RpcError>>,
    ) -> Result<R, RpcError> {
        let under_way = UnderWay::new(self);
        let began = clock::exact();
        let result = call.await;
        under_way.done();
        match &result {
            Err(RpcError::TimedOut | RpcError::Unreachable(_) | RpcError::Lost(_)) => {
                self.breaker.failed(clock::now());
            }
            // It was not the node's fault.
            Err(RpcError::Unwritable(_) | RpcError::Refused) => self.breaker.abandoned(),
            _ => {
                self.breaker.succeeded(clock::now());
                self.note(began.elapsed());
            }
        }
        result
    }

    fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let before = self.latency.load(Ordering::Relaxed);
        let after = if before == 0 { took } else { before / 8 * 7 + took / 8 + 1 };
        self.latency.store(after, Ordering::Relaxed);
    }

    /// How long a call may take now, about.
    pub(super) fn cost(&self) -> u64 {
        let busy = self.busy.load(Ordering::Relaxed) as u64 + 1;
        self.latency.load(Ordering::Relaxed).max(1).saturating_mul(busy)
    }
}

/// Counts a call that is under way, also if it is given up.
struct UnderWay<'a> {
    node: &'a Node,
    done: bool,
}

impl<'a> UnderWay<'a> {
    fn new(node: &'a Node) -> Self {
        node.busy.fetch_add(1, Ordering::Relaxed);
        Self { node, done: false }
    }

    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.node.busy.fetch_sub(1, Ordering::Relaxed);
        if !self.done {
            self.node.breaker.abandoned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_that_of_rpcx() {
        let line = "tcp@a:1 weight=7&group=g1&group=g%202&latitude=52.5&longitude=13.4&calls=1";
        let info = NodeInfo::from_line(line).unwrap();
        assert_eq!((info.address.as_str(), info.weight, info.inactive), ("tcp@a:1", 7, false));
        assert_eq!(info.groups, ["g1", "g 2"]);
        assert!(info.is_wanted(None) && info.is_wanted(Some("g1")) && !info.is_wanted(Some("g")));
        assert!(!NodeInfo::new("a").with_metadata("state=inactive").is_wanted(None));
        assert_eq!(NodeInfo::from_line(" b:2 "), Some(NodeInfo::new("b:2")));
        assert_eq!(NodeInfo::from_line("# c"), None);
        assert_eq!(
            info.to_line().and_then(|line| NodeInfo::from_line(&line)).as_ref(),
            Some(&info)
        );
        assert_eq!(NodeInfo::new("a b").to_line(), None);
        let paris = Place { latitude: 48.8567, longitude: 2.3508 };
        let far = info.place.unwrap().distance(paris);
        assert!((870_000.0..885_000.0).contains(&far), "{far}");
        assert!(paris.distance(paris) < 1.0);
    }
}
