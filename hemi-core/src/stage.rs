//! A stage: the components of one config, from their creation to their end.

mod build;
mod parts;

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::component::{Kind, Rank};
use crate::cores::Cores;
use crate::engine::LAST_LINGER;
use crate::listen::Listeners;
use crate::panics::{catch, catch_call};
use crate::status::Timestamp;
use crate::{Error, Result};

pub use build::Needs;
pub(crate) use build::{Build, Built, Claim};
use parts::Life;
pub use parts::Parts;

/// Fires when a component is to finish.
pub type Shut = CancellationToken;

/// Which component some state belongs to, across stages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    /// Of all that the config says about it.
    pub(crate) digest: u64,
}

/// State of components, to be taken over by the same components of the next stage.
pub(crate) type Carried = HashMap<(Identity, TypeId), Arc<dyn Any + Send + Sync>>;

/// The components of one config, created and prepared, and running until they are drained.
pub struct Stage {
    id: u64,
    parts: Parts,
    carried: Arc<Carried>,
    config: String,
    shuts: HashMap<Rank, Shut>,
    stop: Shut,
    linger: OnceLock<Duration>,
    /// Counts what still takes connections.
    accepting: TaskTracker,
    /// Fires when the program is about to end.
    ending: Shut,
    since: Timestamp,
}

impl Stage {
    pub(crate) fn new(id: u64, parts: Parts, carried: Carried, config: &str, ending: Shut) -> Self {
        let shuts = parts.ranks().map(|rank| (rank, Shut::new())).collect();
        let (carried, linger) = (Arc::new(carried), OnceLock::new());
        let (config, stop, since) = (config.to_owned(), Shut::new(), Timestamp::now());
        let accepting = TaskTracker::new();
        Self { id, parts, carried, config, shuts, stop, linger, accepting, ending, since }
    }

    /// Counted from 1 in this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The config it was made of, with what that includes; nothing, if it was built in code.
    #[must_use]
    pub fn config(&self) -> &str {
        &self.config
    }

    /// When it was made.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// A component by its kind and name.
    #[must_use]
    pub fn find<K: Kind>(&self, name: &str) -> Option<Arc<K::Object>> {
        self.parts.find::<K>(name)
    }

    /// All components of a kind, with their names, in the order of these.
    #[must_use]
    pub fn all<K: Kind>(&self) -> Vec<(&str, Arc<K::Object>)> {
        self.parts.all::<K>()
    }

    /// Whether the program is about to end: it drains its stages, and no other comes.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    pub(crate) fn lives(&self) -> impl Iterator<Item = &Life> {
        self.parts.lives()
    }

    pub(crate) fn carried(&self) -> Arc<Carried> {
        self.carried.clone()
    }

    /// To be held by what takes connections, for as long as it does.
    pub fn accepting(&self) -> TaskTrackerToken {
        self.accepting.token()
    }

    /// Waits until nothing of it takes connections any more, once it drains.
    pub(crate) async fn closed(&self) {
        self.accepting.wait().await;
    }

    /// Prepares every component in the order of ranks.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        listeners: &Listeners,
        cores: usize,
        metering: Metering,
    ) -> Result<()> {
        let metered = Cell::new(metering == Metering::Always);
        let cx = Prepare { stage: self, listeners, cores, metered };
        for life in self.parts.lives() {
            catch_call(|| life.component.prepare(&cx)).unwrap_or_else(|panic| {
                Err(Error::other(format!("{} \"{}\" panicked: {panic}", life.kind, life.name)))
            })?;
        }
        Ok(())
    }

    /// Starts every component; what comes back is needed to drain them.
    pub(crate) fn start(self: &Arc<Self>, cores: &Arc<Cores>) -> Running {
        let mut tasks: Vec<(Rank, JoinHandle<()>)> = Vec::new();
        for (index, life) in self.parts.lives().enumerate() {
            let shut = self.shuts[&life.rank].clone();
            let run = Run { stage: self.clone(), shut, cores: cores.clone() };
            let span = info_span!("component", stage = self.id, kind = life.kind, name = life.name);
            let component = life.component.clone();
            let task = async move {
                let work = pin!(component.run(&run));
                if let Err(panic) = catch(work).await {
                    error!("the component panicked, and works no more: {panic}");
                }
            };
            tasks.push((life.rank, cores.spawn(index, task.instrument(span))));
        }
        Running { stage: self.clone(), tasks }
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("id", &self.id).field("parts", &self.parts).finish()
    }
}

