//! Answers that are remembered for as long as they hold, so many at most.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hemi_core::clock::{self, Moment};
use hemi_proto::dns::forward::{Answer, Code, Key, Question};

/// Parts that are locked one by one.
const SHARDS: usize = 16;

/// Answers of which the one that was used longest ago gives way to a new one.
const SAMPLE: usize = 5;

/// An answer, and when it came.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) answer: Answer,
    since: Moment,
    holds: Duration,
}

impl Cached {
    /// One that has come now, to be remembered for so long at most; the latter if it says that there is nothing.
    pub(super) fn new(answer: Answer, most: Duration, most_of_nothing: Duration) -> Self {
        let seconds = answer.ttl.map_or(Duration::ZERO, |ttl| Duration::from_secs(ttl.into()));
        let most = if answer.code == Code::OK { most } else { most_of_nothing.min(most) };
        Self { answer, since: clock::now(), holds: seconds.min(most) }
    }

    /// As it is sent to a client now.
    pub(super) fn to(&self, question: &Question, size: u16) -> Vec<u8> {
        let age = clock::now().since(self.since).as_secs();
        self.answer.to(question, u32::try_from(age).unwrap_or(u32::MAX), size)
    }
}

/// What is remembered.
#[derive(Debug)]
pub(super) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Answers of a shard, at most.
    most: usize,
}

#[derive(Debug, Default)]
struct Shard {
    places: HashMap<Key, usize>,
    slots: Vec<Slot>,
    dice: u64,
}

#[derive(Debug)]
struct Slot {
    key: Key,
    cached: Arc<Cached>,
    used: Moment,
}

impl Cache {
    pub(super) fn new(size: usize) -> Self {
        let hasher = RandomState::new();
        let shard = |n| Mutex::new(Shard { dice: hasher.hash_one(n) | 1, ..Shard::default() });
        Self { shards: (0..SHARDS).map(shard).collect(), most: size.div_ceil(SHARDS), hasher }
    }

    /// Answers that are in it, fresh or not.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots.len()).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }

    /// An answer that still holds.
    pub(super) fn find(&self, key: &Key, now: Moment) -> Option<Arc<Cached>> {
        if self.most == 0 {
            return None;
        }
        let mut shard = self.shard(key);
        let place = *shard.places.get(key)?;
        let slot = shard.slots.get_mut(place)?;
        if now.since(slot.cached.since) >= slot.cached.holds {
            return None;
        }
        slot.used = now;
        Some(slot.cached.clone())
    }

    /// Keeps an answer, if it holds for a while.
    pub(super) fn keep(&self, key: &Key, cached: &Arc<Cached>) {
        if self.most == 0 || cached.holds.is_zero() {
            return;
        }
        let used = cached.since;
        let slot = Slot { key: key.clone(), cached: cached.clone(), used };
        let mut shard = self.shard(key);
        let place = match shard.places.get(key) {
            Some(place) => *place,
            None if shard.slots.len() < self.most => shard.slots.len(),
            None => shard.least_used(used),
        };
        shard.places.insert(slot.key.clone(), place);
        match shard.slots.get_mut(place) {
            None => shard.slots.push(slot),
            Some(known) => {
                let before = std::mem::replace(known, slot);
                if before.key != *key {
                    shard.places.remove(&before.key);
                }
            }
        }
    }
}

impl Shard {
    /// Of some at random one that does not hold any more, or else was used longest ago.
    fn least_used(&mut self, now: Moment) -> usize {
        let some: [usize; SAMPLE] = std::array::from_fn(|_| self.roll() % self.slots.len().max(1));
        let worth = |place: &usize| {
            let slot = self.slots.get(*place);
            slot.map(|slot| (now.since(slot.cached.since) < slot.cached.holds, slot.used))
        };
        some.into_iter().min_by_key(worth).unwrap_or_default()
    }

    /// xorshift64
    fn roll(&mut self) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 16) as usize
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of a name, and an answer to it that holds for so many seconds.
    fn answered(name: &str, ttl: u8) -> (Key, Arc<Cached>) {
        let mut message = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        message.push(name.len() as u8);
        message.extend_from_slice(name.as_bytes());
        message.extend([0, 0, 1, 0, 1]);
        let question = Question::read(&message).unwrap();
        message[2] = 0x81;
        message[7] = 1;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 4, 127, 0, 0, 1]);
        let answer = Answer::read(message, 7, &question).unwrap();
        let most = Duration::from_secs(100);
        (question.key, Arc::new(Cached::new(answer, most, most)))
    }

    #[test]
    fn answers_hold_for_as_long_as_they_say_and_not_longer_than_they_may() {
        let cache = Cache::new(100);
        let now = clock::now();
        for (name, ttl, holds) in [("a", 50, 50), ("b", 200, 100), ("c", 0, 0)] {
            let (key, cached) = answered(name, ttl);
            cache.keep(&key, &cached);
            let at = |seconds| cache.find(&key, now.after(Duration::from_secs(seconds))).is_some();
            assert_eq!(at(holds.max(1) - 1), holds > 0, "{name}");
            assert!(!at(holds + 1), "{name}");
        }
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn there_are_so_many_and_those_in_use_stay() {
        let cache = Cache::new(160);
        let (used, kept) = answered("used", 90);
        cache.keep(&used, &kept);
        for n in 0..3000 {
            let (key, cached) = answered(&format!("n{n}"), 90);
            cache.keep(&key, &cached);
            // Later than all others.
            let mut shard = cache.shard(&used);
            if let Some(place) = shard.places.get(&used).copied() {
                shard.slots[place].used = Moment::NEVER;
            }
        }
        assert!(cache.len() <= 160);
        assert!(cache.find(&used, clock::now()).is_some());
        let none = Cache::new(0);
        none.keep(&used, &kept);
        assert!(none.find(&used, clock::now()).is_none());
    }
}
