//! Counts of requests by key: how many there lately were, and how many are under way.
//!
//! By the generic cell rate algorithm a key has but one number, the time at which all would be forgotten
//! that its requests have taken: its theoretical arrival time.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::FixedState;
use hemi_core::clock::{self, Moment};
use hemi_proto::cidr::Cidr;

/// How many requests there may be: a burst at once, and then one per interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Nanoseconds.
    interval: u64,
    /// Nanoseconds in which a burst is forgotten.
    window: u64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It may go on after `wait`; then there is still so much.
    Passed { wait: Duration, left: Left },
    /// It would have to wait so long.
    Over { wait: Duration },
}

/// What is left of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Requests.
    pub(crate) requests: u64,
    /// How long until there is one more.
    pub(crate) more_in: Duration,
}

impl Quota {
    /// So many requests in a time, evenly, but for bursts; none if they follow each other by less than a
    /// nanosecond, or a burst is remembered for centuries.
    pub(crate) fn new(rate: u32, per: Duration, burst: u32) -> Option<Self> {
        let interval = u64::try_from(per.as_nanos() / u128::from(rate)).ok()?;
        let window = interval.checked_mul(u64::from(burst))?;
        (interval > 0 && window < u64::MAX / 4).then_some(Self { interval, window })
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// How long it takes until a burst is forgotten.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_nanos(self.window)
    }

    /// What is left when `used` of the window is.
    pub(crate) fn left(&self, used: Duration) -> Left {
        let used = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX).min(self.window);
        let requests = (self.window - used) / self.interval;
        let whole = used.saturating_sub(1) / self.interval * self.interval;
        Left { requests, more_in: Duration::from_nanos(used - whole) }
    }

    /// Takes one for a request that may wait so long: `arrival` is the key's number.
    fn take(&self, arrival: &mut u64, now: u64, patience: u64) -> Taken {
        let next = now.max(*arrival).saturating_add(self.interval);
        let used = next - now;
        let wait = used.saturating_sub(self.window);
        if wait > patience {
            return Taken::Over { wait: Duration::from_nanos(wait) };
        }
        *arrival = next;
        let left = self.left(Duration::from_nanos(used));
        Taken::Passed { wait: Duration::from_nanos(wait), left }
    }
}

/// The counts of a limit, in parts, so that cores seldom want the same.
#[derive(Debug)]
pub(crate) struct Buckets {
    began: Moment,
    /// Not known outside: nobody can choose keys that are taken for each other.
    hasher: RandomState,
    shards: Box<[Shard]>,
    /// Keys of a shard, at most.
    most: usize,
}

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// In nanoseconds since the beginning.
    arrivals: HashMap<u64, u64, FixedState>,
    /// All keys of `arrivals`, those to be looked at first in front.
    order: VecDeque<u64>,
    under_way: HashMap<u64, u32, FixedState>,
}

/// Shards of a large table.
const SHARDS: usize = 64;

/// Keys that a shard has at least, so that throwing out one finds a stale one.
const SHARD_SIZE: usize = 128;

/// So many keys are considered when one has to be thrown out.
const CONSIDERED: usize = 8;

impl Buckets {
    /// Counts for this many keys; further ones take the places of the stalest.
    pub(crate) fn new(most: usize) -> Self {
        let shards = (most / SHARD_SIZE).clamp(1, SHARDS);
        Self {
            began: clock::now(),
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Shard::default()).collect(),
            most: most.div_ceil(shards),
        }
    }

    /// What stands for a key here.
    pub(crate) fn hash(&self, key: impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    fn counts(&self, key: u64) -> MutexGuard<'_, Counts> {
        let shard = &self.shards[key as usize % self.shards.len()];
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of the key's quota for a request that may wait so long.
    pub(crate) fn take(&self, key: u64, quota: &Quota, patience: Duration) -> Taken {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (now, patience) = (nanos(clock::now().since(self.began)), nanos(patience));
        let mut counts = self.counts(key);
        if let Some(arrival) = counts.arrivals.get_mut(&key) {
            return quota.take(arrival, now, patience);
        }
        if counts.arrivals.len() >= self.most {
            counts.throw_one_out(now);
        }
        let mut arrival = 0;
        let taken = quota.take(&mut arrival, now, patience);
        counts.arrivals.insert(key, arrival);
        counts.order.push_back(key);
        taken
    }

    /// Lets one more request of the key be under way, if there are fewer than `most`.
    pub(crate) fn enter(self: &Arc<Self>, key: u64, most: u32) -> Option<UnderWay> {
        let mut counts = self.counts(key);
        let count = counts.under_way.entry(key).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(UnderWay { buckets: self.clone(), key })
    }
}

