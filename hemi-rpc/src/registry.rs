//! The kind `registry`: where nodes say that they are there, and clients of their services find them.

mod announce;
mod found;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::config::KindName;
use hemi_core::{BoxFuture, Component, Kind, Lifecycle, Place, Rank, Registry};
use tokio::sync::watch;

pub(crate) use self::announce::Announcer;
pub use self::announce::{AnnounceConfig, Announced, Announcement};
pub use self::found::Registered;
use crate::{NodeInfo, Retry};

/// The kind of registries.
#[derive(Debug)]
pub struct RegistryKind;

impl KindName for RegistryKind {
    const NAME: &'static str = "registry";
}

impl Kind for RegistryKind {
    type Object = dyn DynNodeRegistry;
    const RANK: Rank = Rank::BACKEND;
    const PLACE: Place = Place::Referred;
}

/// Knows which nodes have a service. Whoever asks it or tells it does so again when it could not: what comes back with an
/// error is called anew.
pub trait NodeRegistry: Lifecycle + fmt::Debug {
    /// Says which nodes there are of a service, now and whenever that changes, for as long as it can. It comes back with the
    /// reason why it can't any more.
    fn follow(
        &self,
        service: &str,
        found: &watch::Sender<Vec<NodeInfo>>,
    ) -> impl Future<Output = RegistryError> + Send;

    /// Says that nodes are there for as long as they are, and then that they have gone.
    ///
    /// # Errors
    /// When the registry can't be told.
    fn announce(
        &self,
        announcement: &Announcement,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;
}

/// The form of [`NodeRegistry`] that others hold.
pub trait DynNodeRegistry: Send + Sync + fmt::Debug {
    /// See [`NodeRegistry::follow`].
    fn follow<'a>(
        &'a self,
        service: &'a str,
        found: &'a watch::Sender<Vec<NodeInfo>>,
    ) -> BoxFuture<'a, RegistryError>;

    /// See [`NodeRegistry::announce`].
    fn announce<'a>(
        &'a self,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<(), RegistryError>>;
}

impl<R: NodeRegistry> DynNodeRegistry for R {
    fn follow<'a>(
        &'a self,
        service: &'a str,
        found: &'a watch::Sender<Vec<NodeInfo>>,
    ) -> BoxFuture<'a, RegistryError> {
        Box::pin(NodeRegistry::follow(self, service, found))
    }

    fn announce<'a>(
        &'a self,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(NodeRegistry::announce(self, announcement))
    }
}

/// Registers registries.
pub trait NodeRegistryRegistry {
    /// Adds a registry.
    fn node_registry<R: NodeRegistry + Component>(&mut self) -> &mut Self;
}

impl NodeRegistryRegistry for Registry {
    fn node_registry<R: NodeRegistry + Component>(&mut self) -> &mut Self {
        self.add::<RegistryKind, R>(|registry: Arc<R>| registry)
    }
}

/// Why a registry can't be asked, or told.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct RegistryError(Box<str>);

impl RegistryError {
    /// For this reason.
    pub fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string().into())
    }
}

impl From<std::io::Error> for RegistryError {
    fn from(e: std::io::Error) -> Self {
        Self::new(e)
    }
}

impl From<tonic::Status> for RegistryError {
    fn from(status: tonic::Status) -> Self {
        Self::new(format_args!("{:?}: {}", status.code(), status.message()))
    }
}

/// A service that a node has, as registries are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNode {
    /// The service's name.
    pub service: String,
    /// Where the node is, as registries of rpcx have it: `"tcp@10.0.0.1:8972"`.
    pub address: String,
    /// What else is to be known of it, as the query of a URL: see [`NodeInfo`].
    pub metadata: String,
}

/// How long to wait before a registry is asked again that could not be for so many times in a row.
fn pause(failed: u32) -> Duration {
    let (first, longest) = (Duration::from_millis(200), Duration::from_secs(10));
    Retry { first_pause: first, longest_pause: longest, ..Retry::default() }.pause(failed)
}
