//! The kind `socklet`: takes connections over that a client asks to upgrade.

use std::future::Future;
use std::sync::Arc;

use hemi_core::config::KindName;
use hemi_core::{BoxFuture, Component, Kind, Lifecycle, Place, Rank, Registry};

use crate::{Reply, Request};

/// The kind of socklets.
#[derive(Debug)]
pub struct SockletKind;

impl KindName for SockletKind {
    const NAME: &'static str = "socklet";
}

impl Kind for SockletKind {
    type Object = dyn DynSocklet;
    const RANK: Rank = Rank::PART;
    const PLACE: Place = Place::Inside;
}

/// Answers requests to upgrade, with [`crate::Response::upgrade`] if it agrees.
pub trait Socklet: Lifecycle {
    /// Answers a request for which [`Request::wants_upgrade`] holds, or leaves it to the handlets.
    fn accept(&self, req: &mut Request) -> impl Future<Output = Reply> + Send;
}

/// The form of [`Socklet`] that a webapp stores.
pub trait DynSocklet: Send + Sync {
    /// See [`Socklet::accept`].
    fn accept<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Reply>;
}

impl<S: Socklet> DynSocklet for S {
    fn accept<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Reply> {
        Box::pin(Socklet::accept(self, req))
    }
}

/// Registers socklets.
pub trait SockletRegistry {
    /// Adds a socklet.
    fn socklet<S: Socklet + Component>(&mut self) -> &mut Self;
}

impl SockletRegistry for Registry {
    fn socklet<S: Socklet + Component>(&mut self) -> &mut Self {
        self.add::<SockletKind, S>(|socklet: Arc<S>| socklet)
    }
}
