//! How an engine stands: its stages, and how much there is to do. It can be sent to another process.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::Stage;
use crate::metrics::Measures;
use crate::server::ServerKind;

/// How an engine stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// How many cores it has.
    pub cores: usize,
    /// The stage that serves, then those that drain, the latest first.
    pub stages: Vec<StageStatus>,
    /// How much there was to do in the last minute.
    pub pace: Pace,
    /// What the components of the stage that serves have counted, and what there is to tell of the process.
    pub measures: Measures,
}

/// How a stage stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Counted from 1 in its process.
    pub id: u64,
    /// Tells the text of its config, with all it includes, from others: see [`digest`].
    pub digest: String,
    /// When it began to serve.
    pub since: Timestamp,
    /// By when it will have ended, if it drains.
    pub ends_by: Option<Timestamp>,
    /// Connections of its servers.
    pub conns: usize,
    /// Its components, in the order in which they started.
    pub components: Vec<ComponentName>,
}

/// What a component is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentName {
    /// Its kind: `server`, `webapp`.
    pub kind: String,
    /// Its name, or what stands for one.
    pub name: String,
}

/// A time of the calendar: milliseconds since 1970.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        crate::clock::calendar().into()
    }

    /// The time that comes `after` this one.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long it is from `earlier` to here; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

/// How much there was to do, second by second: the last one last, a minute at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Requests that were read.
    pub requests: VecDeque<u64>,
    /// Requests that were answered with a status from 500 on.
    pub errors: VecDeque<u64>,
    /// Connections that were accepted.
    pub conns: VecDeque<u64>,
    #[serde(skip)]
    before: Option<[u64; 3]>,
}

/// Seconds that are remembered.
const SECONDS: usize = 60;

/// The counters of servers that make the pace.
const COUNTED: [&str; 3] = ["requests", "errors", "conns_accepted"];

impl Pace {
    /// Notes what was done since it was last asked, which is to be a second ago.
    pub(crate) fn sample(&mut self, stage: &Stage) {
        let mut total = [0; COUNTED.len()];
        for (_, server) in stage.all::<ServerKind>() {
            for (name, count) in server.counters() {
                if let Some(at) = COUNTED.iter().position(|counted| *counted == name) {
                    total[at] += count;
                }
            }
        }
        self.note(total);
    }

    fn note(&mut self, total: [u64; COUNTED.len()]) {
        let before = self.before.replace(total).unwrap_or(total);
        let seconds = [&mut self.requests, &mut self.errors, &mut self.conns];
        for ((seconds, total), before) in seconds.into_iter().zip(total).zip(before) {
            if seconds.len() == SECONDS {
                seconds.pop_front();
            }
            // The counters of a server go with it.
            seconds.push_back(total.saturating_sub(before));
        }
    }

    /// The mean of these counts for a second.
    #[must_use]
    pub fn mean(seconds: &VecDeque<u64>) -> f64 {
        seconds.iter().sum::<u64>() as f64 / seconds.len().max(1) as f64
    }
}

/// Tells the text of a config from others: the same for the same text in all processes of this program.
#[must_use]
pub fn digest(config: &str) -> String {
    let mut hasher = DefaultHasher::new();
    config.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

impl StageStatus {
    pub(crate) fn of(stage: &Stage, ends_by: Option<Timestamp>) -> Self {
        let name = |kind: &str, name: &str| ComponentName { kind: kind.into(), name: name.into() };
        Self {
            id: stage.id(),
            digest: digest(stage.config()),
            since: stage.since(),
            ends_by,
            conns: stage.all::<ServerKind>().iter().map(|(_, server)| server.active()).sum(),
            components: stage.lives().map(|life| name(life.kind, &life.name)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_remembered() {
        let mut pace = Pace::default();
        pace.note([100, 1, 7]);
        pace.note([103, 1, 8]);
        assert_eq!(pace.requests, [0, 3]);
        assert_eq!((&pace.errors, &pace.conns), (&[0, 0].into(), &[0, 1].into()));
        // A server has gone, with what it had counted.
        pace.note([0, 0, 0]);
        (1..=100).for_each(|n| pace.note([2 * n, n, 0]));
        assert_eq!(pace.requests, [2; SECONDS]);
        assert_eq!(Pace::mean(&pace.errors), 1.0);
        assert_eq!(Pace::mean(&VecDeque::new()), 0.0);
    }

    #[test]
    fn times() {
        let at = Timestamp(1_795_266_309_123);
        assert_eq!(Timestamp::from(SystemTime::from(at)), at);
        assert_eq!(at.after(Duration::from_secs(1)).since(at), Duration::from_secs(1));
        assert_eq!(at.since(Timestamp::now().after(Duration::MAX)), Duration::ZERO);
    }
}
