//! The kind `gateway`: groups of servers that run programs, and are told of requests by variables: FastCGI and
//! its like.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use hemi_core::backend::{Nodes, Pick};
use hemi_core::config::KindName;
use hemi_core::{BoxFuture, Component, Kind, Lifecycle, Place, Rank, Registry};
use http::Method;

use crate::{Body, Response, Undelivered};

/// The kind of gateways.
#[derive(Debug)]
pub struct GatewayKind;

impl KindName for GatewayKind {
    const NAME: &'static str = "gateway";
}

impl Kind for GatewayKind {
    type Object = dyn DynGateway;
    const RANK: Rank = Rank::BACKEND;
    const PLACE: Place = Place::Referred;
}

/// Names and values, each name once.
pub type Variables<'a> = [(Cow<'a, str>, Cow<'a, [u8]>)];

/// A group of servers that run programs.
pub trait Gateway: Lifecycle {
    /// Its nodes.
    fn nodes(&self) -> &Nodes;

    /// Sends a request to a node, and gives the answer when its head has come. The variables tell the
    /// method and the content's length, too, which is known.
    ///
    /// # Errors
    /// When there is no answer.
    fn send(
        &self,
        pick: Pick,
        method: &Method,
        variables: &Variables<'_>,
        body: Body,
    ) -> impl Future<Output = Result<Response, Box<Undelivered>>> + Send;
}

/// The form of [`Gateway`] that a proxy stores.
pub trait DynGateway: Send + Sync {
    /// See [`Gateway::nodes`].
    fn nodes(&self) -> &Nodes;

    /// See [`Gateway::send`].
    fn send<'a>(
        &'a self,
        pick: Pick,
        method: &'a Method,
        variables: &'a Variables<'a>,
        body: Body,
    ) -> BoxFuture<'a, Result<Response, Box<Undelivered>>>;
}

impl<G: Gateway> DynGateway for G {
    fn nodes(&self) -> &Nodes {
        Gateway::nodes(self)
    }

    fn send<'a>(
        &'a self,
        pick: Pick,
        method: &'a Method,
        variables: &'a Variables<'a>,
        body: Body,
    ) -> BoxFuture<'a, Result<Response, Box<Undelivered>>> {
        Box::pin(Gateway::send(self, pick, method, variables, body))
    }
}

/// Registers gateways.
pub trait GatewayRegistry {
    /// Adds a gateway.
    fn gateway<G: Gateway + Component>(&mut self) -> &mut Self;
}

impl GatewayRegistry for Registry {
    fn gateway<G: Gateway + Component>(&mut self) -> &mut Self {
        self.add::<GatewayKind, G>(|gateway: Arc<G>| gateway)
    }
}
