//! The message that a plain request stands for.

use bytes::Bytes;
use hemi_proto::{http_rule, query};
use hemi_web::{BodyError, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage,
    Value,
};
use serde_json::value::RawValue;
use tonic::Status;

use super::{Content, HTTP_BODY, HttpBody, Route};
use crate::grpc::coding::Coding;
use crate::grpc::json::read_json;

/// Fields within fields that a name of the query may lead through.
const DEEPEST: usize = 16;

impl Route {
    /// Makes the message of what the content, the path and the query say; its content may have `most` bytes.
    pub(in crate::grpc) async fn message(
        &self,
        req: &mut Request,
        coding: Coding,
        most: usize,
    ) -> Result<Bytes, Status> {
        let mut message = match &self.content {
            Content::None => DynamicMessage::new(self.input.clone()),
            Content::Message => match self.content(req, coding, most).await? {
                content if self.input.full_name() == HTTP_BODY => raw(req, content, &self.input)?,
                content if content.is_empty() => DynamicMessage::new(self.input.clone()),
                content => read_json(&self.input, &content)?,
            },
            Content::Field(field) => match self.content(req, coding, most).await? {
                content if is_raw(field) => {
                    let mut message = DynamicMessage::new(self.input.clone());
                    if let Kind::Message(ty) = field.kind() {
                        message.set_field(field, Value::Message(raw(req, content, &ty)?));
                    }
                    message
                }
                content if content.is_empty() => DynamicMessage::new(self.input.clone()),
                content => {
                    let value: &RawValue = serde_json::from_slice(&content)
                        .map_err(|e| invalid(format!("the content is no JSON: {e}")))?;
                    let json = format!("{{\"{}\":{}}}", field.json_name(), value.get());
                    read_json(&self.input, json.as_bytes())?
                }
            },
        };
        let values = self.template.capture(req.path()).unwrap_or_default();
        for (fields, value) in self.variables.iter().zip(values) {
            set(&mut message, fields, &value)?;
        }
        if !matches!(self.content, Content::Message) {
            self.set_by_query(&mut message, req)?;
        }
        // Neither what it was, nor its length.
        req.headers_mut().remove(CONTENT_LENGTH);
        Ok(message.encode_to_vec().into())
    }

    async fn content(
        &self,
        req: &mut Request,
        coding: Coding,
        most: usize,
    ) -> Result<Bytes, Status> {
        let content = req.body().bytes(most as u64).await.map_err(|e| match e {
            BodyError::TooLarge(_) => Status::resource_exhausted(e.to_string()),
            _ => Status::cancelled(e.to_string()),
        })?;
        let typed = req.field(&CONTENT_TYPE).is_some_and(|kind| !kind.is_empty());
        if content.is_empty() && !typed {
            return Ok(content);
        }
        let takes_all = match &self.content {
            Content::Field(field) => is_raw(field),
            _ => self.input.full_name() == HTTP_BODY,
        };
        // Pages of others can send other types without asking first.
        if !takes_all && !is_json(req.field(&CONTENT_TYPE).unwrap_or_default()) {
            return Err(invalid("the content has to be application/json".to_owned()));
        }
        if content.is_empty() {
            return Ok(content);
        }
        match coding {
            Coding::Identity => Ok(content),
            coding => coding.decompress(&content, most),
        }
    }

    /// Sets fields of which neither the path nor the content says anything. Names that nobody knows are passed over, as
    /// they are in JSON.
    fn set_by_query(&self, message: &mut DynamicMessage, req: &Request) -> Result<(), Status> {
        for (name, value) in query::pairs(req.query().unwrap_or_default().as_bytes()) {
            let (Ok(name), Ok(value)) = (std::str::from_utf8(&name), std::str::from_utf8(&value))
            else {
                return Err(invalid("the query is no UTF-8".to_owned()));
            };
            let Some(fields) = resolve(&self.input, name) else { continue };
            let path: Vec<_> = fields.iter().map(FieldDescriptor::name).collect();
            let path = path.join(".");
            let by_path = self.template.fields().any(|field| http_rule::is_within(field, &path));
            let by_content = matches!((&self.content, fields.first()), (Content::Field(field), Some(first)) if field == first);
            if !by_path && !by_content {
                set(message, &fields, value)?;
            }
        }
        Ok(())
    }
}

