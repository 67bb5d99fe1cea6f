//! A service as tonic-build makes it, and how a server keeps it.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use hemi_core::{BoxFuture, Component, Registry};
use tonic::body::Body as TonicBody;
use tonic::server::NamedService;
use tower_service::Service as TowerService;

use super::json::{self, Method, Methods};
use super::messages::Messages;
use crate::{DynService, Exchange, Outcome, ServiceKind};

/// A service that tonic-build has made of a `.proto` file, ready to be served: cheap to clone.
///
/// ```ignore
/// GrpcService::new(GreeterServer::new(Greeter)).described_by(proto::FILE_DESCRIPTOR_SET)
/// ```
#[derive(Clone)]
pub struct GrpcService {
    name: Arc<str>,
    calls: Arc<dyn Calls>,
    descriptors: &'static [u8],
    /// What is known of its methods.
    methods: Option<Arc<Methods>>,
}

/// The form of a service that is stored.
pub(super) trait Calls: Send + Sync {
    fn call(&self, request: http::Request<Messages>) -> Answering;

    /// Whether messages may come in JSON, as an extension says.
    fn speaks_json(&self) -> bool {
        false
    }
}

/// An answer to come.
pub(super) type Answering = BoxFuture<'static, http::Response<TonicBody>>;

struct Tower<S>(S);

impl<S> Calls for Tower<S>
where
    S: TowerService<http::Request<Messages>, Response = http::Response<TonicBody>>,
    S: TowerService<http::Request<Messages>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    fn call(&self, request: http::Request<Messages>) -> Answering {
        let mut service = self.0.clone();
        Box::pin(async move {
            let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
            let Ok(answer) = service.call(request).await;
            answer
        })
    }
}

impl GrpcService {
    /// What tonic-build calls a server, such as `GreeterServer::new(…)`, with interceptors or without.
    pub fn new<S>(service: S) -> Self
    where
        S: TowerService<http::Request<Messages>, Response = http::Response<TonicBody>>,
        S: TowerService<http::Request<Messages>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self {
            name: S::NAME.into(),
            calls: Arc::new(Tower(service)),
            descriptors: &[],
            methods: None,
        }
    }

    pub(super) fn of(name: &str, calls: impl Calls + 'static) -> Self {
        Self { name: name.into(), calls: Arc::new(calls), descriptors: &[], methods: None }
    }

    /// The same, asked by way of this.
    pub(super) fn through(&self, calls: impl Calls + 'static) -> Self {
        Self { calls: Arc::new(calls), ..self.clone() }
    }

    /// The same, with the encoded `FileDescriptorSet` of its `.proto` file: for reflection, and for messages in JSON.
    #[must_use]
    pub fn described_by(mut self, descriptors: &'static [u8]) -> Self {
        self.descriptors = descriptors;
        self.methods = json::methods(&self.name, descriptors).map(Arc::new);
        self
    }

    /// Its name with that of its package, as callers say it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn descriptors(&self) -> &'static [u8] {
        self.descriptors
    }

    /// Whether messages may come in JSON.
    pub(super) fn speaks_json(&self) -> bool {
        self.methods.is_some() || self.calls.speaks_json()
    }

    /// What a method takes and gives back, if that is known.
    pub(super) fn method(&self, name: &str) -> Option<&Method> {
        self.methods.as_ref()?.get(name)
    }

    /// All of them, by their names.
    pub(super) fn methods(&self) -> impl Iterator<Item = (&str, &Method)> {
        self.methods
            .iter()
            .flat_map(|methods| methods.iter())
            .map(|(name, method)| (&**name, method))
    }

    pub(super) fn call(&self, request: http::Request<Messages>) -> Answering {
        self.calls.call(request)
    }
}

impl fmt::Debug for GrpcService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GrpcService").field(&self.name).finish()
    }
}

/// A component that is a service of gRPC.
pub trait GrpcComponent: Component {
    /// What is served, for instance `GrpcService::new(GreeterServer::from_arc(self))`.
    fn service(self: Arc<Self>) -> GrpcService;
}

/// Registers services of gRPC.
pub trait GrpcRegistry {
    /// Adds a service.
    fn grpc_service<S: GrpcComponent>(&mut self) -> &mut Self;
}

impl GrpcRegistry for Registry {
    fn grpc_service<S: GrpcComponent>(&mut self) -> &mut Self {
        self.add::<ServiceKind, S>(|component: Arc<S>| mount(component.service()))
    }
}

/// A service of gRPC among those of other protocols.
pub(crate) fn mount(service: GrpcService) -> Arc<dyn DynService> {
    Arc::new(Mounted(service))
}

struct Mounted(GrpcService);

impl DynService for Mounted {
    fn methods(&self) -> &'static [&'static str] {
        &[]
    }

    fn call(&self, exchange: Exchange<'_>) -> Outcome {
        exchange.unknown_method()
    }

    fn for_core(&self) -> Arc<dyn DynService> {
        Arc::new(Self(self.0.clone()))
    }

    fn grpc(&self) -> Option<&GrpcService> {
        Some(&self.0)
    }
}
