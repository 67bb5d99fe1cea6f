//! The service of the suite: it answers as each request says, and tells what it has seen.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use hemi_core::{Component, Explain};
use hemi_rpc::{GrpcComponent, GrpcService, Trailers};
use prost::Message;
use prost_types::Any;
use tokio::time::sleep;
use tonic::metadata::{AsciiMetadataKey, BinaryMetadataKey, KeyAndValueRef, MetadataMap};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::proto::conformance_payload::{ConnectGetInfo, RequestInfo};
use crate::proto::conformance_service_server::{ConformanceService, ConformanceServiceServer};
use crate::proto::unary_response_definition::Response as Said;
use crate::proto::{
    BidiStreamRequest, BidiStreamResponse, ClientStreamRequest, ClientStreamResponse,
    ConformancePayload, DESCRIPTORS, Error, Header, IdempotentUnaryRequest,
    IdempotentUnaryResponse, ServerStreamRequest, ServerStreamResponse, StreamResponseDefinition,
    UnaryRequest, UnaryResponse, UnaryResponseDefinition, UnimplementedRequest,
    UnimplementedResponse,
};

/// The service.
#[derive(Debug, serde::Deserialize, Explain, Component)]
pub(crate) struct Conformance {}

impl GrpcComponent for Conformance {
    fn service(self: std::sync::Arc<Self>) -> GrpcService {
        GrpcService::new(ConformanceServiceServer::from_arc(self)).described_by(DESCRIPTORS)
    }
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ConformanceService for Conformance {
    type ServerStreamStream = Replies<ServerStreamResponse>;
    type BidiStreamStream = Replies<BidiStreamResponse>;

    async fn unary(
        &self,
        request: Request<UnaryRequest>,
    ) -> Result<Response<UnaryResponse>, Status> {
        let seen = Seen::new(&request).with(request.get_ref());
        let payload = answer(request.into_inner().response_definition, seen).await?;
        Ok(payload.map(|payload| UnaryResponse { payload: Some(payload) }))
    }

    async fn idempotent_unary(
        &self,
        request: Request<IdempotentUnaryRequest>,
    ) -> Result<Response<IdempotentUnaryResponse>, Status> {
        let seen = Seen::new(&request).with(request.get_ref());
        let payload = answer(request.into_inner().response_definition, seen).await?;
        Ok(payload.map(|payload| IdempotentUnaryResponse { payload: Some(payload) }))
    }

    async fn unimplemented(
        &self,
        _: Request<UnimplementedRequest>,
    ) -> Result<Response<UnimplementedResponse>, Status> {
        Err(Status::unimplemented("nobody answers it"))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<ClientStreamRequest>>,
    ) -> Result<Response<ClientStreamResponse>, Status> {
        let (mut seen, mut requests) = (Seen::new(&request), request.into_inner());
        let mut definition = None;
        while let Some(request) = requests.message().await? {
            seen.add(&request);
            if seen.0.requests.len() == 1 {
                definition = request.response_definition;
            }
        }
        let payload = answer(definition, seen).await?;
        Ok(payload.map(|payload| ClientStreamResponse { payload: Some(payload) }))
    }

    async fn server_stream(
        &self,
        request: Request<ServerStreamRequest>,
    ) -> Result<Response<Self::ServerStreamStream>, Status> {
        let seen = Seen::new(&request).with(request.get_ref());
        let definition = request.into_inner().response_definition.unwrap_or_default();
        let replies = replies(&definition, seen);
        let replies = replies.map(|reply| Ok(ServerStreamResponse { payload: Some(reply?) }));
        Ok(streamed(&definition, replies.boxed()))
    }

    async fn bidi_stream(
        &self,
        request: Request<Streaming<BidiStreamRequest>>,
    ) -> Result<Response<Self::BidiStreamStream>, Status> {
        let (mut seen, mut requests) = (Seen::new(&request), request.into_inner());
        let Some(first) = requests.message().await? else {
            return Ok(Response::new(stream::empty().boxed()));
        };
        seen.add(&first);
        let definition = first.response_definition.unwrap_or_default();
        if first.full_duplex {
            let replies = alternating(definition.clone(), seen, requests);
            let replies = replies.map(|reply| Ok(BidiStreamResponse { payload: Some(reply?) }));
            return Ok(streamed(&definition, replies.boxed()));
        }
        while let Some(request) = requests.message().await? {
            seen.add(&request);
        }
        let replies = replies(&definition, seen);
        let replies = replies.map(|reply| Ok(BidiStreamResponse { payload: Some(reply?) }));
        Ok(streamed(&definition, replies.boxed()))
    }
}

/// What is told of requests.
#[derive(Clone)]
struct Seen(RequestInfo);

impl Seen {
    fn new<T>(request: &Request<T>) -> Self {
        let mut request_headers: Vec<Header> = Vec::new();
        for entry in request.metadata().iter() {
            let (name, value) = match entry {
                KeyAndValueRef::Ascii(key, value) => (key.as_str(), value.as_encoded_bytes()),
                KeyAndValueRef::Binary(key, value) => (key.as_str(), value.as_encoded_bytes()),
            };
            let value = String::from_utf8_lossy(value).into_owned();
            match request_headers.iter_mut().find(|header| header.name == name) {
                Some(header) => header.value.push(value),
                None => request_headers.push(Header { name: name.to_owned(), value: vec![value] }),
            }
        }
        let timeout = request.metadata().get("grpc-timeout");
        let timeout =
            timeout.and_then(|text| hemi_proto::grpc::parse_timeout(text.as_encoded_bytes()));
        let timeout_ms = timeout.and_then(|timeout| timeout.as_millis().try_into().ok());
        let query =
            request.extensions().get::<tonic::codegen::http::Uri>().and_then(|uri| uri.query());
        let connect_get_info = query.map(|query| ConnectGetInfo { query_params: params(query) });
        Self(RequestInfo {
            request_headers,
            timeout_ms,
            connect_get_info,
            ..RequestInfo::default()
        })
    }

