//! The leader: a small process that keeps the listening sockets and sees to it that a worker serves on
//! them. It holds no traffic.
//!
//! All of it runs on one thread. What must not happen at the same time, such as a reload and an upgrade,
//! waits for [`Leader::changing`].

mod allowed;
mod answers;
mod history;
mod kin;
mod lock;
mod places;
mod sockets;
mod start;
mod succession;
mod supervise;
mod worker;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use hemi_core::config::{Constants, Source};
use hemi_core::listen::Bound;
use hemi_core::status::Timestamp;
use rustix::process::Signal;
use tokio::sync::{Mutex, Notify, broadcast, watch};
use tokio::task::spawn_local;
use tracing::{debug, error, info};

use crate::Program;
use crate::admin::Admin;
use crate::channel::Receiver;
use crate::control::{Event, Refused, What};
use crate::dirs::Home;
use crate::logging::{self, Output};
use crate::messages::{Next, Order, Outcome, ToLeader, ToWorker};
use crate::recent::Recent;
use crate::systemd::Notifier;

use allowed::Allowed;
use history::History;
use kin::{Kin, Member};
use lock::Lock;
use sockets::Sockets;
use worker::{Phase, Worker};

pub(crate) use start::{LEADER, StartedBy, run};
pub(crate) use succession::{serves, spawn};
pub(crate) use worker::WORKER;

/// How long a worker may take until it serves.
const READY: Duration = Duration::from_secs(60);

/// How long a worker may take to drain, beyond what it grants its stage.
const DRAIN: Duration = Duration::from_secs(10);

/// How long a worker may take to stop before it is killed.
const STOP: Duration = Duration::from_millis(500);

/// Workers that drain at the same time, at most.
const DRAINING: usize = 8;

/// The leader.
pub(crate) struct Leader {
    program: Program,
    /// What the workers get as arguments.
    args: Vec<String>,
    /// How long a worker may take to drain.
    drain: Duration,
    /// Whose processes they are.
    worker_user: u32,
    /// Where the config comes from.
    source: Source,
    constants: Constants,
    /// None if there is no directory to keep anything in.
    home: Option<Home>,
    since: Timestamp,
    binary: PathBuf,
    sockets: Sockets,
    allowed: Allowed,
    kin: Kin,
    /// None if it says what it says to who has started it.
    output: Option<Output>,
    notifier: Notifier,
    /// All that live.
    workers: RefCell<Vec<Rc<Worker>>>,
    /// The one that serves.
    current: RefCell<Option<Rc<Worker>>>,
    history: RefCell<History>,
    /// Held while the worker or its config is being changed.
    changing: Mutex<()>,
    /// Held while another leader is to take over.
    upgrading: Mutex<()>,
    /// How often in a row it was tried to start a worker in the place of one that did not live long.
    attempts: Cell<u32>,
    /// Whether it is to end, and the signal that tells others so.
    ending: watch::Sender<Option<Signal>>,
    /// Another leader has taken over.
    succeeded: Cell<bool>,
    /// The leader before this one still drains.
    predecessor: Cell<bool>,
    lock: RefCell<Option<Lock>>,
    admin: RefCell<Option<Admin>>,
    /// Where the control socket is.
    socket: RefCell<Option<PathBuf>>,
    over: Notify,
    events: broadcast::Sender<Event>,
    recent: Recent,
}

impl Leader {
    /// Starts a worker, and waits until it serves: this config, or what lies where the config comes from.
    async fn start(self: &Rc<Self>, config: Option<String>) -> Result<Rc<Worker>, Refused> {
        let cannot = |e: std::io::Error| refused(format!("cannot start a worker: {e}"));
        let (worker, receiver) = Worker::spawn(self.program.name, &self.args).map_err(cannot)?;
        let worker = self.admit(worker, receiver);
        let loading = async {
            self.introduce(&worker).await.map_err(cannot)?;
            self.load(&worker, config).await
        };
        match loading.await {
            Ok(_) => Ok(worker),
            Err(refused) => {
                worker.signal(Signal::KILL);
                worker.ended().await;
                Err(refused)
            }
        }
    }

    /// Has a worker load a config, and remembers that it did.
    async fn load(&self, worker: &Worker, config: Option<String>) -> Result<u64, Refused> {
        let again = config.is_some();
        self.read_addresses(config.as_deref()).await;
        let loading = worker.order(Order::Load { config });
        let late = || refused(format!("it does not serve after {} seconds", READY.as_secs()));
        match tokio::time::timeout(READY, loading).await.unwrap_or_else(|_| Err(late()))? {
            Outcome::Loaded(loaded) => {
                if !again {
                    self.history.borrow_mut().loaded(loaded.config);
                }
                Ok(loaded.stage)
            }
            _ => Err(refused("the worker makes no sense")),
        }
    }

