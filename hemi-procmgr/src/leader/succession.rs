//! How a leader gives way to another, of a newer binary for instance; and how one finds the worker of a
//! leader that has died.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use hemi_core::config;
use hemi_core::listen::{Bound, Endpoint};
use rustix::process::{Pid, Signal};
use tokio::net::UnixStream;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::places::Doors;
use super::worker::Worker;
use super::{LEADER, Leader, Member, READY, refused};
use crate::actions::ask::is_bound;
use crate::channel::{self, Receiver, Sender};
use crate::control::Refused;
use crate::messages::{FromSuccessor, Kinship, Next, ToLeader, ToSuccessor};

/// How long a successor may take: for its worker to serve, and some more.
const PATIENCE: Duration = READY.saturating_add(Duration::from_secs(10));

/// How long a successor may take to end when it is not to take over.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Why a successor does not take over.
pub(super) const GONE: &str = "the leader that it was to follow has ended";

/// How long an orphaned worker may take to say who it is.
const HELLO: Duration = Duration::from_secs(5);

/// Connects to a worker without a leader, if there is one.
async fn find_orphan(rescue: &Path) -> Option<UnixStream> {
    let connecting = async {
        loop {
            match UnixStream::connect(rescue).await {
                // It is about to listen.
                Err(e) if e.kind() == ErrorKind::ConnectionRefused && is_bound(rescue) => {
                    sleep(Duration::from_millis(10)).await;
                }
                connected => return connected.ok(),
            }
        }
    };
    timeout(HELLO, connecting).await.ok().flatten()
}

/// Who has started this leader, if it was a process of the same program.
pub(super) struct Parent {
    sender: Sender,
    receiver: Receiver,
    pub(super) estate: Option<Estate>,
}

/// What a leader leaves to its successor.
pub(super) struct Estate {
    pub(super) lock: Option<OwnedFd>,
    pub(super) secret: [u8; 32],
    pub(super) workers: Vec<Member>,
    pub(super) sockets: Vec<(Endpoint, Bound)>,
}

impl Parent {
    /// Hears what the parent wants.
    pub(super) async fn meet() -> std::io::Result<Self> {
        let (sender, mut receiver) = channel::to_parent()?;
        sender.send(&FromSuccessor::Hears, vec![]).await?;
        let mut estate = None;
        loop {
            let message = receiver.next::<ToSuccessor>().await?;
            let (message, mut descriptors) = message.ok_or(std::io::ErrorKind::UnexpectedEof)?;
            match (message, &mut estate) {
                (ToSuccessor::Detach, _) => {
                    // It leads no group, so this is never refused.
                    let _ = rustix::process::setsid();
                    return Ok(Self { sender, receiver, estate: None });
                }
                (ToSuccessor::Inherit { secret, workers }, _) => {
                    let mut lock = descriptors.split_off(workers.len().min(descriptors.len()));
                    let workers = workers.into_iter().zip(descriptors);
                    let workers = workers.map(|(process, outbox)| Member { process, outbox });
                    let (lock, workers, sockets) = (lock.pop(), workers.collect(), Vec::new());
                    estate = Some(Estate { lock, secret, workers, sockets });
                }
                (ToSuccessor::Holds { endpoint, address }, Some(estate)) => {
                    estate.sockets.push((endpoint, Bound { address, sockets: descriptors }));
                }
                (ToSuccessor::Holds { .. }, None) => {}
                (ToSuccessor::Held | ToSuccessor::Lead { .. }, _) => {
                    return Ok(Self { sender, receiver, estate });
                }
            }
        }
    }

