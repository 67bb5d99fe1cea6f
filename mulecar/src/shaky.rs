//! The handlet `shaky`: fails again and again.

use std::sync::atomic::{AtomicU64, Ordering};

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request, Response};
use serde::Deserialize;

/// Panics on every second request.
#[derive(Debug, Default)]
pub(crate) struct Shaky {
    requests: AtomicU64,
}

/// Has nothing to say.
#[derive(Debug, Deserialize, Explain)]
pub(crate) struct ShakyConfig {}

impl Component for Shaky {
    const SIGN: &'static str = "shaky";
    type Config = ShakyConfig;

    fn create(_: ShakyConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self::default())
    }
}

impl Lifecycle for Shaky {}

impl Handlet for Shaky {
    async fn handle(&self, _: &mut Request) -> Reply {
        let earlier = self.requests.fetch_add(1, Ordering::Relaxed);
        assert!(earlier.is_multiple_of(2), "it is shaky");
        Response::text("held").into()
    }
}
