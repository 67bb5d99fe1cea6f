//! The listening sockets of all workers: bound once, and kept for as long as some worker wants them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use hemi_core::listen::{Address, Binder, Bound, Endpoint, Inherited, ListenOptions};

/// The sockets, and which workers want them.
#[derive(Default)]
pub(super) struct Sockets {
    kept: RefCell<HashMap<Endpoint, Kept>>,
    /// Those that the leader was started with.
    inherited: Inherited,
}

struct Kept {
    bound: Bound,
    /// How often each worker has asked for them, by its process id.
    users: HashMap<u32, usize>,
}

impl Sockets {
    /// None yet, but for those that the leader was started with.
    pub(super) fn new(inherited: Inherited) -> Self {
        Self { kept: RefCell::default(), inherited }
    }

    /// Those of an endpoint, for this worker too.
    pub(super) fn bind(
        &self,
        worker: u32,
        endpoint: &Endpoint,
        cores: usize,
        options: &ListenOptions,
    ) -> io::Result<Bound> {
        let mut kept = self.kept.borrow_mut();
        if !kept.contains_key(endpoint) {
            let bound = self.inherited.bind(endpoint, cores, options)?;
            kept.insert(endpoint.clone(), Kept { bound, users: HashMap::new() });
        }
        let kept = kept.get_mut(endpoint).ok_or(io::ErrorKind::NotFound)?;
        let shared = kept.bound.share()?;
        *kept.users.entry(worker).or_default() += 1;
        Ok(shared)
    }

    /// Where this worker receives datagrams.
    pub(super) fn received_by(&self, worker: u32) -> Vec<SocketAddr> {
        let of = |(endpoint, kept): (&Endpoint, &Kept)| match endpoint {
            Endpoint::Datagrams(Address::Tcp(udp)) if kept.users.contains_key(&worker) => {
                Some(*udp)
            }
            _ => None,
        };
        self.kept.borrow().iter().filter_map(of).collect()
    }

    /// Those that somebody else has bound; for nobody yet, or for a worker that has them.
    pub(super) fn adopt(&self, endpoint: Endpoint, bound: Bound, worker: Option<u32>) {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.entry(endpoint).or_insert_with(|| Kept { bound, users: HashMap::new() });
        worker.into_iter().for_each(|worker| *kept.users.entry(worker).or_default() += 1);
    }

    /// A worker needs them once less.
    pub(super) fn release(&self, worker: u32, endpoint: &Endpoint) {
        if let Some(kept) = self.kept.borrow_mut().get_mut(endpoint)
            && let Some(times) = kept.users.get_mut(&worker)
        {
            *times -= 1;
            if *times == 0 {
                kept.users.remove(&worker);
            }
        }
    }

    /// A worker has ended. What it had stays open, for the one that comes after it.
    pub(super) fn forget(&self, worker: u32) {
        for kept in self.kept.borrow_mut().values_mut() {
            kept.users.remove(&worker);
        }
    }

    /// Closes those that no worker wants: to be called while one serves that has asked for all it needs.
    pub(super) fn sweep(&self) {
        for (endpoint, _) in self.kept.borrow_mut().extract_if(|_, kept| kept.users.is_empty()) {
            self.inherited.release(&endpoint);
        }
    }

    /// All of them once more, for a leader that is to take them over.
    pub(super) fn share(&self) -> io::Result<Vec<(Endpoint, Bound)>> {
        let kept = self.kept.borrow();
        kept.iter().map(|(endpoint, kept)| Ok((endpoint.clone(), kept.bound.share()?))).collect()
    }

    /// Another leader has them now.
    pub(super) fn leave(&self) {
        self.kept.borrow_mut().clear();
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for (endpoint, _) in self.kept.borrow_mut().drain() {
            self.inherited.release(&endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn sockets_outlive_the_worker_that_asked_for_them() {
        let (sockets, options) = (Sockets::default(), ListenOptions::default());
        let endpoint = Endpoint::Streams("127.0.0.1:0".parse().unwrap());
        let first = sockets.bind(1, &endpoint, 2, &options).unwrap();
        let Address::Tcp(at) = first.address else { panic!("{first:?}") };
        sockets.forget(1);
        drop(first);
        TcpStream::connect(at).unwrap();
        let second = sockets.bind(2, &endpoint, 2, &options).unwrap();
        assert_eq!(second.address, Address::Tcp(at));
        // A new stage asks before the old one is done.
        sockets.bind(2, &endpoint, 2, &options).unwrap();
        sockets.release(2, &endpoint);
        sockets.sweep();
        drop(second);
        TcpStream::connect(at).unwrap();
        sockets.release(2, &endpoint);
        sockets.sweep();
        TcpStream::connect(at).unwrap_err();
    }
}
