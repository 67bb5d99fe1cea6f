//! The handlet `ready`: says whether requests should be sent here.
//!
//! ```gorox
//! stage {
//! 	webapp "inside" { .hostnames = ("*")  rule $path == "/ready" { ready {} } }
//! 	httpxServer "inside" { .address = "127.0.0.1:9180"  .webapps = ("inside") }
//! }
//! ```
//!
//! The answer is 200 and `ready`, or 503 and `draining` once the program is about to end; as JSON,
//! `{"status":"ready"}`, for who asks for `application/json`. A reload makes no difference: the next stage
//! serves before the one before it drains.

use std::sync::{Arc, OnceLock, Weak};

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Stage};
use hemi_web::{Handlet, Reply, Request};
use http::StatusCode;
use serde::Deserialize;

use super::health::tell;

/// Says whether requests should be sent here.
#[derive(Debug, Deserialize, Explain)]
pub struct ReadyConfig {}

/// The handlet.
#[derive(Debug, Default)]
pub struct Ready {
    stage: OnceLock<Weak<Stage>>,
}

impl Component for Ready {
    const SIGN: &'static str = "ready";
    type Config = ReadyConfig;

    fn create(_: ReadyConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self::default())
    }
}

impl Lifecycle for Ready {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let _ = self.stage.set(Arc::downgrade(cx.stage()));
        Ok(())
    }
}

impl Handlet for Ready {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.tell(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.tell(req))
    }
}

impl Ready {
    fn tell(&self, req: &Request) -> Reply {
        let stage = self.stage.get().and_then(Weak::upgrade);
        match stage.is_some_and(|stage| stage.is_ending()) {
            true => tell(req, StatusCode::SERVICE_UNAVAILABLE, "draining"),
            false => tell(req, StatusCode::OK, "ready"),
        }
    }
}