    /// Begins to listen to a worker.
    fn admit(self: &Rc<Self>, worker: Worker, receiver: Receiver) -> Rc<Worker> {
        let worker = Rc::new(worker);
        debug!(pid = worker.pid, "a worker has started");
        self.workers.borrow_mut().push(worker.clone());
        let hearing = spawn_local(self.clone().hear(worker.clone(), receiver));
        let (leader, watched) = (self.clone(), worker.clone());
        spawn_local(async move {
            let end = watched.watch().await;
            // What it said last has arrived by now.
            hearing.abort();
            leader.bury(&watched, end);
        });
        worker
    }

    /// Hears what a worker says.
    async fn hear(self: Rc<Self>, worker: Rc<Worker>, mut receiver: Receiver) {
        loop {
            match receiver.next::<ToLeader>().await {
                Ok(Some((message, descriptors))) => {
                    self.heed(&worker, message, descriptors).await;
                }
                Ok(None) => return,
                Err(e) => {
                    error!(pid = worker.pid, "the worker makes no sense: {e}");
                    worker.signal(Signal::KILL);
                    return;
                }
            }
        }
    }

    async fn heed(
        &self,
        worker: &Worker,
        message: ToLeader,
        mut descriptors: Vec<std::os::fd::OwnedFd>,
    ) {
        match message {
            ToLeader::Hello { .. } => worker.journal(descriptors.pop()),
            ToLeader::Pulse => worker.pulse.felt(),
            ToLeader::Done { id, outcome } => worker.done(id, outcome),
            ToLeader::Bind { id, endpoint, cores, options } => {
                let allowed = self.allowed.admits(&endpoint);
                let bound = allowed
                    .and_then(|()| self.sockets.bind(worker.pid, &endpoint, cores, &options));
                let (bound, sockets) = match bound {
                    Ok(Bound { address, sockets }) => (Ok(address), sockets),
                    Err(e) => (Err(e.into()), Vec::new()),
                };
                // If it has gone, this is seen elsewhere.
                let _ = worker.tell(&ToWorker::Bound { id, bound }, sockets).await;
            }
            ToLeader::Release { endpoint } => {
                self.sockets.release(worker.pid, &endpoint);
                // While no worker serves, the sockets wait for the next one.
                if self.current.borrow().is_some() {
                    self.sockets.sweep();
                }
            }
            ToLeader::Holds { endpoint, address } => {
                let bound = Bound { address, sockets: descriptors };
                self.sockets.adopt(endpoint, bound, Some(worker.pid));
            }
            ToLeader::Held => {}
        }
    }

    /// Has a worker serve, and the one before it, if there is one, drain: comes back when that takes nothing
    /// new.
    async fn enthrone(self: &Rc<Self>, worker: Rc<Worker>) {
        worker.phase.set(Phase::Serving);
        let before = self.current.borrow_mut().replace(worker.clone());
        info!(pid = worker.pid, "worker is serving");
        let done = format!("worker {} serves", worker.pid);
        self.notifier.status(&done);
        self.tell(What::Started, done);
        self.sockets.sweep();
        if let Some(before) = before {
            let receives = self.sockets.received_by(worker.pid);
            self.retire(&before, Next::Worker { receives }).await;
        }
    }

    /// Has a worker drain and end, within some time: comes back when it takes nothing new.
    async fn retire(&self, worker: &Rc<Worker>, next: Next) {
        worker.phase.set(Phase::Draining { ends_by: Timestamp::now().after(self.drain) });
        let (drain, draining) = (self.drain, worker.clone());
        spawn_local(async move { draining.ends_within(drain).await });
        // One that has ended takes nothing either.
        let _ = worker.order(Order::Drain(next)).await;
    }

    /// Puts a new worker in the place of the one that serves.
    async fn rework(self: &Rc<Self>) -> Result<String, Refused> {
        let busy = || refused("another change is under way");
        let _changing = self.changing.try_lock().map_err(|_| busy())?;
        self.goes_on()?;
        let draining = self.workers.borrow().iter().filter(|worker| worker.drains()).count();
        if draining >= DRAINING {
            return Err(refused(format!("{draining} workers drain already")));
        }
        let loaded = self.start(None).await;
        self.note_load(&loaded);
        let worker = loaded?;
        self.enthrone(worker.clone()).await;
        Ok(format!("worker {} serves", worker.pid))
    }

