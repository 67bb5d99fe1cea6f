//! Where connections to a node go, and whether it is fit to get any.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderValue;

use super::balancer::hash;
use super::pace::Pace;
use crate::clock::Moment;

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// TCP or UDP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A node at one address: a node whose name has several is as many of them. It outlives reloads.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) target: Target,
    hostname: OnceLock<Box<str>>,
    /// Of its target, for rendezvous hashing.
    pub(super) hash: u64,
    /// What checks have found: see [`Health`].
    health: AtomicU8,
    /// Milliseconds of the moment until which it gets no requests for having failed some.
    ejected_until: AtomicU64,
    /// How often in a row it was ejected.
    ejections: AtomicU32,
    /// Milliseconds of the moment from which it is given more and more.
    fit_since: AtomicU64,
    /// Told by the operator to get no new requests.
    drained: AtomicBool,
    /// How much it can be given at once.
    pub(super) pace: Pace,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nobody has checked it yet: it gets requests.
    Unknown = 0,
    /// It has passed its checks.
    Up = 1,
    /// It has failed them.
    Down = 2,
}

/// An ejection lasts longer with each one, up to so many times as long.
const LONGEST: u32 = 10;

impl Endpoint {
    pub(super) fn new(target: Target) -> Self {
        Self {
            hash: hash(target.to_string().as_bytes()),
            target,
            hostname: OnceLock::new(),
            health: AtomicU8::new(Health::Unknown as u8),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            fit_since: AtomicU64::new(0),
            drained: AtomicBool::new(false),
            pace: Pace::default(),
        }
    }

    /// Tells it from others: the same in every process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.hash
    }

    /// Where connections to it go.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The name that it was found by, or else its address: what its certificate is to be for.
    #[must_use]
    pub fn hostname(&self) -> Cow<'_, str> {
        match (self.hostname.get(), &self.target) {
            (Some(name), _) => Cow::Borrowed(name),
            (None, Target::Tcp(address)) => address.ip().to_string().into(),
            (None, Target::Unix(_)) => "localhost".into(),
        }
    }

    pub(super) fn set_hostname(&self, name: &str) {
        // Of several nodes at one address the first has given it its name.
        let _ = self.hostname.set(name.into());
    }

    /// How it is asked for by its own name, as in a `host` field.
    #[must_use]
    pub fn authority(&self) -> HeaderValue {
        let localhost = || HeaderValue::from_static("localhost");
        match &self.target {
            // An address has no byte that a value can't have.
            Target::Tcp(address) => {
                HeaderValue::try_from(address.to_string()).unwrap_or_else(|_| localhost())
            }
            Target::Unix(_) => localhost(),
        }
    }

    /// What checks have found.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Unknown,
            1 => Health::Up,
            _ => Health::Down,
        }
    }

    /// Notes what checks have found; true if that is news.
    pub(super) fn set_health(&self, health: Health, now: Moment) -> bool {
        let was = self.health.swap(health as u8, Ordering::Relaxed);
        if health == Health::Up && was == Health::Down as u8 {
            self.fit_since.store(now.millis(), Ordering::Relaxed);
        }
        was != health as u8
    }

    /// Whether it gets no requests now for having failed some.
    #[must_use]
    pub fn is_ejected(&self, now: Moment) -> bool {
        now.millis() < self.ejected_until.load(Ordering::Relaxed)
    }

    /// Gives it no requests for a while, which gets longer with each time; returns for how long.
    pub(super) fn eject(&self, base: Duration, now: Moment) -> Duration {
        let last = Moment::from_millis(self.ejected_until.load(Ordering::Relaxed));
        let before = self.ejections.load(Ordering::Relaxed);
        // Who has served well for as long as it was out begins anew.
        let served = now.since(last);
        let before = if served > base * before.max(1) { 0 } else { before };
        let times = (before + 1).min(LONGEST);
        self.ejections.store(times, Ordering::Relaxed);
        let until = now.after(base * times);
        self.ejected_until.store(until.millis(), Ordering::Relaxed);
        self.fit_since.store(until.millis(), Ordering::Relaxed);
        base * times
    }

    /// Has it get no new requests, or get them again.
    pub fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    /// Whether the operator has it get no new requests.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// The part of its share that it is given now, while it starts slowly.
    pub(super) fn warmth(&self, slow_start: Duration, now: Moment) -> f64 {
        let since = Moment::from_millis(self.fit_since.load(Ordering::Relaxed));
        let served = now.since(since);
        if served >= slow_start {
            return 1.0;
        }
        (served.as_secs_f64() / slow_start.as_secs_f64()).max(0.1)
    }
}

/// What is kept of endpoints over reloads, by target.
pub(super) type Kept = std::sync::Mutex<std::collections::HashMap<Target, Arc<Endpoint>>>;

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(30);

    fn endpoint() -> Endpoint {
        Endpoint::new(Target::Unix("/x".into()))
    }

    #[test]
    fn ejections_get_longer_and_are_forgotten() {
        let (endpoint, mut now) = (endpoint(), Moment::from_millis(1_000_000));
        for times in (1..=10).chain([10]) {
            assert!(!endpoint.is_ejected(now));
            assert_eq!(endpoint.eject(BASE, now), BASE * times);
            assert!(endpoint.is_ejected(now));
            now = now.after(BASE * times);
        }
        now = now.after(BASE * 10 + Duration::from_millis(1));
        assert_eq!(endpoint.eject(BASE, now), BASE);
    }

    #[test]
    fn who_comes_back_starts_slowly() {
        let (endpoint, now) = (endpoint(), Moment::from_millis(1_000_000));
        let slow = Duration::from_secs(10);
        assert_eq!(endpoint.warmth(slow, now), 1.0);
        assert!(endpoint.set_health(Health::Down, now));
        assert!(!endpoint.set_health(Health::Down, now));
        assert!(endpoint.set_health(Health::Up, now));
        assert_eq!(endpoint.warmth(slow, now), 0.1);
        assert_eq!(endpoint.warmth(slow, now.after(slow / 2)), 0.5);
        assert_eq!(endpoint.warmth(slow, now.after(slow)), 1.0);
        assert_eq!(endpoint.warmth(Duration::ZERO, now), 1.0);
    }
}
