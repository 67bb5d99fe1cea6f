//! What is called by `rpc bench`, and by which protocol.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::stream;
use hemi_proto::hrpc::Code;
use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::DynamicMessage;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::super::args::Said;
use super::super::{is_field, put, reflect, shown, split};
use crate::grpc::read_json;
use crate::{
    Client, ClientConfig, CodecId, Endpoint, GrpcChannel, GrpcChannelConfig, Payload, RawPayload,
    RpcError, Several,
};

/// Characters of an error that tell of its kind.
const KIND: usize = 100;

/// What is called.
pub(super) struct Called {
    at: At,
    service: String,
    method: String,
    fields: Vec<String>,
    message: Bytes,
    codec: Option<CodecId>,
}

enum At {
    /// By rpcx or HRPC.
    Rpc(Endpoint),
    Grpc(String),
}

/// Makes calls, on connections of its own.
pub(super) enum Caller {
    Rpc {
        client: Client,
        called: Arc<Called>,
        argument: RawPayload,
        codec: CodecId,
    },
    Grpc {
        channel: GrpcChannel,
        path: PathAndQuery,
        metadata: MetadataMap,
        message: Bytes,
        timeout: Duration,
    },
}

impl Called {
    pub(super) fn read(
        address: &str,
        method: &str,
        rest: &[&str],
        said: &Said<'_>,
    ) -> Result<Self, String> {
        let (service, method) = split(method)?;
        let (fields, messages): (Vec<&str>, _) =
            rest.iter().copied().partition(|text| is_field(text));
        let message = match messages[..] {
            [] => Bytes::from_static(b"{}"),
            [one] => match one.strip_prefix('@') {
                Some(file) => std::fs::read(file).map_err(|e| format!("{file}: {e}"))?.into(),
                None => Bytes::copy_from_slice(one.as_bytes()),
            },
            _ => return Err("one message is sent in all calls".to_owned()),
        };
        let codec = match said.text("codec") {
            None => None,
            Some("json") => Some(CodecId::JSON),
            Some("msgpack") => Some(CodecId::MSGPACK),
            Some("protobuf") => Some(CodecId::PROTOBUF),
            Some("raw") => Some(CodecId::RAW),
            Some(other) => {
                return Err(format!("--codec is json, msgpack, protobuf or raw, not `{other}`"));
            }
        };
        let endpoint = |text: &str| text.parse::<Endpoint>().map_err(|e| e.to_string());
        let at = match address.split_once('@') {
            Some(("rpcx", address)) => At::Rpc(endpoint(address)?),
            Some(("hrpc", _)) => At::Rpc(endpoint(address)?),
            _ => At::Grpc(address.to_owned()),
        };
        Ok(Self {
            at,
            service: service.to_owned(),
            method: method.to_owned(),
            fields: fields.into_iter().map(str::to_owned).collect(),
            message,
            codec,
        })
    }

    /// Makes connections.
    pub(super) async fn caller(
        self: &Arc<Self>,
        connections: usize,
        timeout: Duration,
    ) -> Result<Caller, String> {
        match &self.at {
            At::Rpc(endpoint) => {
                let config = ClientConfig {
                    conns: connections,
                    call_timeout: timeout,
                    connect_timeout: timeout.min(Duration::from_secs(5)),
                    ..ClientConfig::default()
                };
                let codec = self.codec.unwrap_or(CodecId::JSON);
                let argument = RawPayload(self.argument(codec)?);
                let client = Client::new(endpoint.clone(), config);
                Ok(Caller::Rpc { client, called: self.clone(), argument, codec })
            }
            At::Grpc(address) => {
                address.parse::<Endpoint>().map_err(|e| e.to_string())?;
                let config =
                    GrpcChannelConfig { conns: connections, ..GrpcChannelConfig::default() };
                let channel = GrpcChannel::over(&Several::at([address]), config);
                let message = match self.codec {
                    Some(CodecId::PROTOBUF | CodecId::RAW) => self.message.clone(),
                    Some(CodecId::MSGPACK) => return Err("gRPC has no MessagePack".to_owned()),
                    _ => self.protobuf(&channel).await?,
                };
                let path = format!("/{}/{}", self.service, self.method);
                let path = PathAndQuery::try_from(path).map_err(|e| e.to_string())?;
                let mut metadata = MetadataMap::new();
                let fields: Vec<_> = self.fields.iter().map(String::as_str).collect();
                put(&fields, &mut metadata)?;
                Ok(Caller::Grpc { channel, path, metadata, message, timeout })
            }
        }
    }

