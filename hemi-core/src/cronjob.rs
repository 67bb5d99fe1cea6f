//! The kind `cronjob`: work that the clock starts.
//!
//! A cronjob is a component that can do its work once. When that is, every one of them is told by the
//! same properties, those of [`CronjobConfig`]: `nightly "main" { .cron = "0 3 * * *" }`, or by a
//! [`Schedule`] in code.
//!
//! ```
//! use hemi_core::cronjob::{Cronjob, CronjobRegistry};
//! use hemi_core::{Component, Explain, Registry, Result};
//!
//! /// Says so.
//! #[derive(serde::Deserialize, Explain, Component)]
//! struct Nightly {}
//! impl Cronjob for Nightly {
//!     async fn work(&self) -> Result<()> {
//!         tracing::info!("another night");
//!         Ok(())
//!     }
//! }
//! Registry::new().cronjob::<Nightly>();
//! ```

mod config;
mod schedule;
mod state;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::KindName;
use crate::metrics::Measures;
use crate::panics::catch;
use crate::{
    BoxFuture, Component, CreateCx, Kind, Lifecycle, Parts, Place, Prepare, Rank, Registry, Result,
    Run,
};

pub use config::CronjobConfig;
use schedule::Point;
pub use schedule::Schedule;
pub use state::{LastRun, Status};
use state::{Start, State, Turn, UnderWay};

/// The kind of cronjobs.
#[derive(Debug)]
pub struct CronjobKind;

impl KindName for CronjobKind {
    const NAME: &'static str = "cronjob";
}

impl Kind for CronjobKind {
    type Object = dyn CronjobStatus;
    const RANK: Rank = Rank::CRONJOB;
    const PLACE: Place = Place::Stage;
}

/// Work that is done again and again. One run is over before the next begins, be it of the stage before;
/// a start that would come too early is left out. A failure or a panic of one run does not keep the next
/// from its turn.
///
/// When its stage drains, a run that is under way may go on until [`Run::stop`].
pub trait Cronjob: Lifecycle {
    /// Does the work once. It runs on a core, which it must not block, and is dropped where it waits
    /// when it takes longer than it may.
    ///
    /// # Errors
    /// When it could not be done: this is logged, and seen in the [`Status`].
    fn work(&self) -> impl Future<Output = Result<()>> + Send;
}

/// What others may ask of a cronjob.
pub trait CronjobStatus: Send + Sync {
    /// How it is doing; reloads do not reset it.
    fn status(&self) -> Status;

    /// Its counters, by their names in metrics.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        let Status { runs, failures, skips, .. } = self.status();
        vec![("runs", runs), ("failures", failures), ("skips", skips)]
    }
}

/// Registers cronjobs.
pub trait CronjobRegistry {
    /// Adds a cronjob.
    fn cronjob<C: Cronjob + Component>(&mut self) -> &mut Self;
}

impl CronjobRegistry for Registry {
    fn cronjob<C: Cronjob + Component>(&mut self) -> &mut Self {
        self.add::<CronjobKind, Scheduled<C>>(|job| job)
    }
}

/// A cronjob with its schedule.
///
/// ```
/// # use hemi_core::{Lifecycle, Parts, cronjob::{Cronjob, Schedule, Scheduled}};
/// # struct Nightly {}
/// # impl Lifecycle for Nightly {}
/// # impl Cronjob for Nightly {
/// #     async fn work(&self) -> hemi_core::Result<()> { Ok(()) }
/// # }
/// let mut parts = Parts::new();
/// let schedule = Schedule::cron("0 3 * * *", "Europe/Berlin")?;
/// Scheduled::new(Nightly {}, schedule).install("main", &mut parts)?;
/// # Ok::<(), hemi_core::Error>(())
/// ```
pub struct Scheduled<C> {
    job: C,
    schedule: Schedule,
    state: Arc<State>,
}

impl<C: Cronjob> Scheduled<C> {
    /// A cronjob of a stage that is built in code.
    #[must_use]
    pub fn new(job: C, schedule: Schedule) -> Self {
        Self { job, schedule, state: Arc::default() }
    }

    /// Adds it to the stage.
    ///
    /// # Errors
    /// When the stage has a cronjob of that name.
    pub fn install(self, name: &str, parts: &mut Parts) -> Result<Arc<Self>> {
        let job = Arc::new(self);
        parts.add::<CronjobKind>(name, job.clone(), job.clone())?;
        Ok(job)
    }
}

impl<C: Cronjob + Component> Component for Scheduled<C> {
    const SIGN: &'static str = C::SIGN;
    const ABOUT: Option<&'static str> = C::ABOUT;
    type Config = (C::Config, CronjobConfig);

    fn create((config, times): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let schedule = times.schedule(cx.span())?;
        Ok(Self { job: C::create(config, cx)?, schedule, state: cx.keep(State::default) })
    }
}

impl<C: Cronjob> Lifecycle for Scheduled<C> {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        Lifecycle::prepare(&self.job, cx)
    }

    async fn run(&self, cx: &Run) {
        tokio::join!(Lifecycle::run(&self.job, cx), self.keep_time(cx));
    }

    fn measure(&self, out: &mut Measures) {
        Lifecycle::measure(&self.job, out);
        self.state.status().measure(out);
    }
}

impl<C: Cronjob> CronjobStatus for Scheduled<C> {
    fn status(&self) -> Status {
        self.state.status()
    }
}

impl<C: Cronjob> Scheduled<C> {
    async fn keep_time(&self, cx: &Run) {
        let mut run = None;
        {
            let (turn, seen) = self.state.take_turn();
            tokio::select! {
                () = cx.shut().cancelled() => {}
                () = self.start_runs(&turn, seen, &mut run) => {}
            }
        }
        tokio::select! {
            () = end_of(&mut run) => {}
            () = cx.stop().cancelled() => {}
        }
    }

    /// Starts runs for as long as it is this stage's turn. `current` is the one under way.
    async fn start_runs<'a>(
        &'a self,
        turn: &Turn,
        mut seen: Point,
        current: &mut Option<BoxFuture<'a, ()>>,
    ) {
        loop {
            let due = self.schedule.after(seen, Point::now());
            turn.announce(due);
            let come = self.schedule.wait(due);
            let mut come = pin!(come);
            loop {
                tokio::select! {
                    () = &mut come => break,
                    () = end_of(current), if current.is_some() => {}
                }
            }
            seen = due.map_or(seen, |due| due.planned);
            match turn.start(seen) {
                Start::Run(under_way) => *current = Some(Box::pin(self.work(under_way))),
                Start::Skip => {}
                Start::NotMine => return,
            }
        }
    }

    async fn work(&self, under_way: UnderWay) {
        let limit = self.schedule.timeout.unwrap_or(Duration::MAX);
        under_way.end(match timeout(limit, catch(pin!(self.job.work()))).await {
            Ok(Ok(result)) => result.map_err(|e| e.to_string()),
            Ok(Err(panic)) => Err(format!("panicked: {panic}")),
            Err(_) => Err(format!("not done after {limit:?}")),
        });
    }
}

impl<C> fmt::Debug for Scheduled<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedule, state, .. } = self;
        f.debug_struct("Scheduled").field("schedule", schedule).field("state", state).finish()
    }
}

/// Sees a run to its end, if there is one.
async fn end_of(run: &mut Option<BoxFuture<'_, ()>>) {
    if let Some(under_way) = run {
        under_way.await;
        *run = None;
    }
}