    /// Waits until this one is to lead; comes back with where the one before it could be asked.
    ///
    /// # Errors
    /// When the one before it has ended, or is to end.
    pub(super) async fn gives_way(&mut self) -> Result<Option<Doors>, Refused> {
        let mut sockets = Vec::new();
        loop {
            match self.receiver.next::<ToSuccessor>().await {
                Ok(Some((ToSuccessor::Lead { places }, _))) => {
                    return Ok(places.map(|places| Doors { places, sockets }));
                }
                Ok(Some((ToSuccessor::Holds { endpoint, address }, descriptors))) => {
                    sockets.push((endpoint, Bound { address, sockets: descriptors }));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Err(refused(GONE)),
            }
        }
    }

    /// Tells it that all went well, or why it did not.
    pub(super) async fn tell(&self, message: FromSuccessor) {
        // One that has gone does not wait for it.
        let _ = self.sender.send(&message, vec![]).await;
        self.sender.flush().await;
    }

    /// Waits for its end.
    pub(super) async fn ends(&mut self) {
        while let Ok(Some(_)) = self.receiver.next::<ToSuccessor>().await {}
    }
}

/// Starts another leader, with these arguments.
pub(crate) fn spawn(
    binary: &Path,
    name: &str,
    args: &[String],
    output: Option<[Stdio; 2]>,
) -> std::io::Result<(Child, Sender, Receiver)> {
    let (sender, receiver, stdin) = channel::to_child()?;
    let mut command = Command::new(binary);
    command.arg0(name).arg(LEADER).args(args).stdin(stdin);
    // Its sockets come from its parent, and it is to be watched as that is.
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    if let Some([stdout, stderr]) = output {
        command.stdout(stdout).stderr(stderr);
    }
    Ok((command.spawn()?, sender, receiver))
}

/// Waits until a leader that was started serves, or says why it does not.
/// Comes back with the addresses at which its worker receives datagrams.
pub(crate) async fn serves(receiver: &mut Receiver) -> Result<Vec<SocketAddr>, String> {
    in_time(serving(receiver)).await
}

async fn in_time<T>(doing: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || Err(format!("it does not serve after {} seconds", PATIENCE.as_secs()));
    timeout(PATIENCE, doing).await.unwrap_or_else(|_| late())
}

async fn serving(receiver: &mut Receiver) -> Result<Vec<SocketAddr>, String> {
    loop {
        if let FromSuccessor::Serves { receives } = hear(receiver).await? {
            return Ok(receives);
        }
    }
}

/// The next that it says, other than that it failed.
async fn hear(receiver: &mut Receiver) -> Result<FromSuccessor, String> {
    match receiver.next().await {
        Ok(Some((FromSuccessor::Failed(why), _))) => Err(why),
        Ok(Some((said, _))) => Ok(said),
        Ok(None) => Err("it has ended without a word".to_owned()),
        Err(e) => Err(format!("it makes no sense: {e}")),
    }
}

impl Leader {
    /// Has another leader take over, and drains. If that does not serve, or this one is to end before it does,
    /// nothing changes.
    pub(super) async fn upgrade(
        self: &Rc<Self>,
        binary: Option<PathBuf>,
    ) -> Result<String, Refused> {
        let busy = || refused("another change is under way");
        let _changing = self.changing.try_lock().map_err(|_| busy())?;
        let _upgrading = self.upgrading.try_lock().map_err(|_| busy())?;
        self.goes_on()?;
        let drains = self.workers.borrow().iter().any(|worker| worker.drains());
        if drains || self.predecessor.get() {
            return Err(refused("the processes before these still drain: try again later"));
        }
        let binary = binary.unwrap_or_else(|| self.binary.clone());
        let cannot = |e| refused(format!("cannot run {}: {e}", binary.display()));
        let (mut child, sender, mut receiver) =
            spawn(&binary, self.program.name, &self.args, None).map_err(cannot)?;
        let pid = child.id();
        info!(pid, binary = %binary.display(), "another leader is to take over");
        let mut hears = false;
        let taking = async {
            hear(&mut receiver).await?;
            hears = true;
            self.bequeath(&sender).await.map_err(|e| e.to_string())?;
            serving(&mut receiver).await
        };
        let taken = tokio::select! {
            biased;
            _ = self.told_to_end() => Err("the program is ending".to_owned()),
            taken = in_time(taking) => taken,
        };
        let receives = match taken {
            Ok(receives) => receives,
            Err(why) => {
                drop((sender, receiver));
                give_up(child, hears).await;
                return Err(refused(format!("{} does not serve: {why}", binary.display())));
            }
        };
        self.succeeded.set(true);
        tokio::select! {
            led = in_time(self.give_way(&sender, &mut receiver)) => {
                if let Err(e) = led {
                    if let Ok(Some(status)) = child.try_wait() {
                        self.succeeded.set(false);
                        return Err(refused(format!("{} has ended: {status}", binary.display())));
                    }
                    error!(pid, "another leader has taken over, and may not be asked: {e}");
                }
            }
            signal = self.told_to_end() => signal_child(&child, signal),
        }
        info!(pid, "another leader has taken over");
        self.sockets.leave();
        self.lock.borrow_mut().take();
        let (leader, worker) = (self.clone(), self.current.borrow_mut().take());
        if let Some(worker) = &worker {
            self.retire(worker, Next::Worker { receives }).await;
        }
        let admin = self.admin.borrow_mut().take();
        if let Some(mut admin) = admin {
            admin.leave().await;
            *self.admin.borrow_mut() = Some(admin);
        }
        spawn_local(async move {
            if let Some(worker) = worker {
                worker.ended().await;
            }
            leader.over.notify_one();
            // The successor waits for its end.
            std::future::pending::<()>().await;
            drop((sender, receiver));
        });
        Ok(format!("leader {pid} has taken over"))
    }

