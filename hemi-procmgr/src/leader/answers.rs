//! What a leader does when it is asked, by its control API or by a signal.

use std::rc::Rc;
use std::time::Duration;

use hemi_core::BoxFuture;
use rustix::process::Signal;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::timeout;
use tracing::error;

use super::places::Place;
use super::worker::{Phase, Worker};
use super::{Leader, refused};
use crate::control::{self, Act, ConfigView, Control, Done, Event, Overview, Refused};
use crate::messages::{Order, Outcome};

/// Questions that wait, at most.
const WAITING: usize = 64;

/// How long the report of a worker is waited for.
const REPORT: Duration = Duration::from_secs(1);

/// Asks a leader from other threads.
#[derive(Clone)]
pub(super) struct Asker {
    asks: mpsc::Sender<Asked>,
    events: broadcast::Sender<Event>,
}

/// What was asked, and where the answer goes.
pub(super) enum Asked {
    Overview(oneshot::Sender<Overview>),
    Config(oneshot::Sender<ConfigView>),
    Act(Act, oneshot::Sender<Result<Done, Refused>>),
}

impl Asker {
    /// One who asks, and where it arrives what is asked.
    pub(super) fn new(events: broadcast::Sender<Event>) -> (Self, mpsc::Receiver<Asked>) {
        let (asks, asked) = mpsc::channel(WAITING);
        (Self { asks, events }, asked)
    }

    /// The answer; none if the leader ends.
    async fn ask<A>(&self, ask: impl FnOnce(oneshot::Sender<A>) -> Asked) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.ok()?;
        answered.await.ok()
    }
}

impl Control for Asker {
    fn overview(&self) -> BoxFuture<'_, Overview> {
        Box::pin(async { self.ask(Asked::Overview).await.unwrap_or_default() })
    }

    fn config(&self) -> BoxFuture<'_, ConfigView> {
        Box::pin(async { self.ask(Asked::Config).await.unwrap_or_default() })
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<Done, Refused>> {
        Box::pin(async {
            let acted = self.ask(|answer| Asked::Act(act, answer)).await;
            acted.unwrap_or_else(|| Err(refused("the program is ending")))
        })
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

impl Leader {
    /// Does what was asked for. Who asked may have gone by then.
    pub(super) async fn answer(self: Rc<Self>, asked: Asked) {
        match asked {
            Asked::Overview(answer) => drop(answer.send(self.overview().await)),
            Asked::Config(answer) => drop(answer.send(self.config().await)),
            Asked::Act(act, answer) => {
                let done = self.act(act).await;
                let _ = answer.send(done.map(|message| Done { message }));
            }
        }
    }

    async fn act(self: &Rc<Self>, act: Act) -> Result<String, Refused> {
        match act {
            Act::Reload => self.reload().await,
            Act::Rework => self.rework().await,
            Act::Upgrade { binary } => self.upgrade(binary).await,
            Act::Reopen => self.reopen().await,
            Act::Quit => Ok(self.quit().to_owned()),
            Act::Stop => Ok(self.stop().to_owned()),
            Act::Recmd { address } => self.place(Place::Cmdui, address.as_deref()),
            Act::Reweb { address } => self.place(Place::Webui, address.as_deref()),
        }
    }

    /// Does what a signal stands for. What is refused is said in the log.
    pub(super) async fn heed_signal(self: Rc<Self>, signal: Signal) {
        let act = match signal {
            Signal::QUIT => Act::Stop,
            Signal::HUP => Act::Reload,
            Signal::USR1 => Act::Reopen,
            Signal::USR2 => Act::Upgrade { binary: None },
            _ => Act::Quit,
        };
        // Reloads say so themselves.
        let says = act == Act::Reload;
        if let Err(refused) = self.act(act).await
            && !says
        {
            error!("refused: {}", refused.message);
        }
    }

    async fn overview(&self) -> Overview {
        let current = self.current.borrow().clone();
        let draining: Vec<_> =
            self.workers.borrow().iter().filter(|worker| worker.drains()).cloned().collect();
        let worker = match current {
            Some(worker) => Some(tell_of(&worker).await),
            None => None,
        };
        let mut retiring = Vec::new();
        for worker in draining {
            retiring.push(tell_of(&worker).await);
        }
        let history = self.history.borrow();
        Overview {
            program: self.program.name.to_owned(),
            version: self.program.version.to_owned(),
            leader: control::Leader {
                pid: std::process::id(),
                since: self.since,
                recent: self.recent.lines(),
            },
            worker,
            retiring,
            restarts: history.restarts.clone(),
            last_end: history.last_end.clone(),
            loads: history.loads,
            last_load: history.last_load.clone(),
        }
    }

    /// The config as it lies there now. Reading it may take its time, so that is done aside.
    async fn config(&self) -> ConfigView {
        let (source, constants, program) =
            (self.source.clone(), self.constants.clone(), self.program);
        let read = move || ConfigView::read(&source, &constants, &program.registry());
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }
}

async fn tell_of(worker: &Worker) -> control::Worker {
    let reported = async {
        // While it drains, its engine answers nobody.
        match worker.drains() {
            true => None,
            false => timeout(REPORT, worker.order(Order::Report)).await.ok(),
        }
    };
    let report = match reported.await {
        Some(Ok(Outcome::Report(report))) => Some(*report),
        _ => None,
    };
    let ends_by = match worker.phase.get() {
        Phase::Draining { ends_by } => Some(ends_by),
        _ => None,
    };
    control::Worker { pid: worker.pid, since: worker.since, ends_by, report }
}
