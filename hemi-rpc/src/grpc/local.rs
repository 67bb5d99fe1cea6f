//! Services that are an `impl` block with `#[service]`, for callers that speak gRPC: each call is one of rpcx that is
//! never sent.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hemi_core::clock::Moment;
use hemi_core::cores::available;
use hemi_core::listen::Peer;
use hemi_proto::grpc::{FrameError, Frames};
use hemi_proto::rpcx::CodecId;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body as HttpBody;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body as TonicBody;

use super::messages::{Messages, framed};
use super::replies::trailers_of;
use super::service::{Answering, Calls, GrpcService};
use crate::exchange::Route;
use crate::local::{LocalCall, Refused, metadata_of};
use crate::server::Shared;
use crate::{Asking, DynService, Refusal};

/// A service of that kind.
struct Local {
    route: Arc<Route>,
    server: Arc<Shared>,
}

/// Answers calls of gRPC by a service that knows nothing of it.
pub(super) fn of(name: &str, service: &Arc<dyn DynService>) -> GrpcService {
    within(name, service, &Shared::without_limits(available().get()))
}

/// The same for who is let pass by the guards of this server.
pub(crate) fn within(
    name: &str,
    service: &Arc<dyn DynService>,
    server: &Arc<Shared>,
) -> GrpcService {
    let route = Arc::new(Route { name: name.to_owned(), service: service.clone() });
    GrpcService::of(name, Local { route, server: server.clone() })
}

/// A service of gRPC, for who is let pass by the guards of this server.
struct Guarded {
    service: GrpcService,
    server: Arc<Shared>,
}

/// Has the guards of a server asked before a service of gRPC.
pub(crate) fn guarded(service: &GrpcService, server: &Arc<Shared>) -> GrpcService {
    service.through(Guarded { service: service.clone(), server: server.clone() })
}

impl Calls for Guarded {
    fn call(&self, request: http::Request<Messages>) -> Answering {
        let metadata = metadata_of(request.headers());
        let asking = Asking {
            peer: request.extensions().get().unwrap_or(&Peer::Unix),
            service: self.service.name().as_bytes(),
            method: request.uri().path().rsplit('/').next().unwrap_or_default().as_bytes(),
            metadata: metadata.pairs(),
        };
        match self.server.admit(&asking) {
            Ok(()) => self.service.call(request),
            Err(Refusal::Call(fault) | Refusal::Connection(fault)) => {
                self.server.counters.refused.add(1);
                let refused = Status::unauthenticated(fault.text()).into_http();
                Box::pin(std::future::ready(refused))
            }
        }
    }

    fn speaks_json(&self) -> bool {
        self.service.speaks_json()
    }
}

impl Calls for Local {
    fn call(&self, request: http::Request<Messages>) -> Answering {
        let (route, server) = (self.route.clone(), self.server.clone());
        Box::pin(async move {
            let answered = answer(request, route, server).await;
            answered.unwrap_or_else(Status::into_http)
        })
    }

    fn speaks_json(&self) -> bool {
        true
    }
}

async fn answer(
    request: http::Request<Messages>,
    route: Arc<Route>,
    server: Arc<Shared>,
) -> Result<http::Response<TonicBody>, Status> {
    let (parts, body) = request.into_parts();
    let message = only(body).await?;
    let call = LocalCall {
        server: &server,
        route: &route,
        method: parts.uri.path().rsplit('/').next().unwrap_or_default(),
        peer: parts.extensions.get().copied().unwrap_or(Peer::Unix),
        codec: parts.extensions.get().copied().unwrap_or(CodecId::PROTOBUF),
        metadata: metadata_of(&parts.headers),
        message: &message,
        deadline: Moment::NEVER,
    };
    let reply = call.make().await.map_err(|refused| match refused {
        Refused::NoMethod(text) => Status::unimplemented(text),
        Refused::Guarded(fault) => Status::unauthenticated(fault.text()),
    })?;
    let mut headers = HeaderMap::new();
    for (key, value) in reply.metadata.pairs().iter().filter(|(key, _)| !key.starts_with(b"__")) {
        let name = HeaderName::from_bytes(&key.to_ascii_lowercase());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    if let Some(text) = reply.failed {
        let mut failed = Status::unknown(text).into_http::<TonicBody>();
        failed.headers_mut().extend(headers);
        return Ok(failed);
    }
    let mut response = http::Response::new(TonicBody::new(Reply {
        message: Some(framed(0, &reply.payload)),
        trailers: Some(trailers_of(&Status::ok(""))),
    }));
    *response.headers_mut() = headers;
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    Ok(response)
}

/// The one message of a call.
async fn only(mut body: Messages) -> Result<Bytes, Status> {
    let mut frames = Frames::new(u32::MAX as usize);
    let bad = |e: FrameError| Status::internal(e.to_string());
    let mut message = None;
    while let Some(piece) =
        std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.transpose()?
    {
        let Ok(data) = piece.into_data() else { continue };
        frames.push(data);
        while let Some(frame) = frames.take().map_err(bad)? {
            if message.replace(frame.message).is_some() {
                return Err(Status::unimplemented("the method takes one message"));
            }
        }
    }
    message.ok_or_else(|| Status::unimplemented("the method takes one message, and there is none"))
}

/// An answer that is there.
struct Reply {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Status>>> {
        let message = self.message.take().map(Frame::data);
        let next = message.or_else(|| self.trailers.take().map(Frame::trailers));
        std::task::Poll::Ready(next.map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
