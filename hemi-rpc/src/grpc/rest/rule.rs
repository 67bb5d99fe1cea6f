//! What files say by `google.api.http`.

use hemi_proto::http_rule::{Template, is_within};
use http::Method as HttpMethod;
use prost::Message;
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};

use super::{Content, Route};
use crate::grpc::json::Method;

/// `google.api.HttpRule`
#[derive(Clone, PartialEq, Message)]
pub(in crate::grpc) struct HttpRule {
    #[prost(string, optional, tag = "2")]
    get: Option<String>,
    #[prost(string, optional, tag = "3")]
    put: Option<String>,
    #[prost(string, optional, tag = "4")]
    post: Option<String>,
    #[prost(string, optional, tag = "5")]
    delete: Option<String>,
    #[prost(string, optional, tag = "6")]
    patch: Option<String>,
    #[prost(string, tag = "7")]
    body: String,
    #[prost(message, optional, tag = "8")]
    custom: Option<CustomPattern>,
    #[prost(message, repeated, tag = "11")]
    additional_bindings: Vec<HttpRule>,
    #[prost(string, tag = "12")]
    response_body: String,
}

/// `google.api.CustomHttpPattern`
#[derive(Clone, PartialEq, Message)]
struct CustomPattern {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    path: String,
}

/// The options of a method, of which one is of interest.
#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(message, optional, tag = "72295728")]
    http: Option<HttpRule>,
}

impl HttpRule {
    /// The one among these options of a method.
    pub(in crate::grpc) fn of(options: &DynamicMessage) -> Option<Self> {
        Options::decode(&*options.encode_to_vec()).ok()?.http
    }

    /// What a method may be asked for by.
    pub(super) fn routes(
        &self,
        service: &str,
        name: &str,
        method: &Method,
    ) -> Result<Vec<Route>, String> {
        if !method.takes_one {
            return Err("a stream of requests is no request of HTTP".to_owned());
        }
        if self.additional_bindings.iter().any(|more| !more.additional_bindings.is_empty()) {
            return Err("additional bindings have none themselves".to_owned());
        }
        let rules = std::iter::once(self).chain(&self.additional_bindings);
        rules.map(|rule| rule.route(service, name, method)).collect()
    }

    fn route(&self, service: &str, name: &str, method: &Method) -> Result<Route, String> {
        let (by, text) = self.pattern()?;
        let template = Template::parse(text).map_err(|e| format!("`{text}`: {e}"))?;
        let find = |field: &str| scalar(&method.input, field);
        let variables: Vec<_> = template.fields().map(find).collect::<Result<_, _>>()?;
        let content = match self.body.as_str() {
            "" => Content::None,
            "*" => Content::Message,
            name if template.fields().any(|field| is_within(field, name)) => {
                return Err(format!("`{name}` is in the path and in the content"));
            }
            name => Content::Field(top(&method.input, name)?),
        };
        let answers = match self.response_body.as_str() {
            "" => None,
            name => Some(top(&method.output, name)?),
        };
        Ok(Route {
            by,
            template,
            variables,
            content,
            input: method.input.clone(),
            output: method.output.clone(),
            answers,
            gives_one: method.gives_one,
            service: service.into(),
            method: name.into(),
        })
    }

    fn pattern(&self) -> Result<(Option<HttpMethod>, &str), String> {
        let known = [
            (HttpMethod::GET, &self.get),
            (HttpMethod::PUT, &self.put),
            (HttpMethod::POST, &self.post),
            (HttpMethod::DELETE, &self.delete),
            (HttpMethod::PATCH, &self.patch),
        ];
        let mut said =
            known.into_iter().filter_map(|(by, path)| Some((Some(by), path.as_deref()?)));
        if let Some(pattern) = said.next() {
            return Ok(pattern);
        }
        match &self.custom {
            Some(CustomPattern { kind, path }) if kind == "*" => Ok((None, path)),
            Some(CustomPattern { kind, path }) => {
                let by = HttpMethod::from_bytes(kind.as_bytes());
                Ok((Some(by.map_err(|_| format!("`{kind}` is no method"))?), path))
            }
            None => Err("it names no path".to_owned()),
        }
    }
}

/// A field of a message.
fn top(ty: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    ty.get_field_by_name(name).ok_or_else(|| format!("{} has no field `{name}`", ty.name()))
}

/// The fields that lead to one that a part of a path can be.
fn scalar(ty: &MessageDescriptor, path: &str) -> Result<Vec<FieldDescriptor>, String> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for name in path.split('.') {
        let within = match fields.last() {
            None => ty.clone(),
            Some(field) => match field.kind() {
                Kind::Message(ty) if field.cardinality() != Cardinality::Repeated => ty,
                _ => return Err(format!("`{path}`: `{}` has no fields", field.name())),
            },
        };
        fields.push(top(&within, name)?);
    }
    let last = fields.last().map(|field| (field.kind(), field.cardinality()));
    match last {
        Some((Kind::Message(_), _) | (_, Cardinality::Repeated)) | None => {
            Err(format!("`{path}` is no single value"))
        }
        Some(_) => Ok(fields),
    }
}
