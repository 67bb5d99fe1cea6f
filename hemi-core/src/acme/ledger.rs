//! What is known about the certificates of names: when something is to be done, and how that went. Outlives
//! reloads, as long as the component stays as it is.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::clock::{self, Moment};

/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// How long a name is remembered that is not allowed.
const REFUSED: Duration = Duration::from_secs(60);

/// Names that are remembered so, at most.
const REFUSALS: usize = 10_000;

const HOUR: Duration = Duration::from_secs(3600);

/// The book of an `acme` component.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) names: BTreeMap<String, Entry>,
    /// Names that are not allowed, until when.
    refused: HashMap<String, Moment>,
    /// When orders on demand began, in the last hour.
    orders: VecDeque<Moment>,
    pub(super) issued: u64,
    pub(super) failed: u64,
}

/// What is known about a name.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// When the certificate that there is expires, in seconds since 1970.
    pub(super) expires: Option<i64>,
    /// When a certificate is to be obtained.
    pub(super) due: SystemTime,
    /// When the CA is to be asked whether that is right.
    pub(super) look: SystemTime,
    /// Since the last success.
    pub(super) failures: u32,
    /// Why the last attempt failed.
    pub(super) error: Option<String>,
    /// A client has asked for it.
    pub(super) on_demand: bool,
    /// Attempts that are over.
    pub(super) attempts: u64,
}

impl Entry {
    pub(super) fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH;
        Self {
            expires: None,
            due: now,
            look: never(),
            failures: 0,
            error: None,
            on_demand: false,
            attempts: 0,
        }
    }
}

/// Later than anything is planned.
pub(super) fn never() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)
}

impl Ledger {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the entry of a name, made if there is none.
    pub(super) fn with<T>(&self, name: &str, look: impl FnOnce(&mut Entry) -> T) -> T {
        look(self.lock().names.entry(name.to_owned()).or_insert_with(Entry::new))
    }

    /// The names that something is to be done for now, `most` at most and not those that are `busy`, and how long
    /// it is until the next.
    pub(super) fn due(&self, busy: &HashSet<String>, most: usize) -> (Vec<String>, Duration) {
        let now = clock::calendar();
        let (mut due, mut next) = (Vec::new(), HOUR);
        for (name, entry) in &self.lock().names {
            if busy.contains(name) {
                continue;
            }
            match entry.due.min(entry.look).duration_since(now) {
                Ok(left) if !left.is_zero() => next = next.min(left),
                _ if due.len() < most => due.push(name.clone()),
                // When one of the others is done.
                _ => {}
            }
        }
        (due, next)
    }

    /// Notes that an attempt has failed, and how long to pause before the next; returns that.
    pub(super) fn fail(
        &self,
        name: &str,
        error: &str,
        first: Duration,
        told: Option<Duration>,
    ) -> Duration {
        let spread = 0.8 + 0.4 * random();
        let mut inner = self.lock();
        inner.failed += 1;
        let entry = inner.names.entry(name.to_owned()).or_insert_with(Entry::new);
        let doubled = first.saturating_mul(1 << entry.failures.min(20)).min(LONGEST);
        let pause = doubled.mul_f64(spread).max(told.unwrap_or_default());
        entry.failures = entry.failures.saturating_add(1);
        entry.attempts += 1;
        entry.error = Some(error.to_owned());
        entry.due = clock::calendar() + pause;
        entry.look = never();
        pause
    }

    /// Notes that there is a certificate until `expires`, which is to be renewed at `due`.
    pub(super) fn have(&self, name: &str, expires: i64, due: SystemTime, look: SystemTime) {
        self.with(name, |entry| {
            entry.expires = Some(expires);
            (entry.due, entry.look) = (due, look);
            (entry.failures, entry.error) = (0, None);
            entry.attempts += 1;
        });
    }

    /// Whether a name is not allowed, as far as that was found out lately.
    pub(super) fn is_refused(&self, name: &str) -> bool {
        self.lock().refused.get(name).is_some_and(|until| clock::now() < *until)
    }

    pub(super) fn refuse(&self, name: &str) {
        let mut inner = self.lock();
        if inner.refused.len() >= REFUSALS {
            inner.refused.clear();
        }
        inner.refused.insert(name.to_owned(), clock::now().after(REFUSED));
    }

    /// Counts an order on demand, unless there were as many as may be in the last hour.
    pub(super) fn begin_on_demand(&self, per_hour: usize) -> bool {
        let (mut inner, now) = (self.lock(), clock::now());
        while inner.orders.front().is_some_and(|began| now.since(*began) > HOUR) {
            inner.orders.pop_front();
        }
        let may = inner.orders.len() < per_hour;
        if may {
            inner.orders.push_back(now);
        }
        may
    }

    /// How many names there are that clients have asked for.
    pub(super) fn on_demand(&self) -> usize {
        self.lock().names.values().filter(|entry| entry.on_demand).count()
    }

    /// Forgets a name, and all but those that are wanted.
    pub(super) fn forget(&self, name: &str) {
        self.lock().names.remove(name);
    }

    pub(super) fn keep_only(&self, wanted: impl Fn(&str, &Entry) -> bool) {
        self.lock().names.retain(|name, entry| wanted(name, entry));
    }
}

/// A number from 0 to 1.
pub(super) fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness nothing else works either.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_what_the_ca_asks_for_is_respected() {
        let (ledger, first) = (Ledger::default(), Duration::from_secs(60));
        let seconds = |told| ledger.fail("a.test", "no", first, told).as_secs();
        assert!((48..=72).contains(&seconds(None)));
        assert!((96..=144).contains(&seconds(None)));
        assert_eq!(seconds(Some(Duration::from_secs(7200))), 7200);
        for _ in 0..40 {
            let pause = seconds(None);
            assert!(pause <= LONGEST.as_secs() * 12 / 10, "{pause}");
        }
        let (due, next) = ledger.due(&HashSet::new(), 10);
        assert!(due.is_empty() && next == HOUR);
        ledger.have("a.test", 0, SystemTime::UNIX_EPOCH, never());
        assert_eq!(ledger.due(&HashSet::new(), 10).0, ["a.test"]);
        assert!(ledger.due(&HashSet::from(["a.test".to_owned()]), 10).0.is_empty());
        assert!(ledger.lock().names["a.test"].error.is_none());
    }

    #[test]
    fn orders_on_demand_are_counted_and_refusals_remembered() {
        let ledger = Ledger::default();
        assert!(ledger.begin_on_demand(2) && ledger.begin_on_demand(2));
        assert!(!ledger.begin_on_demand(2));
        ledger.refuse("a.test");
        assert!(ledger.is_refused("a.test") && !ledger.is_refused("b.test"));
    }
}
