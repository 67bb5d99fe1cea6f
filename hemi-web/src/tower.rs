//! Services of tower, `axum::Router` among them, as handlets.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hemi_core::Lifecycle;
use hemi_core::listen::Peer;
use http::{Extensions, StatusCode};
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::body::BoxError;
use crate::{Body, Handlet, Reply, Request, Respond, Response, WebError};

/// Any service of tower that answers [`http::Request`]s, to be put where a handlet can be:
/// `Rule::new().handlet(Tower::new(axum_router))`, for instance. Contents stream both ways, with their
/// trailers; the service is cloned for each request.
///
/// The service sees the request's fields, its target as path and query, its version, and as extensions what
/// revisers have left there; the client's address too, if [`Tower::peer`] says how. It answers every
/// request. An error of it is logged, and 500. It can't take over connections: there is no `hyper::upgrade` here, use
/// a [`crate::Socklet`].
///
/// ```
/// use std::convert::Infallible;
/// use std::task::{Context, Poll};
///
/// use hemi_web::testing::Client;
/// use hemi_web::{Body, Tower};
///
/// #[derive(Clone)]
/// struct Echo;
///
/// impl tower_service::Service<http::Request<Body>> for Echo {
///     type Response = http::Response<Body>;
///     type Error = Infallible;
///     type Future = std::future::Ready<Result<Self::Response, Infallible>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, req: http::Request<Body>) -> Self::Future {
///         std::future::ready(Ok(http::Response::new(req.into_body())))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Tower::new(Echo));
/// assert_eq!(client.post("/").body("Hello").send().await.text(), "Hello");
/// # }
/// ```
#[derive(Clone)]
pub struct Tower<S> {
    service: S,
    extend: Option<Arc<Extend>>,
}

/// Adds extensions that are made from the request.
type Extend = dyn Fn(&Request, &mut Extensions) + Send + Sync;

impl<S> Tower<S> {
    /// The handlet that asks this service.
    #[must_use]
    pub fn new(service: S) -> Self {
        Self { service, extend: None }
    }

    /// The same with the address of a client that came by TCP as an extension, of the type that is looked
    /// for: `.peer(axum::extract::ConnectInfo)`.
    #[must_use]
    pub fn peer<T>(self, wrap: impl Fn(SocketAddr) -> T + Send + Sync + 'static) -> Self
    where
        T: Clone + Send + Sync + 'static,
    {
        self.extend(move |req, extensions| {
            if let Peer::Tcp(address) = req.peer() {
                extensions.insert(wrap(address));
            }
        })
    }

    /// The same with other extensions, made from the request.
    #[must_use]
    pub fn extend(
        mut self,
        extend: impl Fn(&Request, &mut Extensions) + Send + Sync + 'static,
    ) -> Self {
        let before = self.extend.take();
        self.extend = Some(Arc::new(move |req, extensions| {
            if let Some(before) = &before {
                before(req, extensions);
            }
            extend(req, extensions);
        }));
        self
    }

    /// The request as the service takes it.
    fn translate(&self, req: &mut Request) -> Result<http::Request<Body>, StatusCode> {
        let uri = req.uri().map_err(|_| StatusCode::BAD_REQUEST)?;
        let mut translated = http::Request::new(req.take_body());
        *translated.method_mut() = req.method().clone();
        *translated.uri_mut() = uri;
        *translated.version_mut() = req.version();
        // Revisers and the log still read them.
        *translated.headers_mut() = req.to_headers();
        // What is there may count until the answer is sent.
        let mut extensions = req.extensions().clone();
        if let Some(extend) = &self.extend {
            extend(req, &mut extensions);
        }
        *translated.extensions_mut() = extensions;
        Ok(translated)
    }
}

impl<S: Send + Sync + 'static> Lifecycle for Tower<S> {}

impl<S, B> Handlet for Tower<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn handle(&self, req: &mut Request) -> Reply {
        let translated = match self.translate(req) {
            Ok(translated) => translated,
            Err(status) => return status.into(),
        };
        let mut service = self.service.clone();
        if let Err(e) = poll_fn(|cx| service.poll_ready(cx)).await {
            return failed(e);
        }
        match service.call(translated).await {
            Ok(answer) => {
                let (parts, body) = answer.into_parts();
                let mut response = Response::new(parts.status);
                *response.headers_mut() = parts.headers;
                response.with_body(Body::foreign(body)).into()
            }
            Err(e) => failed(e),
        }
    }
}

fn failed(e: impl Into<BoxError>) -> Reply {
    WebError::caused(StatusCode::INTERNAL_SERVER_ERROR, e).respond().into()
}

impl<S> std::fmt::Debug for Tower<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tower").finish_non_exhaustive()
    }
}