impl Counts {
    /// Forgets a key whose quota is whole again; else, of some, the one that it is first of.
    fn throw_one_out(&mut self, now: u64) {
        let mut stalest: Option<(u64, u64)> = None;
        for _ in 0..CONSIDERED {
            let Some(key) = self.order.pop_front() else { break };
            let arrival = self.arrivals.get(&key).copied().unwrap_or_default();
            match stalest {
                Some((_, earliest)) if arrival >= earliest => self.order.push_back(key),
                Some((other, _)) => {
                    self.order.push_back(other);
                    stalest = Some((key, arrival));
                }
                None => stalest = Some((key, arrival)),
            }
            if arrival <= now {
                break;
            }
        }
        if let Some((key, _)) = stalest {
            self.arrivals.remove(&key);
        }
    }
}

/// A request under way, which counts until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    buckets: Arc<Buckets>,
    key: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.buckets.counts(self.key);
        if let Some(count) = counts.under_way.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.under_way.remove(&self.key);
            }
        }
    }
}

/// The address that counts for a client: in IPv6 that of its network.
pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => ip,
        ip @ IpAddr::V6(_) => Cidr::around(ip, 64).base(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn passed(wait: u64, requests: u64, more_in: u64) -> Taken {
        Taken::Passed { wait: millis(wait), left: Left { requests, more_in: millis(more_in) } }
    }

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let quota = Quota::new(10, Duration::from_secs(1), 3).unwrap();
        let mut arrival = 0;
        let mut take = |at: u64| quota.take(&mut arrival, at * MS, 0);
        assert_eq!(take(1000), passed(0, 2, 100));
        assert_eq!(take(1000), passed(0, 1, 100));
        assert_eq!(take(1010), passed(0, 0, 90));
        assert_eq!(take(1010), Taken::Over { wait: millis(90) });
        assert_eq!(take(1099), Taken::Over { wait: millis(1) });
        assert_eq!(take(1100), passed(0, 0, 100));
        assert_eq!(take(1101), Taken::Over { wait: millis(99) });
        assert_eq!(take(9000), passed(0, 2, 100));
    }

    #[test]
    fn those_who_may_wait_are_given_their_turn() {
        let quota = Quota::new(10, Duration::from_secs(1), 1).unwrap();
        let mut arrival = 0;
        let mut take = || quota.take(&mut arrival, 1000 * MS, 250 * MS);
        assert_eq!(take(), passed(0, 0, 100));
        assert_eq!(take(), passed(100, 0, 100));
        assert_eq!(take(), passed(200, 0, 100));
        assert_eq!(take(), Taken::Over { wait: millis(300) });
    }

    #[test]
    fn quotas_that_make_no_sense_are_none() {
        let second = Duration::from_secs(1);
        assert_eq!(Quota::new(u32::MAX, second, 1), None);
        assert_eq!(Quota::new(1, Duration::ZERO, 1), None);
        assert_eq!(Quota::new(1, Duration::from_secs(1 << 40), u32::MAX), None);
        assert!(Quota::new(1_000_000_000, second, u32::MAX).is_some());
    }

    #[test]
    fn no_more_keys_are_known_than_there_may_be_and_the_stalest_go_first() {
        let buckets = Buckets::new(100);
        let hour = Quota::new(1, Duration::from_secs(3600), 1).unwrap();
        let blink = Quota::new(1, Duration::from_nanos(1), 1).unwrap();
        buckets.take(0, &hour, Duration::ZERO);
        for key in 1..10_000 {
            buckets.take(key, &blink, Duration::ZERO);
        }
        // The key that still has something to be remembered for is remembered.
        assert!(matches!(buckets.take(0, &hour, Duration::ZERO), Taken::Over { .. }));
        let counts = buckets.counts(0);
        assert_eq!((counts.arrivals.len(), counts.order.len()), (100, 100));
        drop(counts);
        for key in 10_000..20_000 {
            buckets.take(key, &hour, Duration::ZERO);
        }
        let counts = buckets.counts(0);
        assert_eq!((counts.arrivals.len(), counts.order.len()), (100, 100));
    }

    #[test]
    fn requests_count_while_they_are_under_way() {
        let buckets = Arc::new(Buckets::new(1));
        let first = buckets.enter(7, 2).unwrap();
        let second = buckets.enter(7, 2).unwrap();
        assert!(buckets.enter(7, 2).is_none());
        let other = buckets.enter(8, 2).unwrap();
        drop(first);
        assert!(buckets.enter(7, 2).is_some());
        drop((second, other));
        assert!(buckets.counts(7).under_way.is_empty());
    }
}
