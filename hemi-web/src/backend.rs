//! The kind `httpBackend`: groups of servers that requests are passed on to.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::{Nodes, Pick};
use hemi_core::config::KindName;
use hemi_core::{BoxFuture, Component, Kind, Lifecycle, Place, Rank, Registry};
use hemi_proto::fields::FieldLines;
use http::{Method, StatusCode};

use crate::{Body, BoxError, Interim, Response};

/// The kind of backends that speak HTTP.
#[derive(Debug)]
pub struct HttpBackendKind;

impl KindName for HttpBackendKind {
    const NAME: &'static str = "httpBackend";
}

impl Kind for HttpBackendKind {
    type Object = dyn DynHttpBackend;
    const RANK: Rank = Rank::BACKEND;
    const PLACE: Place = Place::Referred;
}

/// The head of a request on its way to a node.
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a [u8],
    /// Host and port that are asked for.
    pub authority: Cow<'a, [u8]>,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// The fields, without those that are about a connection or the content's length.
    pub fields: &'a FieldLines,
    /// The protocol that the client wants to go on in, if it does.
    pub upgrade: Option<&'a [u8]>,
    /// Whether the client takes trailers, and says so.
    pub trailers: bool,
    /// Takes the fields of a 103 that comes before the answer (RFC 8297), if the client wants to hear of it.
    pub hints: Option<&'a Interim>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The node can't be connected to.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// The connection broke before there was an answer.
    #[error("the connection broke: {0}")]
    Broken(std::io::Error),
    /// The node has closed the connection instead of answering.
    #[error("the connection was closed before an answer came")]
    Closed,
    /// The node took longer than this.
    #[error("no {what} within {limit:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// What came is no answer.
    #[error("the answer is malformed: {0}")]
    Malformed(BoxError),
    /// The request can't be sent by the backend's protocol.
    #[error("the request can't be sent: {0}")]
    Unsendable(&'static str),
    /// The client's content could not be read to its end.
    #[error("the content of the request broke off: {0}")]
    Content(crate::BodyError),
}

impl SendError {
    /// The status that answers it: 502, or 504 for what took too long; the client's own fault has its own.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Unsendable(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Content(e) => e.status(),
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// Whether the node is to be blamed.
    #[must_use]
    pub fn is_of_node(&self) -> bool {
        !matches!(self, Self::Unsendable(_) | Self::Content(_))
    }
}

/// A request that got no answer.
#[derive(Debug)]
pub struct Undelivered {
    /// Why.
    pub error: SendError,
    /// The node that was picked for it.
    pub pick: Pick,
    /// Nothing of the request can have reached the node, or been acted upon.
    pub unseen: bool,
    /// The content, if nothing of it was taken yet, so that the request may be sent again.
    pub body: Option<Body>,
}

impl Undelivered {
    /// A request that the protocol of the backend can't carry, for this reason.
    #[must_use]
    pub fn unsendable(pick: Pick, why: &'static str) -> Box<Self> {
        Box::new(Self { error: SendError::Unsendable(why), pick, unseen: true, body: None })
    }
}

/// A group of servers that requests are passed on to.
pub trait HttpBackend: Lifecycle {
    /// Its nodes.
    fn nodes(&self) -> &Nodes;

    /// Sends a request to a node, and gives the answer when its head has come: any but 1xx, save a 101
    /// that was asked for. Its content comes as it is read; the node counts as busy until it is over.
    ///
    /// # Errors
    /// When there is no answer.
    fn send(
        &self,
        pick: Pick,
        request: Outgoing<'_>,
        body: Body,
    ) -> impl Future<Output = Result<Response, Box<Undelivered>>> + Send;
}

/// The form of [`HttpBackend`] that a proxy stores.
pub trait DynHttpBackend: Send + Sync {
    /// See [`HttpBackend::nodes`].
    fn nodes(&self) -> &Nodes;

    /// See [`HttpBackend::send`].
    fn send<'a>(
        &'a self,
        pick: Pick,
        request: Outgoing<'a>,
        body: Body,
    ) -> BoxFuture<'a, Result<Response, Box<Undelivered>>>;
}

impl<B: HttpBackend> DynHttpBackend for B {
    fn nodes(&self) -> &Nodes {
        HttpBackend::nodes(self)
    }

    fn send<'a>(
        &'a self,
        pick: Pick,
        request: Outgoing<'a>,
        body: Body,
    ) -> BoxFuture<'a, Result<Response, Box<Undelivered>>> {
        Box::pin(HttpBackend::send(self, pick, request, body))
    }
}

/// Registers backends that speak HTTP.
pub trait HttpBackendRegistry {
    /// Adds a backend.
    fn http_backend<B: HttpBackend + Component>(&mut self) -> &mut Self;
}

impl HttpBackendRegistry for Registry {
    fn http_backend<B: HttpBackend + Component>(&mut self) -> &mut Self {
        self.add::<HttpBackendKind, B>(|backend: Arc<B>| backend)
    }
}
