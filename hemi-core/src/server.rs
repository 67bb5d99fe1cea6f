//! The kind `server`: whatever accepts from outside, routers too.

use std::sync::Arc;

use crate::config::KindName;
use crate::listen::Address;
use crate::{Component, Kind, Lifecycle, Parts, Place, Rank, Registry, Result};

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

impl Parts {
    /// Adds a server to a stage that is built in code.
    ///
    /// # Errors
    /// When the stage has a server of that name.
    pub fn server<S: Server + Lifecycle>(&mut self, name: &str, server: S) -> Result<Arc<S>> {
        let server = Arc::new(server);
        self.add::<ServerKind>(name, server.clone(), server.clone())?;
        Ok(server)
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
