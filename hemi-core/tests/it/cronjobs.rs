//! Cronjobs: again and again, one at a time, whatever happens to one run.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hemi_core::config::Source;
use hemi_core::cronjob::{Cronjob, CronjobRegistry};
use hemi_core::{Component, CreateCx, Engine, Error, Explain, Lifecycle, Registry, Result};
use hemi_test::eventually;
use serde::Deserialize;

const PATIENCE: Duration = Duration::from_secs(30);

/// Works every millisecond, in its own manner.
#[derive(Debug, Deserialize, Explain)]
struct Worker {
    /// `well`, `badly`, `slowly` or `panicking`
    how: String,
}

static RUNS: [AtomicU64; HOW.len()] = [const { AtomicU64::new(0) }; HOW.len()];
const HOW: [&str; 4] = ["well", "badly", "slowly", "panicking"];
static BUSY: AtomicBool = AtomicBool::new(false);
static OVERLAPS: AtomicU64 = AtomicU64::new(0);

impl Component for Worker {
    const SIGN: &'static str = "worker";
    type Config = Self;

    fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(config)
    }
}

impl Lifecycle for Worker {}

impl Cronjob for Worker {
    fn every(&self) -> Duration {
        Duration::from_millis(1)
    }

    async fn work(&self) -> Result<()> {
        let how = HOW.iter().position(|how| *how == self.how).unwrap();
        RUNS[how].fetch_add(1, Ordering::SeqCst);
        match self.how.as_str() {
            "badly" => Err(Error::other("asked to")),
            "panicking" => panic!("asked to"),
            "slowly" => {
                let overlaps = BUSY.swap(true, Ordering::SeqCst);
                OVERLAPS.fetch_add(u64::from(overlaps), Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                BUSY.store(false, Ordering::SeqCst);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn runs() -> [u64; HOW.len()] {
    std::array::from_fn(|how| RUNS[how].load(Ordering::SeqCst))
}

#[test]
fn each_run_has_its_turn_until_the_stage_ends() {
    let mut registry = Registry::new();
    registry.cronjob::<Worker>();
    let mut engine = Engine::on(registry, NonZeroUsize::new(2).unwrap()).unwrap();
    let jobs = HOW.map(|how| format!("worker \"{how}\" {{ .how = \"{how}\" }}")).concat();
    engine.load(&Source::text("jobs", format!("stage {{ {jobs} }}"))).unwrap();
    let reached = eventually(PATIENCE, || runs().iter().all(|runs| *runs >= 5));
    assert!(reached, "{:?}", runs());
    assert_eq!(OVERLAPS.load(Ordering::SeqCst), 0);
    // When the engine has quit, so has its stage.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(engine.quit());
    let at_the_end = runs();
    assert!(!eventually(Duration::from_millis(50), || runs() != at_the_end));
}
