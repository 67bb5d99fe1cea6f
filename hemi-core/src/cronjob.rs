//! The kind `cronjob`: work that the clock starts.
//!
//! ```
//! use std::time::Duration;
//! use hemi_core::cronjob::{Cronjob, CronjobRegistry};
//! use hemi_core::{Component, CreateCx, Explain, Lifecycle, Registry, Result};
//!
//! /// Counts the hours.
//! #[derive(serde::Deserialize, Explain)]
//! struct Hours {
//!     /// How often.
//!     every: Duration,
//! }
//! impl Component for Hours {
//!     const SIGN: &'static str = "hoursCronjob";
//!     type Config = Self;
//!     fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
//!         Ok(config)
//!     }
//! }
//! impl Lifecycle for Hours {}
//! impl Cronjob for Hours {
//!     fn every(&self) -> Duration {
//!         self.every
//!     }
//!     async fn work(&self) -> Result<()> {
//!         tracing::info!("one more");
//!         Ok(())
//!     }
//! }
//! Registry::new().cronjob::<Hours>();
//! ```

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};

use crate::config::KindName;
use crate::panics::catch;
use crate::{Component, Kind, Lifecycle, Place, Prepare, Rank, Registry, Result, Run};

/// The kind of cronjobs.
#[derive(Debug)]
pub struct CronjobKind;

impl KindName for CronjobKind {
    const NAME: &'static str = "cronjob";
}

impl Kind for CronjobKind {
    type Object = dyn Send + Sync;
    const RANK: Rank = Rank::CRONJOB;
    const PLACE: Place = Place::Stage;
}

/// Work that is done again and again. One run is over before the next begins; a failure or a panic of
/// one does not keep the next from its turn.
pub trait Cronjob: Lifecycle {
    /// How long from one start to the next; the first comes after as long. At least a millisecond.
    fn every(&self) -> Duration;

    /// Does the work once.
    fn work(&self) -> impl Future<Output = Result<()>> + Send;
}

/// Registers cronjobs.
pub trait CronjobRegistry {
    /// Adds a cronjob.
    fn cronjob<C: Cronjob + Component>(&mut self) -> &mut Self;
}

impl CronjobRegistry for Registry {
    fn cronjob<C: Cronjob + Component>(&mut self) -> &mut Self {
        self.add_with::<CronjobKind, C>(|job: Arc<C>| job, |job: Arc<C>| Arc::new(Scheduled(job)))
    }
}

/// A cronjob with its schedule around it.
struct Scheduled<C>(Arc<C>);

impl<C: Cronjob> Lifecycle for Scheduled<C> {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        Lifecycle::prepare(&*self.0, cx)
    }

    async fn run(&self, cx: &Run) {
        let work = async {
            let mut ticks = interval(self.0.every().max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first tick comes at once.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                match catch(pin!(self.0.work())).await {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => warn!("cronjob failed: {e}"),
                    Err(panic) => error!("cronjob panicked: {panic}"),
                }
            }
        };
        tokio::select! {
            () = cx.shut().cancelled() => {}
            () = work => {}
        }
    }
}