    fn with<M: Named>(mut self, request: &M) -> Self {
        self.add(request);
        self
    }

    fn add<M: Named>(&mut self, request: &M) {
        let type_url = format!("type.googleapis.com/connectrpc.conformance.v1.{}", M::TYPE);
        self.0.requests.push(Any { type_url, value: request.encode_to_vec() });
    }
}

/// What stands in a query.
fn params(query: &str) -> Vec<Header> {
    let pairs = hemi_proto::query::pairs(query.as_bytes());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    pairs.map(|(name, value)| Header { name: text(&name), value: vec![text(&value)] }).collect()
}

/// A request, by its name.
trait Named: Message {
    const TYPE: &'static str;
}

macro_rules! named {
    ($($ty:ident)+) => { $(impl Named for $ty { const TYPE: &'static str = stringify!($ty); })+ };
}

named! { UnaryRequest IdempotentUnaryRequest ServerStreamRequest ClientStreamRequest BidiStreamRequest }

fn put(headers: &[Header], metadata: &mut MetadataMap) {
    for header in headers {
        for value in &header.value {
            if header.name.to_ascii_lowercase().ends_with("-bin") {
                let key =
                    BinaryMetadataKey::from_bytes(header.name.to_ascii_lowercase().as_bytes());
                if let (Ok(key), Ok(value)) =
                    (key, value.parse::<tonic::metadata::AsciiMetadataValue>())
                {
                    let value = tonic::metadata::BinaryMetadataValue::try_from(
                        value.as_encoded_bytes().to_vec(),
                    );
                    let _ = value.map(|value| metadata.append_bin(key, value));
                }
            } else {
                let key = AsciiMetadataKey::from_bytes(header.name.to_ascii_lowercase().as_bytes());
                if let (Ok(key), Ok(value)) = (key, value.parse()) {
                    metadata.append(key, value);
                }
            }
        }
    }
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// An error with what is to be told in it.
fn failure(error: Error, seen: Option<Seen>, metadata: MetadataMap) -> Status {
    let message = error.message.unwrap_or_default();
    let mut details = error.details;
    if let Some(Seen(info)) = seen {
        let name = "connectrpc.conformance.v1.ConformancePayload.RequestInfo";
        let type_url = format!("type.googleapis.com/{name}");
        details.push(Any { type_url, value: info.encode_to_vec() });
    }
    let detailed = Details { code: error.code, message: message.clone(), details };
    let detailed = detailed.encode_to_vec().into();
    Status::with_details_and_metadata(Code::from_i32(error.code), message, detailed, metadata)
}

async fn answer(
    definition: Option<UnaryResponseDefinition>,
    seen: Seen,
) -> Result<Response<ConformancePayload>, Status> {
    let definition = definition.unwrap_or_default();
    sleep(Duration::from_millis(definition.response_delay_ms.into())).await;
    let data = match definition.response {
        Some(Said::Error(error)) => {
            let mut metadata = MetadataMap::new();
            put(&definition.response_headers, &mut metadata);
            put(&definition.response_trailers, &mut metadata);
            return Err(failure(error, Some(seen), metadata));
        }
        Some(Said::ResponseData(data)) => data,
        None => Vec::new(),
    };
    let mut response = Response::new(ConformancePayload { data, request_info: Some(seen.0) });
    put(&definition.response_headers, response.metadata_mut());
    let mut trailers = MetadataMap::new();
    put(&definition.response_trailers, &mut trailers);
    response.extensions_mut().insert(Trailers(trailers));
    Ok(response)
}

fn streamed<T>(definition: &StreamResponseDefinition, replies: Replies<T>) -> Response<Replies<T>> {
    let mut response = Response::new(replies);
    put(&definition.response_headers, response.metadata_mut());
    let mut trailers = MetadataMap::new();
    put(&definition.response_trailers, &mut trailers);
    response.extensions_mut().insert(Trailers(trailers));
    response
}

/// All replies one after the other.
fn replies(
    definition: &StreamResponseDefinition,
    seen: Seen,
) -> impl Stream<Item = Result<ConformancePayload, Status>> + use<> {
    let StreamResponseDefinition { response_data, response_delay_ms, error, .. } =
        definition.clone();
    let pause = Duration::from_millis(response_delay_ms.into());
    let failed = error.map(|error| {
        let told = response_data.is_empty().then(|| seen.clone());
        Err(failure(error, told, MetadataMap::new()))
    });
    let mut info = Some(seen.0);
    let replies = response_data
        .into_iter()
        .map(move |data| ConformancePayload { data, request_info: info.take() });
    let replies = stream::iter(replies).then(move |reply| async move {
        sleep(pause).await;
        Ok(reply)
    });
    replies.chain(stream::iter(failed))
}

/// A reply to each request.
fn alternating(
    definition: StreamResponseDefinition,
    seen: Seen,
    requests: Streaming<BidiStreamRequest>,
) -> impl Stream<Item = Result<ConformancePayload, Status>> {
    struct State {
        data: std::vec::IntoIter<Vec<u8>>,
        error: Option<Error>,
        pause: Duration,
        /// Of what was not told yet.
        seen: Option<Seen>,
        first: bool,
        requests: Streaming<BidiStreamRequest>,
        over: bool,
    }
    let state = State {
        pause: Duration::from_millis(definition.response_delay_ms.into()),
        data: definition.response_data.into_iter(),
        error: definition.error,
        seen: Some(seen),
        first: true,
        requests,
        over: false,
    };
    stream::unfold(state, async |mut state| {
        if state.over {
            return None;
        }
        if state.seen.is_none() {
            match state.requests.message().await {
                Ok(Some(request)) => {
                    state.seen = Some(Seen(RequestInfo::default()).with(&request));
                }
                Ok(None) => {}
                Err(e) => {
                    state.over = true;
                    return Some((Err(e), state));
                }
            }
        }
        let asked = state.seen.is_some();
        // What is left is told once nothing more comes.
        if let Some(data) = state.data.next() {
            sleep(state.pause).await;
            let request_info = state.seen.take().filter(|_| asked).map(|seen| seen.0);
            state.first = false;
            return Some((Ok(ConformancePayload { data, request_info }), state));
        }
        state.over = true;
        let told = state.seen.take().filter(|_| state.first);
        let error = state.error.take()?;
        Some((Err(failure(error, told, MetadataMap::new())), state))
    })
}