    /// Has the successor lead, and waits until it can be asked.
    async fn give_way(&self, successor: &Sender, receiver: &mut Receiver) -> Result<(), String> {
        let doors = self.doors().unwrap_or_else(|e| {
            warn!("the ports to ask this program at are not passed on: {e}");
            None
        });
        let (places, sockets) = doors.map(|doors| (doors.places, doors.sockets)).unzip();
        let words = sockets.into_iter().flatten();
        let words = words.map(|(endpoint, Bound { address, sockets })| {
            (ToSuccessor::Holds { endpoint, address }, sockets)
        });
        for (word, sockets) in words.chain([(ToSuccessor::Lead { places }, vec![])]) {
            successor.send(&word, sockets).await.map_err(|e| e.to_string())?;
        }
        hear(receiver).await.map(drop)
    }

    /// Waits until this one is to end; comes back with the signal that tells others so.
    async fn told_to_end(&self) -> Signal {
        let mut ending = self.ending.subscribe();
        // It is this leader itself that would send it.
        let told = ending.wait_for(Option::is_some).await.map(|signal| *signal);
        told.ok().flatten().unwrap_or(Signal::TERM)
    }

    /// Waits until no other leader is about to take over: to be called when this one is to end.
    pub(super) async fn give_up_upgrade(&self) {
        drop(self.upgrading.lock().await);
    }

    /// Gives the successor all it needs.
    async fn bequeath(&self, successor: &Sender) -> std::io::Result<()> {
        let lock = self.lock.borrow().as_ref().map(|lock| lock.share()).transpose()?;
        let ((workers, outboxes), secret) = (self.members()?, self.kin.secret());
        let descriptors = outboxes.into_iter().chain(lock).collect();
        successor.send(&ToSuccessor::Inherit { secret, workers }, descriptors).await?;
        for (endpoint, Bound { address, sockets }) in self.sockets.share()? {
            successor.send(&ToSuccessor::Holds { endpoint, address }, sockets).await?;
        }
        successor.send(&ToSuccessor::Held, vec![]).await
    }

    /// Takes on the worker of a leader that has died, if there is one.
    pub(super) async fn adopt(self: &Rc<Self>) -> Option<Rc<Worker>> {
        let stream = find_orphan(&self.home.as_ref()?.rescue()).await?;
        let (sender, mut receiver) = channel::on(stream);
        let peer = receiver.peer().ok()?;
        let pid = peer.pid().filter(|_| peer.uid() == self.worker_user)?;
        let worker = Worker::found(u32::try_from(pid).ok()?, sender).ok()?;
        let hello = timeout(HELLO, receiver.next::<ToLeader>()).await;
        let Ok(Ok(Some((ToLeader::Hello { serves: Some(loaded), kinship }, descriptors)))) = hello
        else {
            // It would keep the sockets that the next one needs.
            warn!(pid, "a worker without a leader is found, and does not answer: killed");
            worker.signal(Signal::KILL);
            worker.watch().await;
            return None;
        };
        let mut descriptors = descriptors.into_iter();
        worker.journal(descriptors.next());
        if let (Some(Kinship { process, secret }), Some(outbox)) = (kinship, descriptors.next()) {
            self.kin.inherit(secret);
            *worker.kin.borrow_mut() = Some(Member { process, outbox });
        }
        info!(pid, "a worker without a leader is found");
        spawn_local(self.clone().compare(loaded.config.clone()));
        self.history.borrow_mut().loaded(loaded.config);
        // Its sockets follow.
        Some(self.admit(worker, receiver))
    }
}

impl Leader {
    /// Tells whether a worker that was found serves another config than lies there now.
    async fn compare(self: Rc<Self>, served: String) {
        let (source, constants) = (self.source.clone(), self.constants.clone());
        let read =
            move || config::load(&source, &constants).is_ok_and(|tree| tree.flat() == served);
        if !tokio::task::spawn_blocking(read).await.unwrap_or(false) {
            let name = self.program.name;
            warn!("the worker serves the config it had: `{name} reload` loads what is there now");
        }
    }
}

/// Ends a leader that was to take over, and waits for that. One that hears sees that its channel is closed,
/// and ends its worker; all others are killed.
async fn give_up(mut child: Child, hears: bool) {
    if !hears || timeout(GIVE_UP, ended(&mut child)).await.is_err() {
        signal_child(&child, Signal::KILL);
        ended(&mut child).await;
    }
}

fn signal_child(child: &Child, signal: Signal) {
    // If it has ended, it was not waited for: no other process has its id.
    let _ = rustix::process::kill_process(Pid::from_child(child), signal);
}

async fn ended(child: &mut Child) {
    while let Ok(None) = child.try_wait() {
        sleep(Duration::from_millis(10)).await;
    }
}
