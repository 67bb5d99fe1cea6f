//! The check `grpcCheck`: asks a node by gRPC whether it is well (`grpc.health.v1`).
//!
//! ```gorox
//! stage {
//! 	http2Backend "greeter" {
//! 		node { .address = "127.0.0.1:50051" }
//! 		node { .address = "127.0.0.1:50052" }
//! 		grpcCheck { .service = "greet.Greeter"  .interval = 5s }
//! 	}
//! 	webapp "site" { .hostnames = ("*")  rule { httpProxy { .toBackend = "greeter" } } }
//! 	httpxServer "main" {
//! 		.address = "127.0.0.1:3080"
//! 		.webapps = ("site")
//! 		.h2cPriorKnowledge = true
//! 	}
//! }
//! ```
//!
//! Inside a backend whose nodes are spoken to over TLS, so it does: `.tlsMode` and the other properties of TLS are
//! the backend's unless they are said again. Each check is a connection of its own.

use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use hemi_core::backend::{Check, CheckConfig, Endpoint};
use hemi_core::tls::{Connector, ConnectorConfig, Link};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result};
use hemi_proto::grpc_health::{PATH, Serving, encode_check, read_check};
use http::header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use serde::Deserialize;

/// Bytes of an answer that are read: one has a few.
const CONTENT: usize = 16 << 10;

/// Bytes of a head, at most.
const HEAD: u32 = 16 << 10;

/// Asks a node by gRPC whether it is well.
#[derive(Clone, Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcCheckConfig {
    /// The service that is asked about, such as `"greet.Greeter"`; empty for the server as a whole.
    service: String,
    /// Whether the node is spoken to over TLS.
    tls_mode: bool,
}

/// Asks a node by gRPC whether it is well.
pub struct GrpcCheck {
    check: CheckConfig,
    message: Bytes,
    connector: Option<Arc<Connector>>,
}

impl Component for GrpcCheck {
    const SIGN: &'static str = "grpcCheck";
    const ABOUT: Option<&'static str> = Some("Asks a node by gRPC whether it is well.");
    type Config = (CheckConfig, GrpcCheckConfig, ConnectorConfig);

    fn create((check, config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let connector = match config.tls_mode {
            true => Some(Arc::new(Connector::new(tls, &["h2"], cx)?)),
            false => None,
        };
        Ok(Self { check, message: encode_check(&config.service).into(), connector })
    }
}

impl Lifecycle for GrpcCheck {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.connector.as_ref().map_or(Ok(()), |connector| connector.prepare())
    }
}

impl Check for GrpcCheck {
    fn config(&self) -> &CheckConfig {
        &self.check
    }

    async fn check(&self, node: &Endpoint) -> Result<(), String> {
        let (host, connector) = (node.hostname(), self.connector.as_ref());
        let connected = Link::connect(node.target(), &host, connector).await;
        let link = connected.map_err(|e| format!("cannot connect: {e}"))?;
        let handshake =
            Builder::new().enable_push(false).max_header_list_size(HEAD).handshake(link);
        let handshake = handshake.await.map_err(|e| format!("it does not speak HTTP/2: {e}"));
        let (sender, connection) = handshake?;
        let mut asking = pin!(self.ask(sender, node));
        tokio::select! {
            answer = &mut asking => answer,
            // What it has said before is there.
            _ = connection => asking.await,
        }
    }
}

impl GrpcCheck {
    async fn ask(&self, sender: SendRequest<Bytes>, node: &Endpoint) -> Result<(), String> {
        let broken = |e: h2::Error| format!("no answer: {e}");
        let mut sender = sender.ready().await.map_err(broken)?;
        let request = self.request(node).ok_or("the request can't be written")?;
        let (answer, mut content) = sender.send_request(request, false).map_err(broken)?;
        content.send_data(self.message.clone(), true).map_err(broken)?;
        let (head, content) = answer.await.map_err(broken)?.into_parts();
        if head.status != StatusCode::OK {
            return Err(format!("it answers {}", head.status.as_u16()));
        }
        // An answer without content has its trailers in the head.
        if head.headers.contains_key("grpc-status") {
            return judge(&head.headers, &[]);
        }
        let (content, trailers) = read(content).await?;
        judge(&trailers, &content)
    }

    fn request(&self, node: &Endpoint) -> Option<Request<()>> {
        let mut uri = http::uri::Parts::default();
        let scheme = if self.connector.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        uri.scheme = Some(scheme);
        uri.authority = Some(node.authority().as_bytes().try_into().ok()?);
        uri.path_and_query = Some(PathAndQuery::from_static(PATH));
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_parts(uri).ok()?;
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(TE, HeaderValue::from_static("trailers"));
        fields.insert(USER_AGENT, HeaderValue::from_static("hemi-check"));
        Some(request)
    }
}

async fn read(mut content: RecvStream) -> Result<(BytesMut, HeaderMap), String> {
    let mut all = BytesMut::new();
    while let Some(piece) = content.data().await {
        let piece = piece.map_err(|e| format!("the answer broke off: {e}"))?;
        if all.len() + piece.len() > CONTENT {
            return Err("its answer is too long".to_owned());
        }
        all.extend_from_slice(&piece);
        let _ = content.flow_control().release_capacity(piece.len());
    }
    let trailers = content.trailers().await.map_err(|e| format!("the answer broke off: {e}"))?;
    Ok((all, trailers.unwrap_or_default()))
}

/// Whether the node is well, by the trailers and the content of its answer.
fn judge(trailers: &HeaderMap, content: &[u8]) -> Result<(), String> {
    match trailers.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => {}
        // It knows no such service, or no checks.
        Some(b"5") => return Err("it does not know the service".to_owned()),
        Some(b"12") => return Err("it does not know grpc.health.v1".to_owned()),
        Some(code) => return Err(format!("its gRPC status is {}", code.escape_ascii())),
        None => return Err("its answer is not one of gRPC".to_owned()),
    }
    match read_check(content) {
        Ok(Serving::Yes) => Ok(()),
        Ok(Serving::No(status)) => Err(format!("it says that it does not serve ({status})")),
        Err(e) => Err(e.to_string()),
    }
}

impl std::fmt::Debug for GrpcCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcCheck").field("check", &self.check).finish_non_exhaustive()
    }
}
