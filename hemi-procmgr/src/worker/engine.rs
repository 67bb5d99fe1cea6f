//! The engine, on a thread of its own: while it loads a config, the worker still answers its leader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hemi_core::config::{Constants, Source};
use hemi_core::io::IoDriver;
use hemi_core::listen::Listeners;
use hemi_core::quic::Kin;
use hemi_core::{Engine, Pulse, Stage};
use tokio::sync::{Notify, mpsc};
use tokio::time::interval;
use tracing::{info, warn};

use super::binder::Leader;
use crate::confine::Confined;
use crate::control::{Refused, Report};
use crate::messages::{Loaded, Next, Order, Outcome, ToLeader};
use crate::recent::Recent;
use crate::{Call, Failure};

/// An order of the leader.
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) order: Order,
}

/// What the engine works with.
pub(super) struct Setting {
    pub(super) source: Source,
    pub(super) constants: Constants,
    pub(super) confined: Confined,
    /// Taken by the engine.
    pub(super) kin: Option<Kin>,
}

/// What the worker knows of its engine.
pub(super) struct Shared {
    pub(super) listeners: Arc<Listeners>,
    pub(super) pulse: Pulse,
    stage: Mutex<Option<Arc<Stage>>>,
    recent: Recent,
    ended: Notify,
}

impl Shared {
    /// Waits for the end of the engine.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// What is served now.
    pub(super) fn loaded(&self) -> Option<Loaded> {
        self.stage().as_deref().map(loaded)
    }

    fn stage(&self) -> MutexGuard<'_, Option<Arc<Stage>>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Setting {
    fn load(&self, engine: &mut Engine, source: &Source) -> Result<Arc<Stage>, Refused> {
        self.confined.admits(engine.registry(), source, &self.constants)?;
        engine.load(source).map_err(|e| Refused::from(&e))
    }
}

fn loaded(stage: &Stage) -> Loaded {
    Loaded { stage: stage.id(), config: stage.config().to_owned() }
}

/// Starts the engine: where it takes orders, and what is known of it.
pub(super) fn start(
    call: &Call<'_>,
    mut setting: Setting,
    leader: Arc<Leader>,
    recent: Recent,
) -> Result<(mpsc::Sender<Job>, Arc<Shared>), Failure> {
    super::allow_many_files();
    let engine = Engine::start(call.program.registry())?;
    let engine = engine.io(call.options.io.unwrap_or(IoDriver::DEFAULT))?;
    let engine = engine.constants(setting.constants.clone()).grace(call.options.grace());
    let engine = engine.binder(leader.clone());
    let engine = match setting.kin.take() {
        Some(kin) => engine.kin(kin)?,
        None => engine,
    };
    let engine = match &call.options.webui {
        Some(_) => engine.metered(),
        None => engine,
    };
    let shared = Arc::new(Shared {
        listeners: engine.listeners().clone(),
        pulse: engine.pulse(),
        stage: Mutex::default(),
        recent,
        ended: Notify::new(),
    });
    let (jobs, orders) = mpsc::channel(super::JOBS);
    let of_thread = shared.clone();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(work(engine, &setting, orders, &leader, &of_thread)),
            Err(e) => warn!("cannot start the engine: {e}"),
        }
        of_thread.ended.notify_one();
    };
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(run);
    thread.map_err(|e| format!("cannot start a thread: {e}"))?;
    Ok((jobs, shared))
}

async fn work(
    mut engine: Engine,
    setting: &Setting,
    mut orders: mpsc::Receiver<Job>,
    leader: &Leader,
    shared: &Shared,
) {
    let mut second = interval(Duration::from_secs(1));
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            _ = second.tick() => {
                engine.sample();
                continue;
            }
        };
        let Some(Job { id, order }) = order else { return };
        let outcome = match order {
            Order::Load { config } => {
                let text = config.map(|text| Source::text("the config that was served", text));
                let source = text.as_ref().unwrap_or(&setting.source);
                let loading = setting.load(&mut engine, source);
                // What comes once this is answered is for the new stage.
                engine.closed().await;
                loading.map(|stage| {
                    let outcome = Outcome::Loaded(loaded(&stage));
                    *shared.stage() = Some(stage);
                    outcome
                })
            }
            Order::Report => {
                let report = Report { engine: engine.status(), recent: shared.recent.lines() };
                Ok(Outcome::Report(Box::new(report)))
            }
            Order::Reopen => {
                engine.reopen();
                Ok(Outcome::Nothing)
            }
            Order::Drain(next) => {
                info!("draining");
                let closed = ToLeader::Done { id, outcome: Ok(Outcome::Nothing) };
                match next {
                    Next::Worker { receives } => {
                        engine.hand_over(&receives).await;
                        leader.tell(&closed, vec![]);
                        engine.drained().await;
                    }
                    Next::Nobody => {
                        leader.tell(&closed, vec![]);
                        engine.quit().await;
                    }
                }
                return;
            }
            // It is the worker that stops.
            Order::Stop => Ok(Outcome::Nothing),
        };
        leader.tell(&ToLeader::Done { id, outcome }, vec![]);
    }
}
