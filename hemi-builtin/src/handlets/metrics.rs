//! The handlet `metrics`: what the stage counts, for Prometheus and its like.
//!
//! ```gorox
//! stage {
//! 	webapp "site" { .hostnames = ("*")  rule "pages" { .returnCode = 200 } }
//! 	webapp "inside" { .hostnames = ("*")  rule $path == "/metrics" { metrics {} } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! 	httpxServer "inside" { .address = "127.0.0.1:9180"  .webapps = ("inside") }
//! }
//! ```
//!
//! In the text format of Prometheus (0.0.4), or as OpenMetrics (1.0) if the request's `accept` prefers
//! that. In a stage that has this handlet, webapps count requests by their rules: by the name of each,
//! or its place among them, from 0; those that no rule has answered stand under `rule=""`. Counters
//! outlive reloads. Serve it where only those come who may know.

use std::sync::{Arc, OnceLock, Weak};

use hemi_core::metrics::{Exposition, Measures};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Stage};
use hemi_proto::accept::{Quality, named};
use hemi_web::{Handlet, Reply, Request, Response};
use http::StatusCode;
use http::header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue, VARY};
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::error;

use super::{is_get_or_head, only_get_and_head};

/// Tells what the stage counts.
#[derive(Debug, Deserialize, Explain)]
pub struct MetricsConfig {}

/// The handlet.
#[derive(Debug, Default)]
pub struct Metrics {
    stage: OnceLock<Weak<Stage>>,
    /// However many ask, one answer is made at a time.
    turn: Mutex<()>,
}

impl Component for Metrics {
    const SIGN: &'static str = "metrics";
    type Config = MetricsConfig;

    fn create(_: MetricsConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self::default())
    }
}

impl Lifecycle for Metrics {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        cx.meter();
        let _ = self.stage.set(Arc::downgrade(cx.stage()));
        Ok(())
    }
}

impl Handlet for Metrics {
    async fn handle(&self, req: &mut Request) -> Reply {
        if !is_get_or_head(req.method()) {
            return only_get_and_head().into();
        }
        let Some(stage) = self.stage.get().and_then(Weak::upgrade) else {
            return StatusCode::SERVICE_UNAVAILABLE.into();
        };
        let exposition = exposition_for(req.headers());
        let _turn = self.turn.lock().await;
        // It reads files, and takes locks of others.
        let text =
            tokio::task::spawn_blocking(move || Measures::of(&stage).write(exposition)).await;
        match text {
            Ok(text) => {
                let media_type = HeaderValue::from_static(exposition.media_type());
                Response::typed(media_type, text)
                    .field(CACHE_CONTROL, HeaderValue::from_static("no-store"))
                    .field(VARY, HeaderValue::from(ACCEPT))
                    .into()
            }
            Err(e) => {
                error!("metrics can't be collected: {e}");
                StatusCode::INTERNAL_SERVER_ERROR.into()
            }
        }
    }
}

/// OpenMetrics for those who name it and like nothing better.
fn exposition_for(headers: &HeaderMap) -> Exposition {
    let open = named(headers, "application/openmetrics-text").filter(|q| !Quality::is_zero(*q));
    match open {
        Some(open) if named(headers, "text/plain") <= Some(open) => Exposition::OpenMetrics,
        _ => Exposition::Prometheus,
    }
}
