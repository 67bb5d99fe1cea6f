//! The hstate `memoryHstate`: sessions in the memory of this process.
//!
//! ```gorox
//! stage {
//! 	memoryHstate "sessions" { .maxBytes = 64M }
//! 	webapp "shop" { .hostnames = ("*")  .withHstate = "sessions"  rule { .returnCode = 200 } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("shop") }
//! }
//! ```
//!
//! They outlive reloads that leave the component as it is, but not the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hemi_core::clock::{self, Moment};
use hemi_core::config::Size;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result, Run};
use hemi_web::{BoxError, Hstate};
use serde::Deserialize;

/// Keeps sessions in memory.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryHstateConfig {
    /// Bytes of all sessions, at most; beyond, those saved longest ago are forgotten.
    pub max_bytes: Size,
}

impl Default for MemoryHstateConfig {
    fn default() -> Self {
        Self { max_bytes: Size(64 << 20) }
    }
}

/// What a session costs besides its bytes.
const OVERHEAD: u64 = 256;

/// How often sessions whose time is over are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// Sessions in memory.
#[derive(Debug)]
pub struct MemoryHstate {
    kept: Arc<Mutex<Kept>>,
    most: u64,
}

#[derive(Debug, Default)]
struct Kept {
    states: HashMap<Box<str>, State>,
    /// Keys as they were saved, with the number of the save: only the last one of a key counts.
    order: VecDeque<(Box<str>, u64)>,
    saves: u64,
    bytes: u64,
}

#[derive(Debug)]
struct State {
    bytes: Bytes,
    until: Moment,
    save: u64,
}

impl Component for MemoryHstate {
    const SIGN: &'static str = "memoryHstate";
    type Config = MemoryHstateConfig;

    fn create(config: MemoryHstateConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { kept: cx.carry(Mutex::default), most: config.max_bytes.0 })
    }
}

impl Lifecycle for MemoryHstate {
    async fn run(&self, cx: &Run) {
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP).await;
                self.kept().sweep(clock::now());
            }
        };
        tokio::select! {
            () = cx.shut().cancelled() => {}
            () = sweep => {}
        }
    }
}

impl Hstate for MemoryHstate {
    async fn load(&self, key: &str) -> Result<Option<Bytes>, BoxError> {
        let now = clock::now();
        let kept = self.kept();
        Ok(kept.states.get(key).filter(|state| now < state.until).map(|state| state.bytes.clone()))
    }

    async fn save(&self, key: &str, state: Bytes, keep: Duration) -> Result<(), BoxError> {
        if weight(key, &state) > self.most {
            return Err(
                format!("a session of {} bytes is larger than .maxBytes", state.len()).into()
            );
        }
        self.kept().save(key, state, clock::now().after(keep), self.most);
        Ok(())
    }

    async fn update(&self, key: &str, state: Bytes, keep: Duration) -> Result<bool, BoxError> {
        let is_kept = self.load(key).await?.is_some();
        if is_kept {
            self.save(key, state, keep).await?;
        }
        Ok(is_kept)
    }

    async fn remove(&self, key: &str) -> Result<(), BoxError> {
        self.kept().remove(key);
        Ok(())
    }
}

impl MemoryHstate {
    /// One for a stage that is built in code.
    #[must_use]
    pub fn new(config: &MemoryHstateConfig) -> Self {
        Self { kept: Arc::default(), most: config.max_bytes.0 }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn save(&mut self, key: &str, bytes: Bytes, until: Moment, most: u64) {
        self.remove(key);
        self.saves += 1;
        self.bytes += weight(key, &bytes);
        self.order.push_back((key.into(), self.saves));
        self.states.insert(key.into(), State { bytes, until, save: self.saves });
        while self.bytes > most && self.forget_oldest() {}
        if self.order.len() > 2 * self.states.len() + 64 {
            self.order.retain(|(key, save)| self.states.get(key).is_some_and(|s| s.save == *save));
        }
    }

    /// Forgets the session that was saved longest ago; false if there is none.
    fn forget_oldest(&mut self) -> bool {
        while let Some((key, save)) = self.order.pop_front() {
            if self.states.get(&key).is_some_and(|state| state.save == save) {
                self.remove(&key);
                return true;
            }
        }
        false
    }

    fn remove(&mut self, key: &str) {
        if let Some(state) = self.states.remove(key) {
            self.bytes -= weight(key, &state.bytes);
        }
    }

    fn sweep(&mut self, now: Moment) {
        let bytes = &mut self.bytes;
        self.states.retain(|key, state| {
            let stays = now < state.until;
            if !stays {
                *bytes -= weight(key, &state.bytes);
            }
            stays
        });
        let states = &self.states;
        self.order.retain(|(key, save)| states.get(key).is_some_and(|state| state.save == *save));
    }
}

fn weight(key: &str, state: &Bytes) -> u64 {
    (key.len() + state.len()) as u64 + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let (mut kept, until) = (Kept::default(), clock::now().after(Duration::from_secs(60)));
        let most = 3 * weight("a", &Bytes::from_static(b"12"));
        for key in ["a", "b", "a", "c", "d"] {
            kept.save(key, Bytes::from_static(b"12"), until, most);
        }
        let mut keys: Vec<_> = kept.states.keys().map(|key| &**key).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["a", "c", "d"]);
        assert_eq!(kept.bytes, most);
    }

    #[test]
    fn what_is_over_is_swept_and_nothing_piles_up() {
        let (mut kept, now) = (Kept::default(), clock::now());
        for _ in 0..1000 {
            kept.save("often", Bytes::new(), now.after(Duration::from_secs(1)), u64::MAX);
        }
        kept.save("long", Bytes::new(), now.after(Duration::from_secs(3)), u64::MAX);
        assert!(kept.order.len() < 100, "{}", kept.order.len());
        kept.sweep(now.after(Duration::from_secs(2)));
        assert_eq!((kept.states.len(), kept.order.len()), (1, 1));
        assert_eq!(kept.bytes, weight("long", &Bytes::new()));
    }
}
