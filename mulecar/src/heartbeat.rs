//! The cronjob `heartbeatCronjob`: says that the program lives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hemi_core::cronjob::Cronjob;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use serde::Deserialize;
use tracing::info;

/// Writes a line to the log of the program, again and again.
#[derive(Debug, Deserialize, Explain)]
pub(crate) struct HeartbeatConfig {
    /// How often.
    #[serde(default = "one_minute")]
    every: Duration,
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

pub(crate) struct HeartbeatCronjob {
    name: String,
    every: Duration,
    beats: AtomicU64,
}

impl Component for HeartbeatCronjob {
    const SIGN: &'static str = "heartbeatCronjob";
    type Config = HeartbeatConfig;

    fn create(config: HeartbeatConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let name = cx.name().to_owned();
        Ok(Self { name, every: config.every, beats: AtomicU64::new(0) })
    }
}

impl Lifecycle for HeartbeatCronjob {}

impl Cronjob for HeartbeatCronjob {
    fn every(&self) -> Duration {
        self.every
    }

    async fn work(&self) -> Result<()> {
        let beat = self.beats.fetch_add(1, Ordering::Relaxed) + 1;
        info!(name = self.name, beat, "heartbeat");
        Ok(())
    }
}
