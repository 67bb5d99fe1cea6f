//! A cronjob of your own. Usage: `cronjob`, scheduled by a config, or `cronjob code`, by code.
use std::io::Write;
use std::time::Duration;

use hemi_core::cronjob::{Cronjob, CronjobRegistry, Schedule, Scheduled};
use hemi_core::{Component, Engine, Error, Explain, Parts, Registry, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Calls.
#[derive(serde::Deserialize, Explain, Component)]
struct Cuckoo {
    /// What it calls.
    call: String,
}
impl Cronjob for Cuckoo {
    async fn work(&self) -> Result<()> {
        writeln!(std::io::stdout(), "{}", self.call).map_err(|e| Error::env("cannot call", e))
    }
}

const CONF: &str = r#"stage {
    cuckoo "often" { .call = "cuckoo"  .every = 100ms }
    cuckoo "noon" { .call = "lunch"  .cron = "0 12 * * MON-FRI"  .timeZone = "Europe/Berlin" }
}"#;

#[tokio::main]
async fn main() -> Result<()> {
    let mut registry = Registry::new();
    registry.cronjob::<Cuckoo>();
    if std::env::args().nth(1).is_none_or(|how| how != "code") {
        return hemi_core::serve(registry, CONF).await;
    }
    let (mut parts, cuckoo) = (Parts::new(), |call: &str| Cuckoo { call: call.to_owned() });
    let often = Schedule::every(Duration::from_millis(100));
    Scheduled::new(cuckoo("cuckoo from code"), often).install("often", &mut parts)?;
    let noon = Schedule::cron("0 12 * * MON-FRI", "Europe/Berlin")?;
    Scheduled::new(cuckoo("lunch"), noon).install("noon", &mut parts)?;
    let interrupt = signal(SignalKind::interrupt());
    let mut interrupt = interrupt.map_err(|e| Error::env("cannot wait for Ctrl-C", e))?;
    let mut engine = Engine::start(registry)?;
    engine.load_parts(parts)?;
    interrupt.recv().await;
    engine.quit().await;
    Ok(())
}
