//! The engine: one stage at work, earlier ones draining, and the way from one to the next.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tracing::info;

use crate::config::{self, Constants, Source, Tree};
use crate::cores::{self, Cores};
use crate::io::IoDriver;
use crate::listen::{Binder, Listeners};
use crate::logger::LoggerKind;
use crate::metrics::Measures;
use crate::quic::Kin;
use crate::stage::{Build, Built, Carried, Metering, Needs, Parts, Running, Shut, Stage};
use crate::status::{Pace, StageStatus, Status, Timestamp};
use crate::{Error, Registry, Result};

/// How long a stage may take to drain, unless said otherwise.
pub const GRACE: Duration = Duration::from_secs(30);

/// How long idle connections of a stage that another replaces linger: see [`crate::Run::linger`].
const LINGER: Duration = Duration::from_secs(5);

/// The same when the program ends, and nobody takes their place.
pub(crate) const LAST_LINGER: Duration = Duration::from_millis(200);

/// Runs stages, one after the other, in this process.
///
/// ```no_run
/// # async fn run() -> hemi_core::Result<()> {
/// use hemi_core::{Engine, Registry, config::Source};
///
/// let mut engine = Engine::start(Registry::new())?;
/// engine.load(&Source::File("conf/one.conf".into()))?;
/// // A bad config is refused, and stage one keeps serving.
/// engine.load(&Source::File("conf/two.conf".into()))?;
/// engine.quit().await;
/// # Ok(())
/// # }
/// ```
pub struct Engine {
    registry: Registry,
    cores: Arc<Cores>,
    listeners: Arc<Listeners>,
    constants: Arc<Constants>,
    grace: Duration,
    current: Option<Running>,
    draining: Vec<Draining>,
    pace: Pace,
    metering: Metering,
    stages: u64,
    /// Fires when it quits.
    ending: Shut,
}

/// A stage that ends.
struct Draining {
    stage: Weak<Stage>,
    ends_by: Timestamp,
    task: JoinHandle<()>,
}

impl Engine {
    /// An engine on all cores this process may use.
    ///
    /// # Errors
    /// When the system refuses threads.
    pub fn start(registry: Registry) -> Result<Self> {
        Self::on(registry, cores::available())
    }

    /// An engine on this many cores.
    ///
    /// # Errors
    /// When the system refuses threads.
    pub fn on(registry: Registry, cores: NonZeroUsize) -> Result<Self> {
        let engine = Self {
            registry,
            cores: Arc::new(Cores::start(cores)?),
            listeners: Arc::default(),
            constants: Arc::default(),
            grace: GRACE,
            current: None,
            draining: Vec::new(),
            pace: Pace::default(),
            metering: Metering::Asked,
            stages: 0,
            ending: Shut::new(),
        };
        engine.io(IoDriver::DEFAULT)
    }

    /// Sets what moves the bytes of connections accepted from now on: [`IoDriver::DEFAULT`] if it is not called.
    ///
    /// # Errors
    /// When io_uring is asked for and the system has none, too old a one, or forbids it.
    pub fn io(self, driver: IoDriver) -> Result<Self> {
        self.cores.drive(driver)?;
        Ok(self)
    }

    /// Sets who binds the sockets that its stages listen on: this process itself, if it is not called.
    #[must_use]
    pub fn binder(mut self, binder: Arc<dyn Binder>) -> Self {
        self.listeners = Arc::new(Listeners::by(binder));
        self
    }

    /// Tells it of other processes that share its UDP sockets: to be called behind [`Engine::binder`].
    ///
    /// # Errors
    /// When the system has no room for another descriptor.
    pub fn kin(self, kin: Kin) -> Result<Self> {
        let inbox = kin.inbox.as_ref().map(OwnedFd::try_clone).transpose();
        let inbox = inbox.map_err(|e| Error::env("cannot hear other processes", e))?;
        self.listeners.set_kin(kin);
        if let Some(inbox) = inbox {
            let listeners = self.listeners.clone();
            self.cores.spawn(0, async move { Kin::listen(inbox, &listeners).await });
        }
        Ok(self)
    }

