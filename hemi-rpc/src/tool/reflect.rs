//! What a server of gRPC tells of itself (`grpc.reflection.v1`).

use std::collections::BTreeMap;

use futures_util::stream;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::Status;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::shown;
use crate::GrpcChannel;

/// Files that a server may tell, at most.
const FILES: usize = 10_000;

async fn ask(channel: &GrpcChannel, what: MessageRequest) -> Result<MessageResponse, String> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(what) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answer = async {
        let answers = client.server_reflection_info(stream::iter([request])).await?;
        answers.into_inner().message().await
    };
    let answer = answer.await.map_err(|e: Status| shown(&e))?;
    match answer.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ErrorResponse(e)) => Err(e.error_message),
        Some(answer) => Ok(answer),
        None => Err("the server says nothing of itself".to_owned()),
    }
}

/// The names of its services.
pub(super) async fn services(channel: &GrpcChannel) -> Result<Vec<String>, String> {
    match ask(channel, MessageRequest::ListServices(String::new())).await? {
        MessageResponse::ListServicesResponse(list) => {
            let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            names.sort_unstable();
            Ok(names)
        }
        _ => Err("the server does not list its services".to_owned()),
    }
}

/// All that is needed to know a service or message.
pub(super) async fn pool_with(
    channel: &GrpcChannel,
    symbol: &str,
) -> Result<DescriptorPool, String> {
    let mut files = BTreeMap::<String, FileDescriptorProto>::new();
    let mut wanted = Vec::new();
    let mut next = MessageRequest::FileContainingSymbol(symbol.to_owned());
    loop {
        let MessageResponse::FileDescriptorResponse(told) = ask(channel, next).await? else {
            return Err("the server does not tell its files".to_owned());
        };
        for bytes in told.file_descriptor_proto {
            let file = FileDescriptorProto::decode(&*bytes).map_err(|e| e.to_string())?;
            wanted.extend(file.dependency.iter().cloned());
            files.insert(file.name().to_owned(), file);
        }
        wanted.retain(|name| !files.contains_key(name));
        match wanted.pop() {
            Some(name) if files.len() < FILES => next = MessageRequest::FileByFilename(name),
            Some(_) => return Err("the server tells too many files".to_owned()),
            None => break,
        }
    }
    let set = FileDescriptorSet { file: files.into_values().collect() };
    DescriptorPool::from_file_descriptor_set(set).map_err(|e| e.to_string())
}
