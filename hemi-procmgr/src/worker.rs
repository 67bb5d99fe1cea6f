//! The worker: the process that serves, at the orders of its leader.
//!
//! It asks the leader for the sockets to listen on, so that these outlive it. If the leader dies it serves
//! on, and waits for another at its rescue socket.

mod binder;
mod engine;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hemi_core::config::{Constants, Source};
use hemi_core::quic::Kin;
use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::channel;
use crate::confine::Confined;
use crate::control::Refused;
use crate::dirs::{self, Home};
use crate::journal::Journal;
use crate::messages::{Kinship, Next, Order, ToLeader, ToWorker};
use crate::signals::Signals;
use crate::{Call, Failure, confine, logging};

use binder::Leader;
use engine::{Job, Setting, Shared};

/// How often it shows that it lives.
pub(crate) const PULSE: Duration = Duration::from_secs(1);

/// Orders that wait for the engine, at most.
const JOBS: usize = 16;

/// Serves until the leader has had enough, or there is no leader and a signal says so.
pub(crate) fn run(call: &Call<'_>) -> Result<(), Failure> {
    let _ = disable_transparent_huge_pages(false);
    let cannot = |e| format!("cannot start as a worker: {e}");
    let (source, constants) = dirs::locate(call)?;
    confine::become_user(call)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(cannot)?.block_on(async {
        let journal = Journal::new().map_err(cannot)?;
        let recent = logging::begin("worker", call.options.debug, Some(journal.clone()));
        std::panic::set_hook(Box::new(|panic| error!("{panic}")));
        let (sender, receiver) = channel::to_parent().map_err(cannot)?;
        let leader = Arc::new(Leader::new(sender));
        let hello = ToLeader::Hello { serves: None, kinship: None };
        leader.tell(&hello, vec![journal.share().map_err(cannot)?]);
        let mut orders = receiver.queue();
        let (mut first, mut kin) = (orders.recv().await, None);
        if let Some((ToWorker::Kin { kinship, others }, descriptors)) = first {
            kin = Some(Family::new(kinship, others, descriptors).map_err(cannot)?);
            first = orders.recv().await;
        }
        let (outbox, kin) = kin.map(|Family { own, kin }| (own, kin)).unzip();
        let confined = match enter_sandbox(call, &first, &source, &constants) {
            Ok(confined) => confined,
            Err(failure) => {
                if let Some((ToWorker::Do { id, .. }, _)) = first {
                    let outcome = Err(Refused::from(failure.message.clone()));
                    leader.tell(&ToLeader::Done { id, outcome }, vec![]);
                    leader.flush().await;
                }
                return Err(failure);
            }
        };
        let rescue = Home::new(call, &constants).rescue();
        let setting = Setting { source, constants, confined, kin };
        let (jobs, engine) = engine::start(call, setting, leader.clone(), recent)?;
        let worker = Worker { leader, jobs, journal, own: outbox, rescue, engine };
        Ok(worker.work(first, orders).await?)
    })
}

/// Enters the sandbox for the config that the first order is about.
fn enter_sandbox(
    call: &Call<'_>,
    first: &Option<(ToWorker, Vec<OwnedFd>)>,
    source: &Source,
    constants: &Constants,
) -> Result<Confined, Failure> {
    let served = match first {
        Some((ToWorker::Do { order: Order::Load { config: Some(text) }, .. }, _)) => {
            Some(Source::text("the config that was served", text.as_str()))
        }
        _ => None,
    };
    confine::enter_sandbox(call, served.as_ref().unwrap_or(source), source, constants)
}

struct Worker {
    leader: Arc<Leader>,
    jobs: mpsc::Sender<Job>,
    journal: Arc<Journal>,
    /// How others reach it.
    own: Option<Own>,
    /// Where it waits for another leader.
    rescue: PathBuf,
    engine: Arc<Shared>,
}

/// What comes from the leader.
type Orders = mpsc::Receiver<(ToWorker, Vec<OwnedFd>)>;

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Go,
    End,
}

impl Worker {
    async fn work(
        self,
        first: Option<(ToWorker, Vec<OwnedFd>)>,
        orders: Orders,
    ) -> Result<(), String> {
        let mut signals = Signals::watch()?;
        let beating = tokio::spawn(beat(self.engine.clone(), self.leader.clone()));
        let (mut orders, mut draining) = (Some(orders), false);
        let mut then = match first {
            Some((message, descriptors)) => self.obey(message, descriptors, &mut draining),
            None => self.lose_leader(),
        };
        while then == Then::Go {
            then = match &mut orders {
                Some(from_leader) => tokio::select! {
                    order = from_leader.recv() => match order {
                        Some((message, descriptors)) => {
                            self.obey(message, descriptors, &mut draining)
                        }
                        None => {
                            orders = None;
                            self.lose_leader()
                        }
                    },
                    () = self.engine.ended() => Then::End,
                    // While there is a leader they are its business: a terminal sends them to both.
                    _ = signals.next() => Then::Go,
                },
                None => tokio::select! {
                    found = self.wait_for_leader(draining) => {
                        orders = Some(found);
                        Then::Go
                    }
                    () = self.engine.ended() => Then::End,
                    signal = signals.next() => self.heed(signal, &mut draining),
                },
            };
        }
        beating.abort();
        // What was said last still has to go out.
        self.leader.flush().await;
        Ok(())
    }