    /// Sets what `%topDir` and its like stand for in configs.
    #[must_use]
    pub fn constants(mut self, constants: Constants) -> Self {
        self.constants = Arc::new(constants);
        self
    }

    /// Has it measured what the components of its stages do, also where that has a price, such as how long
    /// requests take. Without this it is measured if a component asks for it.
    #[must_use]
    pub fn metered(mut self) -> Self {
        self.metering = Metering::Always;
        self
    }

    /// Sets how long a stage may take to drain.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Loads a config and puts its stage in the place of the current one, which drains in the
    /// background. On any error the current one goes on untouched.
    ///
    /// # Errors
    /// With all mistakes of the config; or with what the surroundings refused.
    pub fn load(&mut self, source: &Source) -> Result<Arc<Stage>> {
        let tree = config::load_tolerantly(source, &self.constants)?;
        let earlier = self.stage().map(|stage| stage.carried()).unwrap_or_default();
        let build = Build::new(self.constants.clone(), self.cores.count(), earlier);
        let Built { parts, carried, .. } = build.config(&self.registry, &tree)?;
        self.swap(parts, carried, tree.flat()).map_err(|e| e.shown(|mistakes| tree.error(mistakes)))
    }

    /// The same, with a stage that was built in code.
    ///
    /// # Errors
    /// With what the surroundings refused.
    pub fn load_parts(&mut self, parts: Parts) -> Result<Arc<Stage>> {
        self.swap(parts, Carried::new(), "")
    }

    fn swap(&mut self, parts: Parts, carried: Carried, config: &str) -> Result<Arc<Stage>> {
        let (id, ending) = (self.stages + 1, self.ending.clone());
        let stage = Arc::new(Stage::new(id, parts, carried, config, ending));
        stage.prepare(&self.listeners, self.cores.count(), self.metering)?;
        self.stages += 1;
        let running = stage.start(&self.cores);
        info!(stage = stage.id(), "stage is serving");
        if let Some(earlier) = self.current.replace(running) {
            self.drain(earlier, LINGER);
        }
        Ok(stage)
    }

    /// The stage that serves.
    #[must_use]
    pub fn stage(&self) -> Option<&Arc<Stage>> {
        self.current.as_ref().map(|running| &running.stage)
    }

    /// The sockets that its stages listen on.
    #[must_use]
    pub fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// For those who watch over its cores.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse(self.cores.clone())
    }

    /// How it stands. Reads a few files of `/proc`.
    #[must_use]
    pub fn status(&self) -> Status {
        let serving = self.stage().map(|stage| StageStatus::of(stage, None));
        let draining = self.draining.iter().rev().filter_map(|draining| {
            Some(StageStatus::of(&*draining.stage.upgrade()?, Some(draining.ends_by)))
        });
        Status {
            cores: self.cores(),
            stages: serving.into_iter().chain(draining).collect(),
            pace: self.pace.clone(),
            measures: self.stage().map(|stage| Measures::of(stage)).unwrap_or_default(),
        }
    }

    /// Notes for [`Status::pace`] what was done since the last call: to be called once a second by a
    /// program that shows it.
    pub fn sample(&mut self) {
        if let Some(running) = &self.current {
            self.pace.sample(&running.stage);
        }
    }

    /// How many cores it has.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores.count()
    }

    /// Tasks on its cores now: those of components, connections, and what these wait for.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.cores.tasks()
    }

    /// The components it knows.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Has the loggers open anew what they write to, for those who have moved their files away: from then
    /// on these are written no more. No line is lost.
    pub fn reopen(&self) {
        let loggers = self.stage().into_iter().flat_map(|stage| stage.all::<LoggerKind>());
        loggers.for_each(|(_, logger)| logger.reopen());
    }

    /// Ends all stages, each within its grace.
    pub async fn quit(self) {
        self.ending.cancel();
        self.end(LAST_LINGER).await;
    }

    /// Has its stage drain, for another process goes on with the same sockets: clients get the time to hear
    /// that they are to connect anew. Comes back when nothing new is taken; [`drained`](Self::drained) waits
    /// for the end.
    ///
    /// `received`: the UDP addresses at which the other process receives.
    pub async fn hand_over(&mut self, received: &[SocketAddr]) {
        self.listeners.leave(received);
        if let Some(last) = self.current.take() {
            self.drain(last, LINGER);
        }
        self.closed().await;
    }

    /// Waits until the stages before the one that serves take nothing new: what comes from then on is for
    /// that one.
    pub async fn closed(&self) {
        for stage in self.draining.iter().filter_map(|draining| draining.stage.upgrade()) {
            stage.closed().await;
        }
    }

    async fn end(mut self, linger: Duration) {
        if let Some(last) = self.current.take() {
            self.drain(last, linger);
        }
        self.drained().await;
    }

    /// Waits for the end of all that drains.
    pub async fn drained(mut self) {
        for draining in self.draining.drain(..) {
            let _ = draining.task.await;
        }
    }

    fn drain(&mut self, running: Running, linger: Duration) {
        self.draining.retain(|draining| !draining.task.is_finished());
        let stage = Arc::downgrade(&running.stage);
        let ends_by = Timestamp::now().after(self.grace);
        let task = self.cores.spawn(0, running.drain(self.grace, linger));
        self.draining.push(Draining { stage, ends_by, task });
    }
}

