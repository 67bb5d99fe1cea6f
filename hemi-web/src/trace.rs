//! The span of a request, by the semantic conventions of OpenTelemetry for HTTP.

use std::sync::Arc;

use hemi_core::listen::Peer;
use hemi_core::tracer::{Remote, Span, Tracer, Value};
use hemi_proto::traceparent::TraceParent;
use http::header::USER_AGENT;
use http::{HeaderMap, Method, Version};

use crate::vars::field;
use crate::{Request, Response};

/// Begins the span of a request that has come.
pub(crate) fn begin(tracer: &Arc<dyn Tracer>, req: &mut Request) {
    let mut span = Span::begin(tracer, remote(req.headers()), method_name(req.method()));
    if span.is_recorded() {
        describe(&mut span, req);
    }
    req.set_trace(span);
}

/// Ends it, when the answer is over.
pub(crate) fn end(req: &mut Request, response: &Response, sent: u64) {
    let Some(mut span) = req.take_trace() else { return };
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    span.set("http.response.body.size", i64::try_from(sent).unwrap_or(i64::MAX));
    if status.is_server_error() {
        span.set("error.type", status.as_str().to_owned());
        span.fail("");
    }
}

/// Says by which route the request has come.
pub(crate) fn tell_route(span: &mut Span, method: &Method, route: &str) {
    span.rename(format!("{} {route}", method_name(method)));
    span.set("http.route", route.to_owned());
}

/// Where the trace comes from. Of several fields none is to be believed.
fn remote(fields: &HeaderMap) -> Option<Remote> {
    let traceparent = one(fields, "traceparent")?;
    let states = fields.get_all("tracestate").iter().filter_map(|line| line.to_str().ok());
    Remote::parse(traceparent, &states.collect::<Vec<_>>().join(","))
}

/// The trace that the fields of a request name.
pub(crate) fn parent(fields: &HeaderMap) -> Option<TraceParent<'_>> {
    hemi_proto::traceparent::parse_traceparent(one(fields, "traceparent")?)
}

fn one<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut lines = fields.get_all(name).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    Some(line.as_bytes())
}

/// Methods that others than the known ones are not told apart from, for there may be any number of them.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "HTTP",
    }
}

fn describe(span: &mut Span, req: &Request) {
    match method_name(req.method()) {
        "HTTP" => {
            span.set("http.request.method", "_OTHER");
            span.set("http.request.method_original", req.method().as_str().to_owned());
        }
        method => span.set("http.request.method", method),
    }
    span.set("url.scheme", req.scheme().as_str());
    span.set("url.path", req.raw_path().to_owned());
    let version = match req.version() {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    };
    span.set("network.protocol.version", version);
    if let Some(authority) = req.authority().filter(|authority| !authority.is_empty()) {
        span.set("server.address", authority.hostname().to_owned());
        if let Some(port) = authority.port() {
            span.set("server.port", i64::from(port));
        }
    }
    if let Peer::Tcp(address) = req.peer() {
        span.set("client.address", address.ip().to_string());
    }
    let user_agent = field(req, &USER_AGENT);
    if !user_agent.is_empty() {
        let user_agent = String::from_utf8_lossy(&user_agent).into_owned();
        span.set("user_agent.original", Value::from(user_agent));
    }
}