/// A stage at work.
pub(crate) struct Running {
    pub(crate) stage: Arc<Stage>,
    tasks: Vec<(Rank, JoinHandle<()>)>,
}

impl Running {
    /// Ends the components, highest rank first, each rank when the one above it is done. What is still
    /// under way after `grace` is told to stop, and a second later is given up.
    ///
    /// Servers are told at once, before what comes back is awaited: they take nothing new, however long
    /// cronjobs are busy.
    ///
    /// `linger`: see [`Run::linger`].
    pub(crate) fn drain(
        self,
        grace: Duration,
        linger: Duration,
    ) -> impl Future<Output = ()> + Send + 'static {
        let _ = self.stage.linger.set(linger);
        self.stage.accepting.close();
        let shuts = self.stage.shuts.iter();
        shuts.filter(|(rank, _)| **rank >= Rank::SERVER).for_each(|(_, shut)| shut.cancel());
        self.end(grace)
    }

    async fn end(mut self, grace: Duration) {
        let stage = self.stage.clone();
        let stop = stage.stop.clone();
        let aborts: Vec<_> = self.tasks.iter().map(|(_, task)| task.abort_handle()).collect();
        let drained = async {
            while let Some(rank) = self.tasks.iter().map(|(rank, _)| *rank).max() {
                stage.shuts[&rank].cancel();
                for (_, task) in self.tasks.extract_if(.., |(of, _)| *of == rank) {
                    let _ = task.await;
                }
            }
        };
        let hurry = async {
            tokio::time::sleep(grace).await;
            warn!(stage = stage.id, "not drained within {grace:?}: stopping what is under way");
            stop.cancel();
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            () = drained => info!(stage = stage.id, "stage has ended"),
            () = hurry => {
                // Those too that are not in `self.tasks` any more, for they are being awaited.
                aborts.iter().for_each(AbortHandle::abort);
                error!(stage = stage.id, "stage did not end: giving it up");
            }
        }
    }
}

/// When what the components of stages do is measured, also where that has a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metering {
    /// When one of them asks for it.
    Asked,
    Always,
}

/// What [`crate::Lifecycle::prepare`] may ask for.
#[derive(Debug)]
pub struct Prepare<'a> {
    stage: &'a Arc<Stage>,
    listeners: &'a Listeners,
    cores: usize,
    metered: Cell<bool>,
}

impl Prepare<'_> {
    /// The stage. A component that keeps hold of it keeps it weakly, for it is part of it.
    #[must_use]
    pub fn stage(&self) -> &Arc<Stage> {
        self.stage
    }

    /// The listening sockets of this process.
    #[must_use]
    pub fn listeners(&self) -> &Listeners {
        self.listeners
    }

    /// How many cores the engine has.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// Says that what the components of this stage do is to be measured, also where that has a price.
    /// Those of a higher rank hear of it.
    pub fn meter(&self) {
        self.metered.set(true);
    }

    /// Whether somebody of a lower rank wants that.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        self.metered.get()
    }
}

/// What [`crate::Lifecycle::run`] may ask for.
#[derive(Clone)]
pub struct Run {
    stage: Arc<Stage>,
    shut: Shut,
    cores: Arc<Cores>,
}

impl Run {
    /// Fires when the component is to finish: accept nothing new, let what is under way end.
    #[must_use]
    pub fn shut(&self) -> &Shut {
        &self.shut
    }

    /// Waits until the stage drains, and nothing of it takes connections any more. That is before [`Run::shut`] fires for what
    /// others still need.
    pub async fn closed(&self) {
        self.stage.closed().await;
    }

    /// Fires when the time for that is over.
    #[must_use]
    pub fn stop(&self) -> &Shut {
        &self.stage.stop
    }

    /// How long an idle connection may stay open after [`Run::shut`], so that its client hears with one
    /// more answer that it is the last, instead of finding the connection closed while it sends.
    #[must_use]
    pub fn linger(&self) -> Duration {
        self.stage.linger.get().copied().unwrap_or_default()
    }

    /// Whether another stage, or process, takes the place of the stage, which drains.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.linger() > LAST_LINGER
    }

    /// The stage.
    #[must_use]
    pub fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    /// The cores to start tasks on.
    #[must_use]
    pub fn cores(&self) -> &Cores {
        &self.cores
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("stage", &self.stage.id).finish_non_exhaustive()
    }
}
