//! Messages in JSON, by what is known of their types.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, ReflectMessage,
    SerializeOptions,
};
use tonic::Status;

/// The methods of a service.
pub(super) type Methods = HashMap<Box<str>, Method>;

/// What a method takes, and gives back.
#[derive(Clone, Debug)]
pub(super) struct Method {
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    /// It takes one message.
    pub(super) takes_one: bool,
    /// It may be asked as often as one likes (`idempotency_level = NO_SIDE_EFFECTS`).
    pub(super) changes_nothing: bool,
}

/// What is known of the methods of a service, by a set of descriptors.
pub(super) fn methods(service: &str, descriptors: &[u8]) -> Option<Methods> {
    let pool = DescriptorPool::decode(descriptors).ok()?;
    let service = pool.get_service_by_name(service)?;
    let method = |method: prost_reflect::MethodDescriptor| {
        let options = method.method_descriptor_proto().options.as_ref();
        (
            method.name().into(),
            Method {
                input: method.input(),
                output: method.output(),
                takes_one: !method.is_client_streaming(),
                changes_nothing: options.is_some_and(|options| {
                    options.idempotency_level() == IdempotencyLevel::NoSideEffects
                }),
            },
        )
    };
    Some(service.methods().map(method).collect())
}

/// A message as Protobuf; fields that nobody knows are left out.
pub(super) fn read(ty: &MessageDescriptor, json: &[u8]) -> Result<Bytes, Status> {
    Ok(read_json(ty, json)?.encode_to_vec().into())
}

/// The same, not written yet.
pub(crate) fn read_json(ty: &MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, Status> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut reader = serde_json::Deserializer::from_slice(json);
    DynamicMessage::deserialize_with_options(ty.clone(), &mut reader, &options)
        .and_then(|message| reader.end().map(|()| message))
        .map_err(|e| Status::invalid_argument(format!("the message is no {}: {e}", ty.name())))
}

/// A message as JSON.
pub(super) fn write(ty: &MessageDescriptor, message: &[u8]) -> Result<Bytes, Status> {
    let message = DynamicMessage::decode(ty.clone(), message);
    write_json(&message.map_err(|e| unwritable(ty, &e))?).map(Bytes::from)
}

/// The same of one that was read already.
pub(crate) fn write_json(message: &DynamicMessage) -> Result<Vec<u8>, Status> {
    let mut json = serde_json::Serializer::new(Vec::new());
    let written = message.serialize_with_options(&mut json, &SerializeOptions::new());
    written.map_err(|e| unwritable(&message.descriptor(), &e))?;
    Ok(json.into_inner())
}

fn unwritable(ty: &MessageDescriptor, e: &dyn std::fmt::Display) -> Status {
    Status::internal(format!("a {} can't be written in JSON: {e}", ty.name()))
}
