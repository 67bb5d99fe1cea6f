//! The services of a server for callers that speak HTTP: as the gateway of rpcx, with its fields, and as JSON-RPC 2.0.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hemi_core::Lifecycle;
use hemi_core::clock;
use hemi_core::clock::Moment;
use hemi_proto::path::push_encoded;
use hemi_proto::query;
use hemi_proto::rpcx::{CodecId, Metadata, gunzip};
use hemi_web::{Handlet, Reply, Request, Response};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Shared;
use crate::Fault;
use crate::local::{LocalCall, LocalReply, Refused, metadata_of};

const JSON_RPC: HeaderName = HeaderName::from_static("x-jsonrpc-2.0");
const SERVICE: HeaderName = HeaderName::from_static("x-rpcx-servicepath");
const METHOD: HeaderName = HeaderName::from_static("x-rpcx-servicemethod");
const CODEC: HeaderName = HeaderName::from_static("x-rpcx-serializetype");
const COMPRESS: HeaderName = HeaderName::from_static("x-rpcx-compresstype");
const ONE_WAY: HeaderName = HeaderName::from_static("x-rpcx-oneway");
const ID: HeaderName = HeaderName::from_static("x-rpcx-messageid");
const VERSION: HeaderName = HeaderName::from_static("x-rpcx-version");
const META: HeaderName = HeaderName::from_static("x-rpcx-meta");
const STATUS: HeaderName = HeaderName::from_static("x-rpcx-messagestatustype");
const ERROR: HeaderName = HeaderName::from_static("x-rpcx-errormessage");

/// Codes of JSON-RPC.
const PARSE_ERROR: i32 = -32700;
const NO_METHOD: i32 = -32601;
const INTERNAL: i32 = -32603;

/// Leaves to others what is neither.
pub(super) struct Gateway(pub(super) Arc<Shared>);

impl Lifecycle for Gateway {}

impl Handlet for Gateway {
    async fn handle(&self, req: &mut Request) -> Reply {
        if req.header(JSON_RPC.as_str()) == Some("true") {
            return self.json_rpc(req).await.into();
        }
        self.rpcx(req).await.into()
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        let ours = [JSON_RPC, SERVICE, METHOD].iter().any(|name| req.has_field(name));
        if !ours {
            return Some(Reply::Next);
        }
        let may = [Method::GET, Method::POST, Method::PUT].contains(req.method());
        (!may).then(|| StatusCode::METHOD_NOT_ALLOWED.into())
    }
}

/// Why a call has come to nothing.
enum Failed {
    /// There is no such service or method, or it has failed.
    Call(String),
    /// The caller may not.
    Guarded(Fault),
}

impl Gateway {
    async fn call(
        &self,
        req: &mut Request,
        (service, method): (&str, &str),
        codec: CodecId,
        message: &[u8],
    ) -> Result<LocalReply, Failed> {
        let Some(route) = self.0.route(service.as_bytes()) else {
            return Err(Failed::Call(format!("rpcx: can't find service {service}")));
        };
        let metadata = said(req);
        let limit = self.0.limits.call_timeout;
        let deadline = if limit.is_zero() { Moment::NEVER } else { clock::now().after(limit) };
        let (server, peer) = (&self.0, req.peer());
        let call = LocalCall { server, route, method, peer, codec, metadata, message, deadline };
        let reply = call.make().await.map_err(|refused| match refused {
            Refused::NoMethod(text) => Failed::Call(text),
            Refused::Guarded(fault) => Failed::Guarded(fault),
        })?;
        Ok(reply)
    }

    async fn content(&self, req: &mut Request) -> Result<Bytes, StatusCode> {
        let most = self.0.limits.frames().message as u64;
        req.body().bytes(most).await.map_err(|e| e.status())
    }

    /// By the fields of rpcx.
    async fn rpcx(&self, req: &mut Request) -> Response {
        let content = match self.content(req).await {
            Ok(content) => content,
            Err(status) => return status.into(),
        };
        let mut response = Response::new(StatusCode::OK);
        for name in [VERSION, ID, SERVICE, METHOD, CODEC] {
            let value = req.field(&name).and_then(|value| HeaderValue::from_bytes(value).ok());
            if let Some(value) = value {
                response.headers_mut().insert(name, value);
            }
        }
        let (service, method, codec) = {
            let text = |name: &HeaderName| req.header(name.as_str()).map(str::to_owned);
            let codec = text(&CODEC).and_then(|number| CodecId::new(number.parse().ok()?));
            let named = text(&SERVICE).unwrap_or_else(|| req.path().trim_matches('/').to_owned());
            (named, text(&METHOD), codec)
        };
        match (service.is_empty(), method, codec) {
            (true, ..) => failed(response, "empty servicepath"),
            (_, None, _) => failed(response, "empty servicemethod"),
            (.., None) => failed(response, "empty serialized type"),
            (_, Some(method), Some(codec)) => {
                self.rpcx_call(req, (&service, &method), codec, &content, response).await
            }
        }
    }