    fn obey(&self, message: ToWorker, sockets: Vec<OwnedFd>, draining: &mut bool) -> Then {
        match message {
            ToWorker::Bound { id, bound } => self.leader.bound(id, bound, sockets),
            // It knows already.
            ToWorker::Kin { .. } => {}
            ToWorker::Do { order: Order::Stop, .. } => {
                info!("stopping");
                return Then::End;
            }
            ToWorker::Do { id, order } => {
                *draining |= matches!(order, Order::Drain(_));
                // What a daemon says things to comes along with the order to open logs anew.
                if let Ok(output) = sockets.try_into()
                    && let Err(e) = logging::redirect(&output)
                {
                    warn!("cannot write to another log: {e}");
                }
                self.give(id, order);
            }
        }
        Then::Go
    }

    fn lose_leader(&self) -> Then {
        self.leader.lose();
        if self.engine.loaded().is_none() {
            error!("the leader has died, and nothing is served yet");
            return Then::End;
        }
        error!("the leader has died: serving on without");
        Then::Go
    }

    /// Does what a signal asks for, when there is no leader to do it.
    fn heed(&self, signal: Signal, draining: &mut bool) -> Then {
        match signal {
            Signal::INT | Signal::TERM if !std::mem::replace(draining, true) => {
                self.give(0, Order::Drain(Next::Nobody));
            }
            Signal::INT | Signal::TERM | Signal::QUIT => return Then::End,
            Signal::USR1 => self.give(0, Order::Reopen),
            _ => {}
        }
        Then::Go
    }

    fn give(&self, id: u64, order: Order) {
        if self.jobs.try_send(Job { id, order }).is_err() {
            let outcome = Err(Refused::from("the worker has too much to do, or ends".to_owned()));
            self.leader.tell(&ToLeader::Done { id, outcome }, vec![]);
        }
    }

    /// What another leader is given with the first words.
    fn shared(&self) -> std::io::Result<Vec<OwnedFd>> {
        let mut descriptors = vec![self.journal.share()?];
        if let Some(own) = &self.own {
            descriptors.push(own.outbox.try_clone()?);
        }
        Ok(descriptors)
    }

    /// Waits at the rescue socket until a leader of the same user comes, and tells it all it must know.
    async fn wait_for_leader(&self, draining: bool) -> Orders {
        if draining {
            return std::future::pending().await;
        }
        // If there is one, it is of a worker that has ended.
        let _ = std::fs::remove_file(&self.rescue);
        let listener = match rescue_socket(&self.rescue) {
            Ok(listener) => listener,
            Err(e) => {
                error!(path = %self.rescue.display(), "no other leader can find this worker: {e}");
                return std::future::pending().await;
            }
        };
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (sender, receiver) = channel::on(stream);
            let own = rustix::process::geteuid().as_raw();
            if !receiver.peer().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0) {
                warn!("somebody else wants to be the leader: refused");
                continue;
            }
            let serves = self.engine.loaded();
            let kinship = self.own.as_ref().map(|own| own.kinship);
            let Ok(descriptors) = self.shared() else { continue };
            let hello = ToLeader::Hello { serves, kinship };
            match self.leader.found(sender, &hello, descriptors, &self.engine.listeners) {
                Ok(()) => {
                    let _ = std::fs::remove_file(&self.rescue);
                    info!("another leader has come");
                    return receiver.queue();
                }
                Err(e) => warn!("another leader has come, but can't be told what there is: {e}"),
            }
        }
    }
}

/// How others reach this worker.
struct Own {
    kinship: Kinship,
    outbox: OwnedFd,
}

/// Who this worker is to the others, and they to it.
struct Family {
    own: Own,
    kin: Kin,
}

impl Family {
    /// Made of what the leader has sent.
    fn new(kinship: Kinship, others: Vec<u32>, descriptors: Vec<OwnedFd>) -> std::io::Result<Self> {
        let mut descriptors = descriptors.into_iter();
        let (Some(inbox), Some(outbox)) = (descriptors.next(), descriptors.next()) else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        let others = others.into_iter().zip(descriptors).collect();
        let Kinship { process, secret } = kinship;
        let kin = Kin { process, secret, inbox: Some(inbox), others };
        Ok(Self { own: Own { kinship, outbox }, kin })
    }
}

fn rescue_socket(path: &Path) -> std::io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Shows the leader that all cores are at work, for as long as they are.
async fn beat(engine: Arc<Shared>, leader: Arc<Leader>) {
    let mut tick = interval(PULSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        engine.pulse.beat().await;
        leader.tell(&ToLeader::Pulse, vec![]);
    }
}

/// Raises the limit on open files as far as it goes without privilege.
pub(crate) fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it is refused, the limit that there is decides how many connections are served.
    let _ = setrlimit(Resource::Nofile, limit);
}
