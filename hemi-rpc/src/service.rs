//! The kind `service`: what answers calls.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use hemi_core::config::KindName;
use hemi_core::{Component, Kind, Lifecycle, Parts, Place, Rank, Registry, Result};

use crate::{Exchange, GrpcService, Outcome};

/// The kind of services. Servers refer to one by its name, which is the one that callers ask for.
#[derive(Debug)]
pub struct ServiceKind;

impl KindName for ServiceKind {
    const NAME: &'static str = "service";
}

impl Kind for ServiceKind {
    type Object = dyn DynService;
    const RANK: Rank = Rank::SERVICE;
    const PLACE: Place = Place::Referred;
}

/// Answers calls. [`#[service]`](macro@crate::service) implements it.
pub trait Service: Send + Sync + Sized + 'static {
    /// What callers ask for, if no config gives it another name.
    const NAME: &'static str;
    /// What can be asked of it.
    const METHODS: &'static [&'static str];

    /// Answers a call, or begins to.
    fn call<H: Holds<Self>>(this: H, exchange: Exchange<'_>) -> Outcome;
}

/// A handle of a service, cheap to clone.
pub trait Holds<S>: Deref<Target = S> + Clone + Send + Sync + 'static {}

impl<S, H: Deref<Target = S> + Clone + Send + Sync + 'static> Holds<S> for H {}

/// The form of [`Service`] that a server stores.
pub trait DynService: Send + Sync {
    /// See [`Service::METHODS`].
    fn methods(&self) -> &'static [&'static str];

    /// See [`Service::call`].
    fn call(&self, exchange: Exchange<'_>) -> Outcome;

    /// The same as a service of gRPC, if it is one that tonic-build has made.
    fn grpc(&self) -> Option<&GrpcService> {
        None
    }

    /// The same service, to be used by one core: what counts its handles is not shared with others.
    fn for_core(&self) -> Arc<dyn DynService>;
}

/// A service, and a handle of it for one core.
struct Local<S>(Arc<Held<S>>);

struct Held<S>(Arc<S>);

struct Handle<S>(Arc<Held<S>>);

impl<S> Deref for Handle<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0.0
    }
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Service> DynService for Local<S> {
    fn methods(&self) -> &'static [&'static str] {
        S::METHODS
    }

    fn call(&self, exchange: Exchange<'_>) -> Outcome {
        S::call(Handle(self.0.clone()), exchange)
    }

    fn for_core(&self) -> Arc<dyn DynService> {
        erase(self.0.0.clone())
    }
}

impl fmt::Debug for dyn DynService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.methods()).finish()
    }
}

pub(crate) fn erase<S: Service>(service: Arc<S>) -> Arc<dyn DynService> {
    Arc::new(Local(Arc::new(Held(service))))
}

/// Registers services.
pub trait ServiceRegistry {
    /// Adds a service.
    fn service<S: Service + Component>(&mut self) -> &mut Self;
}

impl ServiceRegistry for Registry {
    fn service<S: Service + Component>(&mut self) -> &mut Self {
        self.add::<ServiceKind, S>(erase)
    }
}

/// Adds services to a stage that is built in code.
pub trait ServiceParts {
    /// Adds a service that has a life of its own: a server gets it by [`crate::RpcxServer::service`] besides.
    ///
    /// # Errors
    /// When the stage has a service of that name.
    fn service<S: Service + Lifecycle>(&mut self, name: &str, service: S) -> Result<Arc<S>>;
}

impl ServiceParts for Parts {
    fn service<S: Service + Lifecycle>(&mut self, name: &str, service: S) -> Result<Arc<S>> {
        let service = Arc::new(service);
        self.add::<ServiceKind>(name, erase(service.clone()), service.clone())?;
        Ok(service)
    }
}
