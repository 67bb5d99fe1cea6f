//! The handlet `maintenance`: says that a site is closed for a while.
//!
//! ```gorox
//! stage {
//! 	webapp "shop" {
//! 		.hostnames = ("*")
//! 		rule {
//! 			maintenance { .file = %varDir + "/closed"  .retryAfter = 10m  .allow = ("10.0.0.0/8") }
//! 		}
//! 		rule { .returnCode = 200  .returnText = "open" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("shop") }
//! }
//! ```
//!
//! While it is on, requests are answered 503, with the webapp's page for that (`.errorPages`) if it has
//! one. Else, and to those that are let in, the next handlet or rule answers.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hemi_core::config::Diagnostic;
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run};
use hemi_web::{Handlet, Reply, Request, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use tokio::time::interval;
use tracing::info;

use crate::clients::Clients;
use hemi_core::watched::{self, Stamp};

/// Answers 503 while a site is closed.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceConfig {
    /// Whether the site is closed, whatever there is.
    #[serde(default)]
    on: bool,
    /// The site is closed as long as there is this file; seen within a second.
    #[serde(default)]
    file: Option<PathBuf>,
    /// When clients are to come back, to the second; 0s does not say.
    #[serde(default = "five_minutes")]
    retry_after: Duration,
    /// A page to show, in HTML; read when the stage starts.
    #[serde(default)]
    page: Option<PathBuf>,
    /// Whom it is open for all the same: addresses, blocks like `"10.0.0.0/8"`, `"unix"`.
    #[serde(default)]
    allow: Vec<Clients>,
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

/// Bytes of a page, at most.
const PAGE_SIZE: u64 = 1 << 20;

/// Closes a site.
#[derive(Debug)]
pub struct Maintenance {
    config: MaintenanceConfig,
    /// Whether there was the file when it was last looked for.
    closed: AtomicBool,
    page: OnceLock<Bytes>,
}

impl Component for Maintenance {
    const SIGN: &'static str = "maintenance";
    type Config = MaintenanceConfig;

    fn create(mut config: MaintenanceConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        if config.allow.iter().any(|clients| matches!(clients, Clients::Host(_))) {
            let message =
                "`.allow` has a name of a host, of which the addresses are not asked for here";
            return Err(Diagnostic::new(cx.span(), message).help("write addresses").into());
        }
        config.file = config.file.map(|path| cx.path(path));
        config.page = config.page.map(|path| cx.path(path));
        Ok(Self { config, closed: AtomicBool::new(false), page: OnceLock::new() })
    }
}

impl Lifecycle for Maintenance {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        if let Some(path) = &self.config.page {
            let cannot = |e| Error::env(format!("cannot read {}", path.display()), e);
            let page = watched::read_text(path, PAGE_SIZE).map_err(cannot)?;
            let _ = self.page.set(page.into());
        }
        if let Some(file) = &self.config.file {
            self.closed.store(Stamp::of(file).exists(), Ordering::Relaxed);
        }
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        let Some(file) = &self.config.file else { return };
        let follow = async {
            let mut ticks = interval(watched::EVERY);
            loop {
                ticks.tick().await;
                let path = file.clone();
                let looked = tokio::task::spawn_blocking(move || Stamp::of(&path).exists());
                let Ok(closed) = looked.await else { continue };
                if self.closed.swap(closed, Ordering::Relaxed) != closed {
                    info!(file = %file.display(), closed, "maintenance");
                }
            }
        };
        tokio::select! {
            () = cx.shut().cancelled() => {}
            () = follow => {}
        }
    }
}

impl Handlet for Maintenance {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.check(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.check(req))
    }
}

impl Maintenance {
    fn check(&self, req: &Request) -> Reply {
        let closed = self.config.on || self.closed.load(Ordering::Relaxed);
        let ip = req.remote_ip();
        if !closed || self.config.allow.iter().any(|clients| clients.hold(ip)) {
            return Reply::Next;
        }
        let mut response = match self.page.get() {
            Some(page) => Response::html(page.clone()).with_status(StatusCode::SERVICE_UNAVAILABLE),
            None => StatusCode::SERVICE_UNAVAILABLE.into(),
        };
        let fields = response.headers_mut();
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !self.config.retry_after.is_zero() {
            fields.insert(RETRY_AFTER, self.config.retry_after.as_secs().max(1).into());
        }
        response.into()
    }
}