    /// Loads the config anew, in the worker that serves; or in a new one, if there is none.
    async fn reload(self: &Rc<Self>) -> Result<String, Refused> {
        let waiting = async {
            if self.upgrading.try_lock().is_err() {
                return Err(refused("an upgrade is under way: try again when it is done"));
            }
            let changing = self.changing.lock().await;
            self.goes_on().map(|()| changing)
        };
        let _changing = waiting.await.inspect_err(|e| error!("not reloaded: {}", e.message))?;
        self.notifier.reloading();
        let current = self.current.borrow().clone();
        let loaded = match current {
            Some(worker) => {
                let stage = self.load(&worker, None).await;
                stage.map(|stage| format!("stage {stage} of worker {} serves", worker.pid))
            }
            None => match self.start(None).await {
                Ok(worker) => {
                    self.enthrone(worker.clone()).await;
                    Ok(format!("worker {} serves", worker.pid))
                }
                Err(refused) => Err(refused),
            },
        };
        self.note_load(&loaded);
        self.notify_ready();
        loaded
    }

    /// Whether there is any use in changing something.
    fn goes_on(&self) -> Result<(), Refused> {
        match (self.succeeded.get(), self.is_ending()) {
            (true, _) => Err(refused("another leader has taken over: ask again")),
            (_, true) => Err(refused("the program is ending")),
            (false, false) => Ok(()),
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.borrow().is_some()
    }

    /// Remembers how it went to load the config from where it comes from.
    fn note_load<T>(self: &Rc<Self>, loaded: &Result<T, Refused>) {
        let refused = loaded.as_ref().err().cloned();
        match &refused {
            Some(Refused { message, .. }) => {
                error!("the config is refused, and nothing is changed: {message}");
                self.tell(What::Refused, "the config is refused");
            }
            None => self.tell(What::Loaded, "the config is served"),
        }
        let generation = self.history.borrow_mut().tried(refused);
        if let Some(generation) = generation {
            self.clone().keep_when_proven(generation);
        }
    }

    /// Has the worker open its log files anew, and both processes what they say things to.
    async fn reopen(&self) -> Result<String, Refused> {
        let output = self.output.as_ref().map(Output::open).transpose().map_err(refused)?;
        if let Some(output) = &output {
            logging::redirect(output).map_err(|e| refused(format!("cannot write a log: {e}")))?;
        }
        let current = self.current.borrow().clone();
        let worker = current.ok_or_else(|| refused("no worker serves"))?;
        worker.order_with(Order::Reopen, output.map(Vec::from).unwrap_or_default()).await?;
        info!("log files are opened anew");
        Ok("log files are opened anew".to_owned())
    }

    /// Drains, then ends; the second time it ends at once.
    fn quit(self: &Rc<Self>) -> &'static str {
        if self.ending.send_replace(Some(Signal::TERM)).is_some() {
            return self.stop();
        }
        info!("draining; once more to stop at once");
        self.notifier.stopping();
        self.tell(What::Ending, "draining");
        let leader = self.clone();
        spawn_local(async move {
            let workers = leader.workers.borrow().clone();
            for worker in &workers {
                match worker.phase.get() {
                    Phase::Starting => worker.signal(Signal::KILL),
                    Phase::Serving => leader.retire(worker, Next::Nobody).await,
                    Phase::Draining { .. } => {}
                }
            }
            for worker in workers {
                worker.ended().await;
            }
            leader.give_up_upgrade().await;
            leader.over.notify_one();
        });
        "draining"
    }

    /// Ends at once.
    fn stop(self: &Rc<Self>) -> &'static str {
        self.ending.send_replace(Some(Signal::QUIT));
        info!("stopping");
        self.notifier.stopping();
        self.tell(What::Ending, "stopping");
        let leader = self.clone();
        spawn_local(async move {
            let workers = leader.workers.borrow().clone();
            for worker in &workers {
                worker.tell_to_stop();
            }
            for worker in workers {
                worker.ends_within(STOP).await;
            }
            leader.give_up_upgrade().await;
            leader.over.notify_one();
        });
        "stopping"
    }

    /// Tells those who watch what happens.
    fn tell(&self, what: What, message: impl Into<String>) {
        // Nobody may watch.
        let _ = self.events.send(Event::now(what, message));
    }
}

fn refused(why: impl Into<String>) -> Refused {
    Refused::from(why.into())
}
