//! Which configs were served, and what became of their workers.

use std::collections::BTreeMap;
use std::time::Duration;

use hemi_core::clock::{self, Moment};
use hemi_core::status::Timestamp;

use crate::control::{End, Load, Refused};

/// How long a config has to serve without two crashes until it counts as good.
pub(super) const PROBATION: Duration = Duration::from_secs(60);

/// Crashes within that time that send a config back.
const CRASHES: u32 = 2;

/// What has happened so far.
#[derive(Default)]
pub(super) struct History {
    /// The config that serves, or is to serve when a worker has crashed.
    serving: String,
    /// The good one before it.
    before: Option<Before>,
    /// Counts the configs.
    generation: u64,
    /// The one that is being looked at whether it proves good.
    on_trial: u64,
    pub(super) loads: u64,
    pub(super) last_load: Option<Load>,
    /// By reasons.
    pub(super) restarts: BTreeMap<String, u64>,
    pub(super) last_end: Option<End>,
}

struct Before {
    config: String,
    /// When the next came.
    until: Moment,
    /// How often workers have crashed with that one.
    crashes: u32,
}

impl History {
    /// A config serves.
    pub(super) fn loaded(&mut self, config: String) {
        if config == self.serving {
            return;
        }
        self.generation += 1;
        let before = std::mem::replace(&mut self.serving, config);
        let good = match self.before.take().filter(|before| before.on_probation()) {
            // The one before this was not proven either.
            Some(unproven) => unproven.config,
            None => before,
        };
        self.before =
            (!good.is_empty()).then(|| Before { config: good, until: clock::now(), crashes: 0 });
    }

    /// It was tried to load the config; comes back with a number for what serves now, if that is new.
    pub(super) fn tried(&mut self, refused: Option<Refused>) -> Option<u64> {
        let serves = refused.is_none().then_some(self.generation);
        let new = serves.filter(|new| std::mem::replace(&mut self.on_trial, *new) != *new);
        self.loads += 1;
        self.last_load = Some(Load { at: Timestamp::now(), refused });
        new
    }

    /// The config that serves, if it is still the one of that number.
    pub(super) fn proven(&self, generation: u64) -> Option<&str> {
        (self.generation == generation).then_some(self.serving.as_str())
    }

    /// The config that a new worker is to serve.
    pub(super) fn serving(&self) -> &str {
        &self.serving
    }

    /// A worker has crashed; whether this has sent its config back.
    pub(super) fn crashed(&mut self, end: End, why: &str) -> bool {
        *self.restarts.entry(why.to_owned()).or_default() += 1;
        self.last_end = Some(end);
        let Some(before) = self.before.as_mut().filter(|before| before.on_probation()) else {
            return false;
        };
        before.crashes += 1;
        if before.crashes < CRASHES {
            return false;
        }
        self.generation += 1;
        self.serving = self.before.take().map(|before| before.config).unwrap_or_default();
        let why = "workers crashed with the new config: the last good one is served again";
        let refused = Some(Refused::from(why.to_owned()));
        self.last_load = Some(Load { at: Timestamp::now(), refused });
        true
    }
}

impl Before {
    fn on_probation(&self) -> bool {
        clock::now().since(self.until) < PROBATION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_crashes_send_a_new_config_back() {
        let mut history = History::default();
        history.loaded("one".to_owned());
        assert!(!history.crashed(End::default(), "signal"));
        assert!(!history.crashed(End::default(), "signal"));
        assert_eq!(history.serving(), "one");
        history.loaded("two".to_owned());
        history.loaded("three".to_owned());
        assert!(!history.crashed(End::default(), "signal"));
        assert!(history.crashed(End::default(), "signal"));
        assert_eq!(history.serving(), "one");
        assert!(history.last_load.as_ref().unwrap().refused.is_some());
        assert!(!history.crashed(End::default(), "signal"));
        assert_eq!(history.restarts["signal"], 5);
    }

    #[test]
    fn a_config_is_proven_if_no_other_came() {
        let mut history = History::default();
        history.loaded("one".to_owned());
        let first = history.tried(None).unwrap();
        assert_eq!(history.proven(first), Some("one"));
        history.loaded("one".to_owned());
        assert_eq!((history.tried(None), history.proven(first)), (None, Some("one")));
        history.loaded("two".to_owned());
        assert_eq!(history.proven(first), None);
        assert_eq!(history.tried(Some(Refused::from("no".to_owned()))), None);
    }
}
