//! The leader as its worker sees it: who is told things, and asked for sockets.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hemi_core::listen::{Address, Binder, Bound, Endpoint, Here, ListenOptions, Listeners};

use crate::channel::Sender;
use crate::messages::{BindError, ToLeader};

/// How long sockets are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The leader; none, if it has died and no other has come.
#[derive(Debug)]
pub(super) struct Leader {
    link: Mutex<Link>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Link {
    sender: Option<Sender>,
    /// Who waits for sockets.
    waiting: HashMap<u64, SyncSender<io::Result<Bound>>>,
}

impl Leader {
    pub(super) fn new(sender: Sender) -> Self {
        let link = Link { sender: Some(sender), waiting: HashMap::new() };
        Self { link: Mutex::new(link), next: AtomicU64::new(1) }
    }

    /// Tells it something. Never waits: what a leader does not read in time it will not hear.
    pub(super) fn tell(&self, message: &ToLeader, descriptors: Vec<OwnedFd>) {
        if let Some(sender) = &self.link().sender {
            let _ = sender.try_send(message, descriptors);
        }
    }

    /// It has died. Who waits for sockets gets none.
    pub(super) fn lose(&self) {
        let mut link = self.link();
        link.sender = None;
        link.waiting.clear();
    }

    /// Another has come, which is told what there is. What is bound from now on is bound by it.
    pub(super) fn found(
        &self,
        sender: Sender,
        hello: &ToLeader,
        descriptors: Vec<OwnedFd>,
        listeners: &Listeners,
    ) -> io::Result<()> {
        let mut link = self.link();
        sender.try_send(hello, descriptors)?;
        for (endpoint, Bound { address, sockets }) in listeners.share()? {
            sender.try_send(&ToLeader::Holds { endpoint, address }, sockets)?;
        }
        sender.try_send(&ToLeader::Held, vec![])?;
        link.sender = Some(sender);
        Ok(())
    }

    /// Sockets have come that somebody waits for.
    pub(super) fn bound(&self, id: u64, bound: Result<Address, BindError>, sockets: Vec<OwnedFd>) {
        if let Some(waiter) = self.link().waiting.remove(&id) {
            let bound = bound.map(|address| Bound { address, sockets }).map_err(io::Error::from);
            let _ = waiter.try_send(bound);
        }
    }

    /// Waits until all that was told has gone out, or the leader has.
    pub(super) async fn flush(&self) {
        let sender = self.link().sender.clone();
        if let Some(sender) = sender {
            sender.flush().await;
        }
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Binder for Leader {
    fn bind(
        &self,
        endpoint: &Endpoint,
        cores: usize,
        options: &ListenOptions,
    ) -> io::Result<Bound> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (waiter, bound) = sync_channel(1);
        {
            let mut link = self.link();
            let Some(sender) = &link.sender else { return Here.bind(endpoint, cores, options) };
            let (endpoint, options) = (endpoint.clone(), options.clone());
            sender.try_send(&ToLeader::Bind { id, endpoint, cores, options }, vec![])?;
            link.waiting.insert(id, waiter);
        }
        let gone = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "the leader does not answer"));
        bound.recv_timeout(PATIENCE).unwrap_or_else(gone)
    }

    fn release(&self, endpoint: &Endpoint) {
        let link = self.link();
        match &link.sender {
            Some(sender) => {
                // At worst the leader keeps them for as long as this worker lives.
                let _ = sender.try_send(&ToLeader::Release { endpoint: endpoint.clone() }, vec![]);
            }
            None => Here.release(endpoint),
        }
    }
}
