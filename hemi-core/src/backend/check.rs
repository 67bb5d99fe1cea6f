//! The kind `check`: finds out whether a node is fit, before requests do. And the check that needs no protocol.
//!
//! ```gorox
//! stage {
//! 	http1Backend "api" {
//! 		node { .address = "127.0.0.1:7001" }
//! 		node { .address = "127.0.0.1:7002" }
//! 		tcpCheck { .interval = 5s  .fall = 3  .rise = 2 }
//! 	}
//! 	webapp "site" { .hostnames = ("*")  rule { httpProxy { .toBackend = "api" } } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::endpoint::{Endpoint, Target};
use crate::config::KindName;
use crate::{
    BoxFuture, Component, CreateCx, Explain, Kind, Lifecycle, Place, Rank, Registry, Result,
};

/// The kind of checks.
#[derive(Debug)]
pub struct CheckKind;

impl KindName for CheckKind {
    const NAME: &'static str = "check";
}

impl Kind for CheckKind {
    type Object = dyn DynCheck;
    const RANK: Rank = Rank::BACKEND;
    const PLACE: Place = Place::Inside;
}

/// Properties of every check.
#[derive(Clone, Copy, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckConfig {
    /// How long to wait between two checks of a node, give or take a tenth.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// After how many passed checks in a row a node that was down is up.
    pub rise: u32,
    /// After how many failed checks in a row a node that was up is down.
    pub fall: u32,
}

impl Default for CheckConfig {
    fn default() -> Self {
        let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(2));
        Self { interval, timeout, rise: 2, fall: 3 }
    }
}

/// Finds out whether a node is fit.
pub trait Check: Lifecycle {
    /// How often, and what follows.
    fn config(&self) -> &CheckConfig;

    /// Checks a node once. It may take as long as it likes: when its time is over, it is dropped.
    ///
    /// # Errors
    /// Why the node is not fit, in a few words.
    fn check(&self, node: &Endpoint) -> impl Future<Output = Result<(), String>> + Send;
}

/// The form of [`Check`] that a backend stores.
pub trait DynCheck: Send + Sync {
    /// See [`Check::config`].
    fn config(&self) -> &CheckConfig;

    /// Checks a node once, within the time it has.
    ///
    /// # Errors
    /// Why the node is not fit.
    fn check<'a>(&'a self, node: &'a Endpoint) -> BoxFuture<'a, Result<(), String>>;
}

impl<C: Check> DynCheck for C {
    fn config(&self) -> &CheckConfig {
        Check::config(self)
    }

    fn check<'a>(&'a self, node: &'a Endpoint) -> BoxFuture<'a, Result<(), String>> {
        let limit = Check::config(self).timeout;
        Box::pin(async move {
            let checked = timeout(limit, Check::check(self, node)).await;
            checked.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
        })
    }
}

/// Registers checks.
pub trait CheckRegistry {
    /// Adds a check.
    fn check<C: Check + Component>(&mut self) -> &mut Self;
}

impl CheckRegistry for Registry {
    fn check<C: Check + Component>(&mut self) -> &mut Self {
        self.add::<CheckKind, C>(|check: Arc<C>| check)
    }
}

/// Takes a node that accepts a connection for fit.
#[derive(Debug)]
pub struct TcpCheck(CheckConfig);

impl Component for TcpCheck {
    const SIGN: &'static str = "tcpCheck";
    const ABOUT: Option<&'static str> = Some("Takes a node for fit that accepts a connection.");
    type Config = CheckConfig;

    fn create(config: CheckConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Lifecycle for TcpCheck {}

impl Check for TcpCheck {
    fn config(&self) -> &CheckConfig {
        &self.0
    }

    async fn check(&self, node: &Endpoint) -> Result<(), String> {
        let connected = match node.target() {
            Target::Tcp(address) => TcpStream::connect(address).await.map(drop),
            Target::Unix(path) => UnixStream::connect(path).await.map(drop),
        };
        connected.map_err(|e| format!("cannot connect: {e}"))
    }
}