/// Feels whether the cores of an engine are at work.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Cores>);

impl Pulse {
    /// Waits until every core has run a task that it is given now.
    pub async fn beat(&self) {
        let tasks: Vec<_> = (0..self.0.count()).map(|core| self.0.spawn(core, async {})).collect();
        for task in tasks {
            // A core that has ended misses nothing.
            let _ = task.await;
        }
    }
}

impl Drop for Engine {
    /// Cuts what [`Engine::quit`] would wait for.
    fn drop(&mut self) {
        self.cores.stop();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("stage", &self.stage()).finish_non_exhaustive()
    }
}

/// Checks a config: does everything but touch the system. Comes back with what was read.
///
/// # Errors
/// With all mistakes.
pub fn check(registry: &Registry, source: &Source, constants: &Constants) -> Result<Tree> {
    let tree = config::load_tolerantly(source, constants)?;
    built(registry, &tree, constants)?;
    Ok(tree)
}

/// The files, directories and addresses that a config has to do with, beside the text of the config itself.
///
/// # Errors
/// With all mistakes of the config.
pub fn needs(registry: &Registry, source: &Source, constants: &Constants) -> Result<Needs> {
    let tree = config::load_tolerantly(source, constants)?;
    Ok(built(registry, &tree, constants)?.needs)
}

fn built(registry: &Registry, tree: &Tree, constants: &Constants) -> Result<Built> {
    Build::new(Arc::new(constants.clone()), 1, Arc::default()).config(registry, tree)
}

/// The whole of a simple program: serves until Ctrl-C or SIGTERM, then drains.
///
/// # Errors
/// With the mistakes of the config; or with what the surroundings refused.
pub async fn serve(registry: Registry, config: &str) -> Result<()> {
    let source = Source::text("config", config);
    serve_by(Engine::start(registry)?, |engine| engine.load(&source)).await
}

/// The same for a program that builds its stage in code.
///
/// # Errors
/// With what the surroundings refused.
pub async fn serve_parts(parts: Parts) -> Result<()> {
    serve_by(Engine::start(Registry::new())?, |engine| engine.load_parts(parts)).await
}

async fn serve_by(
    mut engine: Engine,
    load: impl FnOnce(&mut Engine) -> Result<Arc<Stage>>,
) -> Result<()> {
    // Before it serves: who is answered may end it at once.
    let wait = |kind| signal(kind).map_err(|e| Error::env("cannot wait for a signal", e));
    let (mut interrupt, mut terminate) =
        (wait(SignalKind::interrupt())?, wait(SignalKind::terminate())?);
    load(&mut engine)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    engine.quit().await;
    Ok(())
}
