//! The kind `gateway`: groups of servers that run programs, and are told of requests by variables: FastCGI and
//! its like.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use hemi_core::backend::{Nodes, Pick};
use hemi_core::config::KindName;
use hemi_core::{BoxFuture, Component, Kind, Lifecycle, Place, Rank, Registry};
use http::{HeaderMap, Method};

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

/// What a program is told of a request: by variables, or by what they are made of where a protocol has its
/// own words for that.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a Method,
    /// The version of HTTP, such as `HTTP/1.1`.
    pub protocol: &'static str,
    /// The path, encoded.
    pub path: &'a str,
    /// The query, encoded.
    pub query: Option<&'a str>,
    /// The fields, as the client has sent them.
    pub headers: &'a HeaderMap,
    /// Host and port as asked for.
    pub authority: &'a str,
    /// The host asked for.
    pub server_name: &'a str,
    /// The port asked for.
    pub server_port: u16,
    /// The client's address; empty if it has none.
    pub remote_addr: &'a str,
    /// Who the client is, if that is known.
    pub user: Option<&'a str>,
    /// The cipher suite, if the request came over TLS.
    pub tls: Option<&'a str>,
    /// What the config tells the program besides.
    pub params: &'a Variables<'a>,
    /// All of this and more by the names that CGI has for it (RFC 3875, 4.1).
    pub variables: &'a Variables<'a>,
}

/// A group of servers that run programs.
pub trait Gateway: Lifecycle {
    /// Its nodes.
    fn nodes(&self) -> &Nodes;

    /// What is spoken, such as `FastCGI`; which proxies may use it depends on that.
    fn protocol(&self) -> &'static str;

    /// Sends a request to a node, and gives the answer when its head has come.
    ///
    /// # Errors
    /// When there is no answer.
    fn send(
        &self,
        pick: Pick,
        call: &Call<'_>,
        body: Body,
    ) -> impl Future<Output = Result<Response, Box<Undelivered>>> + Send;
}

/// The form of [`Gateway`] that a proxy stores.
pub trait DynGateway: Send + Sync {
    /// See [`Gateway::nodes`].
    fn nodes(&self) -> &Nodes;

    /// See [`Gateway::protocol`].
    fn protocol(&self) -> &'static str;

    /// See [`Gateway::send`].
    fn send<'a>(
        &'a self,
        pick: Pick,
        call: &'a Call<'a>,
        body: Body,
    ) -> BoxFuture<'a, Result<Response, Box<Undelivered>>>;
}

impl<G: Gateway> DynGateway for G {
    fn nodes(&self) -> &Nodes {
        Gateway::nodes(self)
    }

    fn protocol(&self) -> &'static str {
        Gateway::protocol(self)
    }

    fn send<'a>(
        &'a self,
        pick: Pick,
        call: &'a Call<'a>,
        body: Body,
    ) -> BoxFuture<'a, Result<Response, Box<Undelivered>>> {
        Box::pin(Gateway::send(self, pick, call, body))
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
