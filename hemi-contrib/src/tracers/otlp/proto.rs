//! The messages of OTLP that traces need, as `opentelemetry/proto` 1.x defines them: of
//! `collector/trace/v1`, `trace/v1`, `resource/v1` and `common/v1`.

use std::time::{SystemTime, UNIX_EPOCH};

use hemi_core::tracer::{Ended, SpanKind, Value};
use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(enumeration = "Kind", tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    dropped_attributes_count: u32,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    /// Those of W3C Trace Context.
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
enum Kind {
    Unspecified = 0,
    Internal = 1,
    Server = 2,
    Client = 3,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(enumeration = "Code", tag = "3")]
    code: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
enum Code {
    Unset = 0,
    Error = 2,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Float(f64),
}

impl ExportTraceServiceRequest {
    /// These spans of the service.
    pub(super) fn new(service: &str, spans: Vec<Ended>) -> Self {
        let attributes = Vec::from([
            KeyValue::new("service.name", Any::Text(service.to_owned())),
            KeyValue::new("process.pid", Any::Int(std::process::id().into())),
        ]);
        let scope = InstrumentationScope {
            name: "hemi-web".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let spans = spans.into_iter().map(Span::from).collect();
        let scope_spans = Vec::from([ScopeSpans { scope: Some(scope), spans }]);
        let resource = Some(Resource { attributes });
        Self { resource_spans: Vec::from([ResourceSpans { resource, scope_spans }]) }
    }
}

impl KeyValue {
    fn new(key: &str, value: Any) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}

impl From<Ended> for Span {
    fn from(span: Ended) -> Self {
        let kind = match span.kind {
            SpanKind::Internal => Kind::Internal,
            SpanKind::Server => Kind::Server,
            SpanKind::Client => Kind::Client,
        };
        let attributes = span.attributes.into_iter().map(|(key, value)| {
            let value = match value {
                Value::Text(text) => Any::Text(text.into_owned()),
                Value::Bool(yes) => Any::Bool(yes),
                Value::Int(number) => Any::Int(number),
                Value::Float(number) => Any::Float(number),
            };
            KeyValue::new(&key, value)
        });
        let failed = |why: std::borrow::Cow<'static, str>| Status {
            message: why.into_owned(),
            code: Code::Error.into(),
        };
        Self {
            trace_id: span.trace.bytes().to_vec(),
            span_id: span.id.bytes().to_vec(),
            trace_state: span.state.as_deref().unwrap_or_default().to_owned(),
            parent_span_id: span.parent.map_or_else(Vec::new, |parent| parent.bytes().to_vec()),
            name: span.name.into_owned(),
            kind: kind.into(),
            start_time_unix_nano: nanos(span.began),
            end_time_unix_nano: nanos(span.ended),
            attributes: attributes.collect(),
            dropped_attributes_count: span.dropped_attributes,
            status: span.failure.map(failed),
            // What is told is recorded.
            flags: 1,
        }
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}
