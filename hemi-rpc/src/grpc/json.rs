//! Messages in JSON, by what is known of their types.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, MessageDescriptor,
    ReflectMessage, SerializeOptions, Value,
};
use tonic::Status;

use super::rest::HttpRule;

/// The methods of a service.
pub(super) type Methods = HashMap<Box<str>, Method>;

/// What a method takes, and gives back.
#[derive(Clone, Debug)]
pub(super) struct Method {
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    /// It takes one message.
    pub(super) takes_one: bool,
    /// How it may be asked for by plain HTTP, as its file says.
    pub(super) rule: Option<HttpRule>,
    /// It gives one message back.
    pub(super) gives_one: bool,
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
                rule: HttpRule::of(&method.options()),
                gives_one: !method.is_server_streaming(),
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

/// What is told of a message in JSON.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// All of it.
    Whole(MessageDescriptor),
    /// One field only.
    Field(FieldDescriptor),
}

impl Shape {
    /// A message as JSON.
    pub(super) fn write(&self, message: &[u8]) -> Result<Bytes, Status> {
        let ty = match self {
            Self::Whole(ty) => ty,
            Self::Field(field) => field.parent_message(),
        };
        let message = DynamicMessage::decode(ty.clone(), message);
        let message = message.map_err(|e| unwritable(ty, &e))?;
        let Self::Field(field) = self else { return write_json(&message).map(Bytes::from) };
        if let Value::Message(part) = &*message.get_field(field) {
            return write_json(part).map(Bytes::from);
        }
        let value = message.get_field(field);
        // The field alone, even if it is empty.
        let is_empty = value.is_default_for_field(field);
        let mut alone = DynamicMessage::new(ty.clone());
        alone.set_field(field, value.into_owned());
        let options = SerializeOptions::new().skip_default_fields(!is_empty);
        let all = alone.serialize_with_options(serde_json::value::Serializer, &options);
        let mut all = all.map_err(|e| unwritable(ty, &e))?;
        let value = all.get_mut(field.json_name()).map(serde_json::Value::take);
        Ok(value.unwrap_or_default().to_string().into())
    }
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
