//! Services of tonic-build by HRPC: each of its streams is a call of gRPC, each of its messages one of those.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hemi_core::listen::Peer;
use hemi_core::panics::catch;
use hemi_proto::grpc::{FLAG_COMPRESSED, Frames, decode_message, encode_message, show_timeout};
use hemi_proto::hrpc::Code;
use hemi_proto::rpcx::{AUTH_KEY, ERROR_KEY, Metadata, Pairs};
use hemi_web::Body;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use tonic::Status;

use super::called::TimeLimit;
use super::coding::Coding;
use super::form::{Carrier, GRPC_TIMEOUT};
use super::messages::{Messages, Want, framed};
use super::replies::Trailers;
use super::service::GrpcService;
use crate::hrpc::Pipe;
use crate::local::metadata_of;
use crate::server::Shared;

const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// A call that a service is to answer.
pub(crate) struct StreamedCall {
    pub(crate) service: GrpcService,
    pub(crate) method: String,
    pub(crate) peer: Peer,
    pub(crate) metadata: Metadata,
    pub(crate) timeout: Option<Duration>,
    pub(crate) pipe: Pipe,
    pub(crate) server: Arc<Shared>,
}

impl StreamedCall {
    /// Has it answered, to its end.
    pub(crate) async fn answer(self) {
        let (pipe, server) = (self.pipe.clone(), self.server.clone());
        let mut time = TimeLimit::new(self.timeout);
        let mut answering = pin!(self.relay());
        let answer = poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Pending => time.poll(cx).map(Err),
            ready => ready,
        });
        let ended = catch(pin!(answer)).await.unwrap_or_else(|panic| {
            let fault = server.panicked(&panic);
            Err(Status::internal(fault.text()))
        });
        let (code, metadata) = ended.unwrap_or_else(|status| {
            if status.code() == tonic::Code::DeadlineExceeded {
                server.counters.timeouts.add(1);
            }
            end_of(status.into_http::<()>().headers())
        });
        if code != Code::OK {
            server.counters.faults.add(1);
        }
        pipe.finish(code, metadata);
    }

    async fn relay(self) -> Result<(Code, Metadata), Status> {
        let Self { service, method, peer, metadata, timeout, pipe, server } = self;
        let most = usize::try_from(server.limits.max_decompressed_size.0).unwrap_or(usize::MAX);
        let path = format!("/{}/{method}", service.name());
        let want = Want { coding: Coding::Identity, json: None, most, one: false, drains: false };
        let body = Body::stream(Incoming { pipe: pipe.clone(), most, trailers: false });
        let mut request = http::Request::new(Messages::new(body, Carrier::Grpc, want));
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = path.parse().map_err(|_| Status::unimplemented("no such method"))?;
        *request.headers_mut() = headers_of(metadata.pairs());
        if let Some(Ok(text)) = timeout.map(|timeout| HeaderValue::try_from(show_timeout(timeout)))
        {
            request.headers_mut().insert(GRPC_TIMEOUT, text);
        }
        request.extensions_mut().insert(peer);
        let (mut parts, body) = service.call(request).await.into_parts();
        if parts.headers.contains_key(Status::GRPC_STATUS) {
            return Ok(end_of(&parts.headers));
        }
        pipe.say(metadata_of(&parts.headers));
        let trailers = send_all(&pipe, false, Frames::new(usize::MAX), body).await?;
        let none = || Status::unknown("the method has told no status");
        let mut trailers = trailers.ok_or_else(none)?;
        if let Some(Trailers(more)) = parts.extensions.remove() {
            trailers.extend(more.into_headers());
        }
        Ok(end_of(&trailers))
    }
}

/// Sends the messages of a body, as fast as they are taken; comes back with its trailers.
pub(super) async fn send_all<B>(
    pipe: &Pipe,
    may_compress: bool,
    mut frames: Frames,
    body: B,
) -> Result<Option<HeaderMap>, Status>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Status>,
{
    let mut body = pin!(body);
    loop {
        while let Some(frame) = frames.take().map_err(|e| Status::internal(e.to_string()))? {
            if !poll_fn(|cx| pipe.poll_room(cx)).await {
                return Err(Status::cancelled("nobody wants more"));
            }
            let compressed = frame.flags & FLAG_COMPRESSED != 0;
            if compressed && !may_compress {
                return Err(Status::unimplemented("messages are compressed by gzip or not at all"));
            }
            pipe.send(u8::from(compressed), frame.message);
        }
        let next = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        let Some(frame) = next.transpose().map_err(Into::into)? else { return Ok(None) };
        match frame.into_data() {
            Ok(piece) => frames.push(piece),
            Err(frame) => return Ok(frame.into_trailers().ok()),
        }
    }
}

/// What comes on a stream, as the content of a message of gRPC.
pub(super) struct Incoming {
    pipe: Pipe,
    /// Bytes that a message may become.
    most: usize,
    /// Whether its end is still to be told by trailers.
    trailers: bool,
}

impl Incoming {
    /// What a client reads.
    pub(super) fn ended_by_trailers(pipe: Pipe, most: usize) -> Self {
        Self { pipe, most, trailers: true }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = match self.pipe.poll_message(cx, self.most) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(next) => next,
        };
        Poll::Ready(match next {
            Ok(Ok(message)) => Some(Ok(Frame::data(framed(0, &message)))),
            Ok(Err(fault)) => Some(Err(Status::new(code_of(fault.code()), fault.text()))),
            Err(ended) if std::mem::take(&mut self.trailers) => {
                Some(Ok(Frame::trailers(trailers_of(ended.code, ended.metadata.pairs()))))
            }
            Err(ended) if ended.broken => Some(Err(Status::cancelled("the caller is gone"))),
            Err(_) => None,
        })
    }
}

/// What metadata is as header fields; what can't be one is left out.
pub(super) fn headers_of(metadata: Pairs<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (key, value) in metadata.iter() {
        let name = match key {
            _ if key == AUTH_KEY.as_bytes() => Ok(AUTHORIZATION),
            _ if key.starts_with(b"__") => continue,
            _ => HeaderName::from_bytes(&key.to_ascii_lowercase()),
        };
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// How a call has ended, as trailers of gRPC say it.
fn end_of(trailers: &HeaderMap) -> (Code, Metadata) {
    let status = trailers.get(Status::GRPC_STATUS).and_then(|status| status.to_str().ok());
    let code = status.and_then(|status| status.parse().ok()).map_or(Code::UNKNOWN, Code);
    let mut metadata = metadata_of(trailers);
    if let Some(text) = trailers.get(Status::GRPC_MESSAGE) {
        metadata.set(ERROR_KEY, decode_message(text.as_bytes()));
    }
    if let Some(details) = trailers.get(DETAILS) {
        metadata.set(DETAILS.as_str(), details.as_bytes());
    }
    (code, metadata)
}

/// The same the other way.
pub(super) fn trailers_of(code: Code, metadata: Pairs<'_>) -> HeaderMap {
    let mut trailers = headers_of(metadata);
    trailers.insert(Status::GRPC_STATUS, (code_of(code) as i32).into());
    if let Some(text) = metadata.text(ERROR_KEY)
        && let Ok(text) = HeaderValue::try_from(encode_message(text))
    {
        trailers.insert(Status::GRPC_MESSAGE, text);
    }
    trailers
}

/// The code of gRPC for one of HRPC.
pub(super) fn code_of(code: Code) -> tonic::Code {
    match code {
        Code::REFUSED => tonic::Code::Unavailable,
        Code::PROTOCOL => tonic::Code::Internal,
        Code(code) => tonic::Code::from_i32(code.into()),
    }
}
