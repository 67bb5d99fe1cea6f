//! The workers that share UDP sockets, and how each reaches the others: the one that serves reads what comes,
//! and passes on what belongs to connections of QUIC of those that drain.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::Leader;
use super::worker::Worker;
use crate::messages::{Kinship, ToWorker};

/// A worker, as others reach it.
pub(super) struct Member {
    pub(super) process: u32,
    pub(super) outbox: OwnedFd,
}

/// What all of them have in common.
pub(super) struct Kin {
    secret: Cell<[u8; 32]>,
    /// Workers of the leader before this one, for as long as that lives.
    pub(super) elders: RefCell<Vec<Member>>,
}

impl Kin {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { secret: Cell::new(random()?), elders: RefCell::default() })
    }

    pub(super) fn secret(&self) -> [u8; 32] {
        self.secret.get()
    }

    /// Goes on with the secret that workers have already.
    pub(super) fn inherit(&self, secret: [u8; 32]) {
        self.secret.set(secret);
    }
}

impl Leader {
    /// Tells a worker that has just been started who it is, and of the others.
    pub(super) async fn introduce(&self, worker: &Worker) -> io::Result<()> {
        // Unlike datagrams, such messages wait for room by their bytes, not by a small number.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (outbox, inbox) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let process = u32::from_ne_bytes(random()?);
        let (others, outboxes) = self.members()?;
        let descriptors = [inbox, outbox.try_clone()?].into_iter().chain(outboxes).collect();
        *worker.kin.borrow_mut() = Some(Member { process, outbox });
        let kinship = Kinship { process, secret: self.kin.secret() };
        worker.tell(&ToWorker::Kin { kinship, others }, descriptors).await
    }

    /// All workers that live, as others reach them.
    pub(super) fn members(&self) -> io::Result<(Vec<u32>, Vec<OwnedFd>)> {
        let (mut processes, mut outboxes) = (Vec::new(), Vec::new());
        let mut add = |member: &Member| {
            processes.push(member.process);
            outboxes.push(member.outbox.try_clone()?);
            io::Result::Ok(())
        };
        self.kin.elders.borrow().iter().try_for_each(&mut add)?;
        let workers = self.workers.borrow();
        workers.iter().try_for_each(|worker| worker.kin.borrow().iter().try_for_each(&mut add))?;
        Ok((processes, outboxes))
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