    async fn rpcx_call(
        &self,
        req: &mut Request,
        what: (&str, &str),
        codec: CodecId,
        content: &[u8],
        mut response: Response,
    ) -> Response {
        let compressed = req.header(COMPRESS.as_str()).map(str::to_owned);
        let message = match compressed.as_deref() {
            None | Some("" | "0") => Cow::Borrowed(content),
            Some("1") => match gunzip(content, self.0.limits.decompressed()) {
                Ok(message) => message.into(),
                Err(e) => return failed(response, &e.to_string()),
            },
            Some(_) => return failed(response, "unknown compression"),
        };
        let one_way = req.header(ONE_WAY.as_str()).is_some_and(|text| !text.is_empty());
        let called = self.call(req, what, codec, &message).await;
        if one_way && !matches!(called, Err(Failed::Guarded(_))) {
            return response;
        }
        match called {
            Ok(LocalReply { failed: None, metadata, payload }) => {
                if let Ok(value) = HeaderValue::try_from(as_query(&metadata)) {
                    response.headers_mut().insert(META, value);
                }
                response.with_body(payload)
            }
            Ok(LocalReply { failed: Some(text), .. }) | Err(Failed::Call(text)) => {
                failed(response, &text).with_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Err(Failed::Guarded(fault)) => {
                failed(response, fault.text()).with_status(StatusCode::UNAUTHORIZED)
            }
        }
    }

    async fn json_rpc(&self, req: &mut Request) -> Response {
        let content = match self.content(req).await {
            Ok(content) => content,
            Err(status) => return status.into(),
        };
        let asked = match serde_json::from_slice::<Asked<'_>>(&content) {
            Ok(asked) if asked.jsonrpc == "2.0" => asked,
            Ok(_) => return told(&Value::Null, PARSE_ERROR, "the version is not 2.0"),
            Err(e) => return told(&Value::Null, PARSE_ERROR, &e.to_string()),
        };
        let id = asked.id.clone().unwrap_or_default();
        let Some(what) = asked.method.rsplit_once('.') else {
            return told(&id, NO_METHOD, "a method is SERVICE.METHOD");
        };
        let params = asked.params.map_or("{}", RawValue::get);
        let called = self.call(req, what, CodecId::JSON, params.as_bytes()).await;
        let answer = match called {
            Ok(LocalReply { failed: None, payload, .. }) => {
                match serde_json::from_slice::<&RawValue>(&payload) {
                    Ok(result) => {
                        let answer = Answer { jsonrpc: "2.0", id: &id, result };
                        serde_json::to_string(&answer).map(as_json)
                    }
                    Err(_) => Ok(told(&id, INTERNAL, "the answer is no JSON")),
                }
            }
            Ok(LocalReply { failed: Some(text), .. }) | Err(Failed::Call(text)) => {
                Ok(told(&id, INTERNAL, &text))
            }
            Err(Failed::Guarded(fault)) => Ok(told(&id, INTERNAL, fault.text())),
        };
        match answer {
            // Nobody wants to hear of it.
            _ if asked.id.is_none() => Response::new(StatusCode::OK),
            Ok(answer) => answer,
            Err(e) => told(&id, INTERNAL, &e.to_string()),
        }
    }
}

/// What a caller says besides.
fn said(req: &Request) -> Metadata {
    let mut metadata = metadata_of(&req.to_headers());
    let said = req.header(META.as_str()).unwrap_or_default();
    for (key, value) in query::pairs(said.as_bytes()) {
        metadata.set(&String::from_utf8_lossy(&key), &*value);
    }
    metadata
}

/// A request of JSON-RPC.
#[derive(serde::Deserialize)]
struct Asked<'a> {
    jsonrpc: String,
    method: String,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    id: Option<Value>,
}

/// An answer of JSON-RPC.
#[derive(serde::Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: &'a Value,
    result: &'a RawValue,
}

fn told(id: &Value, code: i32, message: &str) -> Response {
    let error = json!({ "code": code, "message": message, "data": null });
    as_json(json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string())
}

fn as_json(text: String) -> Response {
    Response::typed(HeaderValue::from_static("application/json"), text)
}

/// Says in fields what is wrong.
fn failed(mut response: Response, text: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(STATUS, HeaderValue::from_static("Error"));
    // What no field can have is left out.
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if let Ok(text) = HeaderValue::try_from(text) {
        headers.insert(ERROR, text);
    }
    headers.remove(CONTENT_TYPE);
    response
}

/// Metadata as a query, which is how the gateway has it in a field.
fn as_query(metadata: &Metadata) -> String {
    let mut query = String::new();
    for (key, value) in metadata.pairs().iter() {
        if !query.is_empty() {
            query.push('&');
        }
        push_encoded(&mut query, &String::from_utf8_lossy(key));
        query.push('=');
        push_encoded(&mut query, &String::from_utf8_lossy(value));
    }
    query
}
