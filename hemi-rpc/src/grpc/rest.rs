//! Services by plain HTTP with JSON, as their files say by `google.api.http`
//! (<https://github.com/googleapis/googleapis/blob/master/google/api/http.proto>).

mod request;
mod rule;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hemi_proto::http_rule::Template;
use hemi_web::{Body, Request, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::uri::Uri;
use http::{HeaderMap, Method as HttpMethod};
use prost::Message;
use prost_reflect::{FieldDescriptor, MessageDescriptor};
use serde_json::{Value, json};
use tonic::{Code, Status};

pub(super) use self::rule::HttpRule;
use super::GrpcService;
use super::connect;
use super::json::Shape;
use super::replies::code_of;

/// The message that is the content itself, of any type.
const HTTP_BODY: &str = "google.api.HttpBody";

/// What may be asked for so.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Those that leave less open go first.
    routes: Vec<Route>,
}

/// One way to ask for a method.
#[derive(Debug)]
pub(super) struct Route {
    /// None for any.
    by: Option<HttpMethod>,
    template: Template,
    /// The fields that the template's variables are for: each a path of fields.
    variables: Vec<Vec<FieldDescriptor>>,
    content: Content,
    input: MessageDescriptor,
    output: MessageDescriptor,
    /// The field that is answered, if not all are.
    answers: Option<FieldDescriptor>,
    gives_one: bool,
    service: Box<str>,
    method: Box<str>,
}

/// What a request's content is.
#[derive(Debug)]
enum Content {
    /// Nothing.
    None,
    /// The message, but for what the path says.
    Message,
    /// A field of it.
    Field(FieldDescriptor),
}

impl Rest {
    /// What the files of these services say.
    ///
    /// # Errors
    /// When that can't be done.
    pub(super) fn of<'a>(services: impl Iterator<Item = &'a GrpcService>) -> Result<Self, String> {
        let mut routes = Vec::new();
        for service in services {
            for (name, method) in service.methods() {
                let Some(rule) = &method.rule else { continue };
                let made = rule.routes(service.name(), name, method);
                let failed = |why| format!("`google.api.http` of {}/{name}: {why}", service.name());
                routes.extend(made.map_err(failed)?);
            }
        }
        routes.sort_by_cached_key(|route: &Route| route.template.openness());
        Ok(Self { routes })
    }

    /// The way by which something is asked for, if it is one of these.
    pub(super) fn find(&self, req: &Request) -> Option<&Route> {
        let is_asked = |by: &HttpMethod| by == req.method();
        let mut routes = self.routes.iter().filter(|route| route.by.as_ref().is_none_or(is_asked));
        routes.find(|route| route.template.matches(req.path()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

impl Route {
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// What a call of gRPC asks for.
    pub(super) fn uri(&self) -> Uri {
        let path = format!("/{}/{}", self.service, self.method);
        Uri::try_from(path).unwrap_or_default()
    }

    /// What is told of messages in JSON; none if they are told as they are.
    pub(super) fn shape(&self) -> Option<Shape> {
        match &self.answers {
            _ if self.answers_raw() => None,
            Some(field) => Some(Shape::Field(field.clone())),
            None => Some(Shape::Whole(self.output.clone())),
        }
    }

    /// Whether the answer is no JSON.
    fn answers_raw(&self) -> bool {
        self.gives_one && self.answers.is_none() && self.output.full_name() == HTTP_BODY
    }

    /// The answer that has one message.
    pub(super) fn finish(&self, mut answer: Response) -> Result<Response, Status> {
        if !self.answers_raw() || !answer.status().is_success() {
            return Ok(answer);
        }
        let content = answer.take_body();
        let content = content.in_memory().cloned().unwrap_or_default();
        let bad = |e: &dyn std::fmt::Display| Status::internal(format!("an HttpBody is none: {e}"));
        let HttpBody { content_type, data } = HttpBody::decode(content).map_err(|e| bad(&e))?;
        let headers = answer.headers_mut();
        match content_type.as_str() {
            "" => drop(headers.remove(CONTENT_TYPE)),
            ty => {
                let ty = HeaderValue::from_str(ty).map_err(|e| bad(&e))?;
                headers.insert(CONTENT_TYPE, ty);
            }
        }
        Ok(answer.with_body(Body::from(data)))
    }
}

/// `google.api.HttpBody`
#[derive(Clone, PartialEq, Message)]
struct HttpBody {
    #[prost(string, tag = "1")]
    content_type: String,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

/// What is answered to a request that has come to nothing: `google.rpc.Status`.
pub(super) fn error(trailers: &HeaderMap) -> Value {
    let message = trailers.get(Status::GRPC_MESSAGE).map(HeaderValue::as_bytes);
    let message = hemi_proto::grpc::decode_message(message.unwrap_or_default());
    let details = connect::details(trailers)
        .map(|detail| json!({ "@type": detail.type_url, "value": STANDARD.encode(detail.value) }));
    json!({
        "code": code_of(trailers) as i32,
        "message": message,
        "details": details.collect::<Vec<_>>(),
    })
}

/// The end of an answer with several messages, which is an array: of what they are, and of an error if there is one.
pub(super) fn end(begun: bool, trailers: &HeaderMap) -> String {
    let failed = code_of(trailers) != Code::Ok;
    let error = failed.then(|| json!({ "error": error(trailers) }).to_string());
    let before = match (begun, failed) {
        (false, _) => "[",
        (true, true) => ",\n",
        (true, false) => "",
    };
    format!("{before}{}]", error.unwrap_or_default())
}
