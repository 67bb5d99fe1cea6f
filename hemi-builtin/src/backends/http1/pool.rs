//! Idle connections to nodes. They belong to a core, and hold no buffer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hemi_core::Run;
use hemi_core::backend::Endpoint;
use hemi_core::clock::{self, Moment};
use hemi_core::cores::PerCore;
use hemi_core::io::Socket;

/// A connection to a node.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) socket: Socket,
    /// Requests that it has carried.
    pub(super) requests: u32,
}

impl Conn {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, requests: 0 }
    }

    /// Whether it has been used before: then the node may have closed it meanwhile.
    pub(super) fn is_used(&self) -> bool {
        self.requests > 0
    }
}

/// Idle connections of all cores, by node.
#[derive(Debug)]
pub(super) struct Pool {
    most: usize,
    keep: Duration,
    idle: PerCore<HashMap<usize, VecDeque<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    conn: Conn,
    since: Moment,
    /// Keeps the address that it is kept under from being another's.
    _endpoint: Arc<Endpoint>,
}

impl Pool {
    pub(super) fn new(most: usize, keep: Duration, cores: usize) -> Self {
        Self { most, keep, idle: PerCore::new(cores, HashMap::new) }
    }

    /// The connection to a node that was used last, if it is still good.
    pub(super) fn take(&self, endpoint: &Arc<Endpoint>) -> Option<Conn> {
        let mut idle = self.idle.mine();
        let of_node = idle.get_mut(&key(endpoint))?;
        while let Some(Idle { conn, since, .. }) = of_node.pop_back() {
            if clock::now().since(since) > self.keep {
                // The others have been idle for longer.
                of_node.clear();
                return None;
            }
            if conn.socket.is_quiet() {
                return Some(conn);
            }
        }
        None
    }

    /// Keeps a connection for later.
    pub(super) fn give(&self, endpoint: &Arc<Endpoint>, conn: Conn) {
        let mut idle = self.idle.mine();
        let of_node = idle.entry(key(endpoint)).or_default();
        if of_node.len() < self.most {
            let since = clock::now();
            of_node.push_back(Idle { conn, since, _endpoint: endpoint.clone() });
        }
    }

    /// Closes all connections to a node, which has closed one of them.
    pub(super) fn forget(&self, endpoint: &Arc<Endpoint>) {
        self.idle.mine().remove(&key(endpoint));
    }

    /// Closes connections that have been idle for too long, until the stage ends.
    pub(super) async fn run(&self, run: &Run) {
        let rounds = async {
            loop {
                tokio::time::sleep((self.keep / 2).max(Duration::from_secs(1))).await;
                let now = clock::now();
                for mut idle in self.idle.each() {
                    idle.retain(|_, of_node| {
                        of_node.retain(|idle| now.since(idle.since) <= self.keep);
                        !of_node.is_empty()
                    });
                }
            }
        };
        tokio::select! {
            () = run.shut().cancelled() => {}
            () = rounds => {}
        }
    }
}

fn key(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint).addr()
}
