//! The service of the interop tests of gRPC, as their description says it is:
//! <https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md>.

#![forbid(unsafe_code)]

pub mod library;

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use hemi_rpc::Trailers;
use tonic::codec::SingleMessageCompressionOverride;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

/// Made of the `.proto` file.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "it is generated")]
pub mod proto {
    tonic::include_proto!("grpc.testing");

    /// What is in the file, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/interop.bin"));
}

use proto::test_service_server::TestService;
use proto::{
    EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};

/// The service.
#[derive(Clone, Copy, Debug)]
pub struct Interop;

type Outputs = Pin<Box<dyn Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send>>;

#[tonic::async_trait]
impl TestService for Interop {
    type StreamingOutputCallStream = Outputs;
    type FullDuplexCallStream = Outputs;

    async fn empty_call(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(echoing(&request, Response::new(Empty {})))
    }

    async fn unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let asked = request.get_ref();
        status(asked.response_status.as_ref())?;
        let payload = Some(zeros(asked.response_size)?);
        let mut response = Response::new(SimpleResponse { payload, ..SimpleResponse::default() });
        if asked.response_compressed.as_ref().is_some_and(|compressed| !compressed.value) {
            response.extensions_mut().insert(SingleMessageCompressionOverride::Disable);
        }
        Ok(echoing(&request, response))
    }

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Outputs>, Status> {
        let outputs = stream::iter(request.into_inner().response_parameters).then(output);
        Ok(Response::new(Box::pin(outputs)))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let (mut inputs, mut aggregated_payload_size) = (request.into_inner(), 0);
        while let Some(input) = inputs.message().await? {
            aggregated_payload_size += input.payload.map_or(0, |payload| payload.body.len() as i32);
        }
        Ok(Response::new(StreamingInputCallResponse { aggregated_payload_size }))
    }

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Outputs>, Status> {
        let initial = request.metadata().get(INITIAL).cloned();
        let trailing = request.metadata().get_bin(TRAILING).cloned();
        let outputs = request.into_inner().flat_map(|asked| match asked {
            Err(e) => stream::iter([Err(e)]).left_stream(),
            Ok(asked) => match status(asked.response_status.as_ref()) {
                Err(e) => stream::iter([Err(e)]).left_stream(),
                Ok(()) => stream::iter(asked.response_parameters).then(output).right_stream(),
            },
        });
        // What is said at the end goes with the status.
        let ended = stream::iter(trailing.map(|trailing| {
            let mut status = Status::ok("");
            status.metadata_mut().insert_bin(TRAILING, trailing);
            Err(status)
        }));
        let mut response = Response::new(Box::pin(outputs.chain(ended)) as Outputs);
        if let Some(initial) = initial {
            response.metadata_mut().insert(INITIAL, initial);
        }
        Ok(response)
    }

    async fn unimplemented_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("nobody answers it"))
    }
}

const INITIAL: &str = "x-grpc-test-echo-initial";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// Sends metadata back.
fn echoing<T, R>(request: &Request<T>, mut response: Response<R>) -> Response<R> {
    if let Some(initial) = request.metadata().get(INITIAL) {
        response.metadata_mut().insert(INITIAL, initial.clone());
    }
    if let Some(trailing) = request.metadata().get_bin(TRAILING) {
        let mut trailers = MetadataMap::new();
        trailers.insert_bin(TRAILING, trailing.clone());
        response.extensions_mut().insert(Trailers(trailers));
    }
    response
}

fn status(asked: Option<&EchoStatus>) -> Result<(), Status> {
    match asked {
        Some(asked) if asked.code != 0 => {
            Err(Status::new(Code::from_i32(asked.code), &*asked.message))
        }
        _ => Ok(()),
    }
}

fn zeros(size: i32) -> Result<Payload, Status> {
    let size = usize::try_from(size).map_err(|_| Status::invalid_argument("a size below 0"))?;
    Ok(Payload { r#type: 0, body: vec![0; size] })
}

async fn output(asked: ResponseParameters) -> Result<StreamingOutputCallResponse, Status> {
    if let Ok(pause @ 1..) = u64::try_from(asked.interval_us) {
        tokio::time::sleep(Duration::from_micros(pause)).await;
    }
    Ok(StreamingOutputCallResponse { payload: Some(zeros(asked.size)?) })
}
