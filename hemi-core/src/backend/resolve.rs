//! Where the nodes of a backend are: their names are looked up again and again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::warn;

use super::{Endpoint, Node, NodeAddress, Nodes, Place, Table, Target};
use crate::clock::{self, Moment};

/// Endpoints that nobody uses any more are forgotten when there are so many.
const KEPT: usize = 1024;

/// However short an answer holds, names are not looked up more often.
const LEAST: Duration = Duration::from_millis(100);

/// An address of a node.
struct Spot {
    target: Target,
    host: Option<String>,
    node: Arc<Node>,
}

impl Nodes {
    /// Looks all names up, and tells when they are to be looked up again.
    pub(super) async fn resolve_all(&self) -> Moment {
        let (mut places, mut until) = (Vec::<Place>::new(), Moment::NEVER);
        for node in &self.nodes {
            let spots = match self.spots(node).await {
                Ok((spots, fresh)) => {
                    until = until.min(fresh);
                    spots
                }
                Err(e) => {
                    let name = &node.address;
                    warn!(backend = %self.name, node = %name, "cannot find the node: {e}");
                    until = until.min(clock::now().after(self.config.resolve_interval));
                    // It is where it was.
                    let table = self.table();
                    places.extend(table.0.iter().filter(|p| Arc::ptr_eq(&p.of, node)).cloned());
                    continue;
                }
            };
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            for Spot { target, host, node: said } in spots {
                let endpoint = match kept.entry(target) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(new) => {
                        let endpoint = Arc::new(Endpoint::new(new.key().clone()));
                        endpoint.set_drained(node.drain);
                        new.insert(endpoint).clone()
                    }
                };
                if let Some(host) = host {
                    endpoint.set_hostname(&host);
                }
                if !places.iter().any(|p| Arc::ptr_eq(&p.endpoint, &endpoint)) {
                    places.push(Place { endpoint, node: said, of: node.clone() });
                }
            }
            forget_unused(&mut kept);
        }
        let mut table = self.table();
        if !is_same(&table.0, &places) {
            *table = Arc::new(Table(places));
            self.version.fetch_add(1, Ordering::Release);
        }
        until
    }

    /// Where a node is now, and until when that holds.
    async fn spots(&self, node: &Arc<Node>) -> io::Result<(Vec<Spot>, Moment)> {
        match &node.address {
            NodeAddress::Unix(path) => {
                let target = Target::Unix(path.clone());
                Ok((vec![Spot { target, host: None, node: node.clone() }], Moment::NEVER))
            }
            NodeAddress::Tcp { host, port } => self.hosts(node, host, *port).await,
            NodeAddress::Service(name) => {
                let (services, mut until) = self.resolv.services(name).await?;
                let first = services.iter().map(|service| service.priority).min();
                let mut spots = Vec::new();
                for service in &services {
                    let weight = node.weight * f64::from(service.weight.max(1));
                    let backup = node.backup || Some(service.priority) != first;
                    let said = Arc::new(Node { weight, backup, ..(**node).clone() });
                    match self.hosts(&said, &service.host, service.port).await {
                        Ok((more, fresh)) => {
                            spots.extend(more);
                            until = until.min(fresh);
                        }
                        Err(e) => {
                            let (backend, node) = (&self.name, &service.host);
                            warn!(%backend, %node, "cannot find a node of {name}: {e}");
                        }
                    }
                }
                match spots.is_empty() {
                    true => Err(io::Error::other("none of its hosts can be found")),
                    false => Ok((spots, until)),
                }
            }
        }
    }

    async fn hosts(
        &self,
        node: &Arc<Node>,
        host: &str,
        port: u16,
    ) -> io::Result<(Vec<Spot>, Moment)> {
        let found = self.resolv.find(host).await?;
        let mut ips: Vec<_> = found.addresses.iter().map(|ip| ip.to_canonical()).collect();
        // The order of an answer changes, and means nothing here.
        ips.sort_unstable();
        ips.dedup();
        let spot = |ip| Spot {
            target: Target::Tcp(SocketAddr::new(ip, port)),
            host: Some(host.to_owned()),
            node: node.clone(),
        };
        let fresh = match found.told {
            true => found.fresh,
            false => clock::now().after(self.config.resolve_interval),
        };
        Ok((ips.into_iter().map(spot).collect(), fresh))
    }

    /// Looks names up again, and has every node be checked.
    pub(super) async fn watch(&self) {
        let mut checks = JoinSet::new();
        let mut checked = u64::MAX;
        loop {
            let until = self.resolve_all().await;
            let version = self.version.load(Ordering::Acquire);
            if checked != version {
                checked = version;
                checks.shutdown().await;
                self.check_all(&mut checks);
            }
            if !self.nodes.iter().any(|node| node.address.is_name()) {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(until.since(clock::now()).max(LEAST)).await;
        }
    }
}

/// Whether nothing has changed, to those who choose among them.
fn is_same(before: &[Place], after: &[Place]) -> bool {
    let same = |(a, b): (&Place, &Place)| {
        Arc::ptr_eq(&a.endpoint, &b.endpoint)
            && (a.node.weight, a.node.backup) == (b.node.weight, b.node.backup)
    };
    before.len() == after.len() && before.iter().zip(after).all(same)
}

/// A name that moves all the time leaves no more than so many endpoints behind.
fn forget_unused(kept: &mut HashMap<Target, Arc<Endpoint>>) {
    if kept.len() > KEPT {
        kept.retain(|_, endpoint| Arc::strong_count(endpoint) > 1);
    }
}