fn invalid(why: String) -> Status {
    Status::invalid_argument(why)
}

fn is_json(media_type: &[u8]) -> bool {
    let media_type = media_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    media_type.eq_ignore_ascii_case(b"application/json")
}

/// Whether a field takes content of any type.
fn is_raw(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(ty) if ty.full_name() == HTTP_BODY) && !field.is_list()
}

/// Content of any type as a message.
fn raw(req: &Request, data: Bytes, ty: &MessageDescriptor) -> Result<DynamicMessage, Status> {
    let content_type = req.field(&CONTENT_TYPE).unwrap_or_default();
    let content_type = String::from_utf8_lossy(content_type).into_owned();
    let body = HttpBody { content_type, data }.encode_to_vec();
    let message = DynamicMessage::decode(ty.clone(), &*body);
    message.map_err(|e| Status::internal(e.to_string()))
}

/// The fields that a name of the query leads through, each by its name in the file or in JSON; none if there are none.
fn resolve(ty: &MessageDescriptor, name: &str) -> Option<Vec<FieldDescriptor>> {
    let (mut ty, mut fields) = (Some(ty.clone()), Vec::new());
    for part in name.split('.') {
        let within = ty.take()?;
        let by_name = within.get_field_by_name(part);
        let field = by_name.or_else(|| within.get_field_by_json_name(part))?;
        if let Kind::Message(inner) = field.kind()
            && !field.is_list()
            && !field.is_map()
        {
            ty = Some(inner);
        }
        fields.push(field);
        if fields.len() > DEEPEST {
            return None;
        }
    }
    Some(fields)
}

/// Sets the last of these fields, or adds to it if it has several values.
fn set(message: &mut DynamicMessage, fields: &[FieldDescriptor], text: &str) -> Result<(), Status> {
    let Some((field, rest)) = fields.split_first() else { return Ok(()) };
    if !rest.is_empty() {
        return match message.get_field_mut(field) {
            Value::Message(inner) => set(inner, rest, text),
            _ => Ok(()),
        };
    }
    let value = read(field, text).ok_or_else(|| {
        let ty = message.descriptor();
        invalid(format!("\"{text}\" can't be the field {} of a {}", field.name(), ty.name()))
    })?;
    match (message.get_field_mut(field), value) {
        (Value::List(values), Value::List(more)) => values.extend(more),
        (place, value) => *place = value,
    }
    Ok(())
}

/// What a text stands for as the value of a field, or as one of its values.
fn read(field: &FieldDescriptor, text: &str) -> Option<Value> {
    if field.is_map() {
        return None;
    }
    let value = match field.kind() {
        Kind::Bool => text.parse::<bool>().ok()?.into(),
        Kind::Enum(_) => match text.parse::<i32>() {
            Ok(number) => number.into(),
            Err(_) => serde_json::Value::from(text),
        },
        Kind::Message(ty) if ty.full_name() == "google.protobuf.BoolValue" => {
            text.parse::<bool>().ok()?.into()
        }
        _ => text.into(),
    };
    let value = if field.is_list() { vec![value].into() } else { value };
    let mut object = serde_json::Map::new();
    object.insert(field.json_name().to_owned(), value);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let (ty, json) = (field.parent_message().clone(), serde_json::Value::from(object));
    let mut alone = DynamicMessage::deserialize_with_options(ty, json, &options).ok()?;
    // What it would have without being set is told apart from what can't be read.
    Some(alone.take_field(field).unwrap_or_else(|| Value::default_value_for_field(field)))
}