    fn argument(&self, codec: CodecId) -> Result<Bytes, String> {
        if codec != CodecId::MSGPACK {
            return Ok(self.message.clone());
        }
        let value: serde_json::Value =
            serde_json::from_slice(&self.message).map_err(|e| format!("the message: {e}"))?;
        let mut out = bytes::BytesMut::new();
        value.encode(codec, &mut out).map_err(|e| format!("the message {e}"))?;
        Ok(out.freeze())
    }

    async fn protobuf(&self, channel: &GrpcChannel) -> Result<Bytes, String> {
        let pool = reflect::pool_with(channel, &self.service).await?;
        let found = pool.get_service_by_name(&self.service);
        let method =
            found.and_then(|found| found.methods().find(|known| known.name() == self.method));
        let method = method.ok_or_else(|| format!("{} has no such method there", self.service))?;
        let message: DynamicMessage = read_json(&method.input(), &self.message)
            .map_err(|e: Status| e.message().to_owned())?;
        Ok(message.encode_to_vec().into())
    }
}

impl Caller {
    /// Calls once; what a service says does not matter.
    pub(super) async fn try_out(&self) -> Result<(), String> {
        match self {
            Self::Rpc { .. } => match self.ask().await {
                Err(e @ (RpcError::Unreachable(_) | RpcError::Lost(_))) => Err(e.to_string()),
                _ => Ok(()),
            },
            Self::Grpc { .. } => match self.stream().await {
                Err(status) if status.code() == tonic::Code::Unavailable => Err(shown(&status)),
                _ => Ok(()),
            },
        }
    }

    /// Calls, or tells what kind of error has come of it.
    pub(super) async fn call(&self) -> Result<(), String> {
        match self {
            Self::Rpc { .. } => self.ask().await.map_err(|e| kind(&e)),
            Self::Grpc { .. } => {
                self.stream().await.map_err(|status| format!("{:?}", status.code()))
            }
        }
    }

    async fn ask(&self) -> Result<(), RpcError> {
        let Self::Rpc { client, called, argument, codec } = self else { return Ok(()) };
        let mut ask = client.ask(&called.service, &called.method).codec(*codec);
        for (name, value) in called.fields.iter().filter_map(|field| field.split_once('=')) {
            ask = ask.metadata(name, value);
        }
        ask.call::<_, RawPayload>(argument).await.map(drop)
    }

    async fn stream(&self) -> Result<(), Status> {
        let Self::Grpc { channel, path, metadata, message, timeout } = self else { return Ok(()) };
        let mut request = Request::new(stream::iter([message.clone()]));
        *request.metadata_mut() = metadata.clone();
        request.set_timeout(*timeout);
        let mut client = Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
        client.ready().await?;
        let mut replies = client.streaming(request, path.clone(), Whole).await?.into_inner();
        while replies.message().await?.is_some() {}
        Ok(())
    }
}

fn kind(e: &RpcError) -> String {
    match e {
        RpcError::Failed(failure) if failure.code() != Code::UNKNOWN => failure.code().to_string(),
        RpcError::Failed(failure) => failure.text().chars().take(KIND).collect(),
        RpcError::Unreachable(_) => "cannot connect".to_owned(),
        RpcError::Lost(_) => "the connection was lost".to_owned(),
        other => other.to_string(),
    }
}

/// Messages as they are on the wire; what comes is not looked at.
struct Whole;

impl Codec for Whole {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Whole {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Whole {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        bytes.advance(bytes.remaining());
        Ok(Some(()))
    }
}
