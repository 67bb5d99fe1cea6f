//! Messages in JSON, by what is known of their types.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use tonic::Status;

/// The methods of a service.
pub(super) type Methods = HashMap<Box<str>, Method>;

/// What a method takes, and gives back.
#[derive(Clone, Debug)]
pub(super) struct Method {
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
}

/// What is known of the methods of a service, by a set of descriptors.
pub(super) fn methods(service: &str, descriptors: &[u8]) -> Option<Methods> {
    let pool = DescriptorPool::decode(descriptors).ok()?;
    let service = pool.get_service_by_name(service)?;
    let method = |method: prost_reflect::MethodDescriptor| {
        (method.name().into(), Method { input: method.input(), output: method.output() })
    };
    Some(service.methods().map(method).collect())
}

/// A message as Protobuf; fields that nobody knows are left out.
pub(super) fn read(ty: &MessageDescriptor, json: &[u8]) -> Result<Bytes, Status> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize_with_options(ty.clone(), &mut reader, &options)
        .and_then(|message| reader.end().map(|()| message))
        .map_err(|e| Status::invalid_argument(format!("the message is no {}: {e}", ty.name())))?;
    Ok(message.encode_to_vec().into())
}

/// A message as JSON.
pub(super) fn write(ty: &MessageDescriptor, message: &[u8]) -> Result<Bytes, Status> {
    let internal = |e: &dyn std::fmt::Display| {
        Status::internal(format!("a {} can't be written in JSON: {e}", ty.name()))
    };
    let message = DynamicMessage::decode(ty.clone(), message).map_err(|e| internal(&e))?;
    let mut json = serde_json::Serializer::new(Vec::new());
    message
        .serialize_with_options(&mut json, &SerializeOptions::new())
        .map_err(|e| internal(&e))?;
    Ok(json.into_inner().into())
}
