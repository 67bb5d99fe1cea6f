//! The life of a leader, from its start to its end.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hemi_core::status::Timestamp;
use rustix::process::Signal;
use rustix::thread::disable_transparent_huge_pages;
use tokio::sync::{Mutex, Notify, broadcast, mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tracing::{info, warn};

use super::answers::{Asked, Asker};
use super::history::History;
use super::lock::{Lock, NoLock};
use super::sockets::Sockets;
use super::succession::{Estate, GONE, Parent};
use super::{Allowed, DRAIN, Kin, Leader, refused};
use crate::control::Refused;
use crate::dirs::{self, Home};
use crate::logging::Output;
use crate::messages::FromSuccessor;
use crate::options::Options;
use crate::recent::Recent;
use crate::signals::Signals;
use crate::systemd::{self, Notifier};
use crate::{Call, Failure, confine, logging};

/// The first argument of a process that is to be a leader, and has a parent that waits for it to serve.
pub(crate) const LEADER: &str = "@leader";

/// Events that those who watch may be behind.
const EVENTS: usize = 64;

/// By whom a leader was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartedBy {
    /// A person or a program; its standard input is not ours.
    Somebody,
    /// A process of this program, which listens on the other end of the standard input.
    Parent,
}

/// Leads until it is told to end.
pub(crate) fn run(call: &Call<'_>, by: StartedBy) -> Result<(), Failure> {
    // What is small is to stay small. Workers, which inherit it, take it back; if it is refused, so be it.
    let _ = disable_transparent_huge_pages(true);
    let recent = logging::begin("leader", call.options.debug, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
    LocalSet::new().block_on(&runtime, async {
        let mut parent = match by {
            StartedBy::Somebody => None,
            StartedBy::Parent => {
                let parent = Parent::meet().await;
                Some(parent.map_err(|e| format!("cannot hear what started this: {e}"))?)
            }
        };
        match begin(call, parent.as_mut(), recent).await {
            Ok((leader, signals, asked)) => {
                if let Some(parent) = parent {
                    spawn_local(leader.clone().outlive(parent));
                }
                leader.lead(signals, asked).await;
                Ok(())
            }
            Err(failure) => {
                if let Some(parent) = parent {
                    parent.tell(FromSuccessor::Failed(failure.message.clone())).await;
                }
                Err(failure)
            }
        }
    })
}

/// Gets a worker to serve, and leads.
async fn begin(
    call: &Call<'_>,
    mut parent: Option<&mut Parent>,
    recent: Recent,
) -> Result<(Rc<Leader>, Signals, mpsc::Receiver<Asked>), Failure> {
    let mut signals = Signals::watch()?;
    let leader = Rc::new(Leader::new(call, recent)?);
    leader.take_over(parent.as_mut().and_then(|parent| parent.estate.take()))?;
    let (asker, asked) = Asker::new(leader.events.clone());
    if !leader.predecessor.get() {
        // Who has had an answer from the worker can ask for more: what is asked until then waits.
        leader.open_control(asker.clone(), call.options, None);
    }
    let begun = match parent {
        Some(parent) => leader.follow(parent, &mut signals, asker, call.options).await,
        None => leader.serve(&mut signals).await,
    };
    if let Err(refused) = begun {
        // One that has just begun to serve would go on without a leader.
        leader.ending.send_replace(Some(Signal::KILL));
        let workers = leader.workers.borrow().clone();
        for worker in workers {
            worker.signal(Signal::KILL);
            worker.ended().await;
        }
        if !leader.predecessor.get() {
            leader.remove_files();
        }
        return Err(refused.message.into());
    }
    Ok((leader, signals, asked))
}

impl Leader {
    fn new(call: &Call<'_>, recent: Recent) -> Result<Self, Failure> {
        let (source, constants) = dirs::locate(call)?;
        let inherited = systemd::sockets(&call.env, std::process::id())?;
        confine::provide(call, &constants)?;
        let home = Home::new(call, &constants);
        let home = match home.prepare() {
            Ok(()) => Some(home),
            Err(e) => {
                warn!("{e}: actions on this program, such as status and reload, can't reach it");
                None
            }
        };
        let output = Output::of(call, &constants);
        let worker_user = match confine::user(call)? {
            Some(user) => user.uid,
            None => rustix::process::geteuid().as_raw(),
        };
        Ok(Self {
            program: *call.program,
            args: call.args.clone(),
            drain: call.options.grace() + DRAIN,
            worker_user,
            allowed: Allowed::to(worker_user),
            source,
            constants,
            home,
            since: Timestamp::now(),
            binary: own_binary(),
            sockets: Sockets::new(inherited),
            kin: Kin::new().map_err(|e| format!("cannot start: {e}"))?,
            output,
            notifier: Notifier::new(&call.env, std::process::id()),
            workers: RefCell::default(),
            current: RefCell::default(),
            history: RefCell::new(History::default()),
            changing: Mutex::new(()),
            upgrading: Mutex::new(()),
            attempts: Cell::new(0),
            ending: watch::Sender::default(),
            succeeded: Cell::new(false),
            predecessor: Cell::new(false),
            lock: RefCell::default(),
            admin: RefCell::default(),
            socket: RefCell::default(),
            over: Notify::new(),
            events: broadcast::channel(EVENTS).0,
            recent,
        })
    }

    /// Becomes the only leader here, but for the one that it takes over from.
    fn take_over(&self, estate: Option<Estate>) -> Result<(), Failure> {
        let Some(home) = &self.home else { return Ok(()) };
        let path = home.pid_file();
        let lock = match estate {
            Some(estate) => {
                self.predecessor.set(true);
                self.kin.inherit(estate.secret);
                *self.kin.elders.borrow_mut() = estate.workers;
                for (endpoint, bound) in estate.sockets {
                    self.sockets.adopt(endpoint, bound, None);
                }
                estate.lock.map(|lock| Lock::inherit(lock, &path))
            }
            None => match Lock::take(&path) {
                Ok(lock) => Some(lock),
                Err(NoLock::Held(pid)) => {
                    let message = format!(
                        "{} runs here already, as process {pid} (see {}): give this one another --var-dir",
                        self.program.name,
                        path.display()
                    );
                    return Err(message.into());
                }
                Err(NoLock::Io(e)) => {
                    return Err(format!("cannot lock {}: {e}", path.display()).into());
                }
            },
        };
        *self.lock.borrow_mut() = lock;
        Ok(())
    }

    /// Gets a worker to serve, unless it is told to end before that.
    async fn serve(self: &Rc<Self>, signals: &mut Signals) -> Result<(), Refused> {
        let mut finding = pin!(self.find_worker());
        tokio::select! {
            begun = &mut finding => begun,
            early = signals.end() => tokio::select! {
                // It may have answered somebody already, and ends like any other.
                begun = finding => {
                    signals.repeat(early);
                    begun
                }
                _ = signals.end() => Err(refused("it was told to end before it served")),
            }
        }
    }

    /// The same for one that has a parent, which hears of it; and takes over from that, if it is to.
    async fn follow(
        self: &Rc<Self>,
        parent: &mut Parent,
        signals: &mut Signals,
        asker: Asker,
        options: &Options,
    ) -> Result<(), Refused> {
        let follows = self.predecessor.get();
        tokio::select! {
            begun = self.serve(signals) => begun?,
            () = parent.ends(), if follows => return Err(refused(GONE)),
        }
        let current = self.current.borrow().as_ref().map(|worker| worker.pid);
        let receives = current.map(|pid| self.sockets.received_by(pid)).unwrap_or_default();
        parent.tell(FromSuccessor::Serves { receives }).await;
        if follows {
            let doors = parent.gives_way().await?;
            self.open_control(asker, options, doors);
            parent.tell(FromSuccessor::Leads).await;
        }
        Ok(())
    }

    /// Takes on a worker that has lost its leader, or starts one.
    async fn find_worker(self: &Rc<Self>) -> Result<(), Refused> {
        let found = match self.predecessor.get() {
            true => None,
            false => self.adopt().await,
        };
        let worker = match found {
            Some(worker) => worker,
            None => {
                let started = self.start(None).await;
                let generation = self.history.borrow_mut().tried(started.as_ref().err().cloned());
                generation.into_iter().for_each(|new| self.clone().keep_when_proven(new));
                started?
            }
        };
        self.enthrone(worker).await;
        Ok(())
    }

    /// Does what it is asked, until the end.
    async fn lead(self: Rc<Self>, mut signals: Signals, mut asked: mpsc::Receiver<Asked>) {
        let top_dir = self.constants.top_dir.display();
        info!(%top_dir, "{} {} serves", self.program.name, self.program.version);
        self.notify_ready();
        spawn_local(self.clone().watch_over());
        if let Some(pulse) = self.notifier.pulse() {
            spawn_local(self.clone().notify_alive(pulse));
        }
        loop {
            tokio::select! {
                signal = signals.next() => {
                    spawn_local(self.clone().heed_signal(signal));
                }
                Some(asked) = asked.recv() => {
                    spawn_local(self.clone().answer(asked));
                }
                () = self.over.notified() => break,
            }
        }
        let admin = self.admin.borrow_mut().take();
        if let Some(admin) = admin {
            admin.quit().await;
        }
        // Else they are another leader's now.
        if !self.succeeded.get() {
            self.remove_files();
        }
    }

    /// Tells the service manager that it serves.
    pub(super) fn notify_ready(&self) {
        self.notifier.ready(
            std::process::id(),
            &format!("{} {} serves", self.program.name, self.program.version),
        );
    }

    async fn notify_alive(self: Rc<Self>, pulse: Duration) {
        let mut tick = tokio::time::interval(pulse);
        loop {
            tick.tick().await;
            self.notifier.alive();
        }
    }

    fn remove_files(&self) {
        if let Some(socket) = self.socket.borrow_mut().take() {
            let _ = std::fs::remove_file(socket);
        }
        if let Some(lock) = self.lock.borrow_mut().take() {
            lock.remove();
        }
    }

    /// Waits for the end of the leader before this one, if that has started it.
    async fn outlive(self: Rc<Self>, mut parent: Parent) {
        parent.ends().await;
        self.predecessor.set(false);
        self.kin.elders.borrow_mut().clear();
    }
}

/// The file of this program: where it lies, even if another has been put there since.
fn own_binary() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_default();
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => path.into(),
        None => path,
    }
}
