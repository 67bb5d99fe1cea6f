//! The kind `server`: whatever accepts from outside and is not a router.

use std::sync::Arc;

use crate::config::KindName;
use crate::listen::Address;
use crate::{Component, Kind, Place, Rank, Registry};

/// The kind of servers. A server does its work in [`crate::Lifecycle::run`]; [`crate::gate::Gate`] accepts for it.
#[derive(Debug)]
pub struct ServerKind;

impl KindName for ServerKind {
    const NAME: &'static str = "server";
}

impl Kind for ServerKind {
    type Object = dyn Server;
    const RANK: Rank = Rank::SERVER;
    const PLACE: Place = Place::Stage;
}

/// What others may ask of a server.
pub trait Server: Send + Sync {
    /// Connections served now.
    fn active(&self) -> usize {
        0
    }

    /// Where it listens, with the port that the kernel chose if 0 was asked for; empty before
    /// [`crate::Lifecycle::prepare`].
    fn addresses(&self) -> Vec<Address> {
        Vec::new()
    }

    /// Its counters, by their names in metrics.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// Registers servers.
pub trait ServerRegistry {
    /// Adds a server.
    fn server<S: Server + Component>(&mut self) -> &mut Self;
}

impl ServerRegistry for Registry {
    fn server<S: Server + Component>(&mut self) -> &mut Self {
        self.add::<ServerKind, S>(|server: Arc<S>| server)
    }
}
