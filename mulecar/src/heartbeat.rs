//! The cronjob `heartbeatCronjob`: says that the program lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hemi_core::cronjob::Cronjob;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use serde::Deserialize;
use tracing::info;

/// Writes a line to the log of the program, again and again.
#[derive(Debug, Deserialize, Explain)]
pub(crate) struct HeartbeatConfig {}

pub(crate) struct HeartbeatCronjob {
    beats: Arc<AtomicU64>,
}

impl Component for HeartbeatCronjob {
    const SIGN: &'static str = "heartbeatCronjob";
    type Config = HeartbeatConfig;

    fn create(_: HeartbeatConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { beats: cx.keep(AtomicU64::default) })
    }
}

impl Lifecycle for HeartbeatCronjob {}

impl Cronjob for HeartbeatCronjob {
    async fn work(&self) -> Result<()> {
        let beat = self.beats.fetch_add(1, Ordering::Relaxed) + 1;
        info!(beat, "heartbeat");
        Ok(())
    }
}
