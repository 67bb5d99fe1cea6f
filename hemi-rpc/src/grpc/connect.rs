//! What Connect says of a call that has failed, and at the end of streams: JSON
//! (<https://connectrpc.com/docs/protocol>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use hemi_proto::grpc::decode_message;
use http::{HeaderMap, StatusCode};
use prost::Message;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use super::replies::code_of;

/// `google.rpc.Status`, which has the details of a failure.
#[derive(Clone, PartialEq, Message)]
struct Detailed {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// What the trailers say of a failure.
pub(super) fn error(trailers: &HeaderMap) -> Value {
    let mut error = Map::new();
    error.insert("code".into(), name(code_of(trailers)).into());
    if let Some(message) = trailers.get(Status::GRPC_MESSAGE) {
        error.insert("message".into(), decode_message(message.as_bytes()).into());
    }
    let shown = |detail: Detail| {
        let ty = detail.type_url.rsplit('/').next().unwrap_or_default();
        json!({ "type": ty, "value": STANDARD_NO_PAD.encode(detail.value) })
    };
    let details: Vec<_> = details(trailers).map(shown).collect();
    if !details.is_empty() {
        error.insert("details".into(), details.into());
    }
    error.into()
}

/// What the trailers say besides.
pub(super) fn details(trailers: &HeaderMap) -> impl Iterator<Item = Detail> + use<> {
    let details = trailers.get(Status::GRPC_STATUS_DETAILS).and_then(|details| {
        let text = details.as_bytes();
        let end = text.iter().rposition(|&b| b != b'=').map_or(0, |last| last + 1);
        Detailed::decode(&*STANDARD_NO_PAD.decode(text.get(..end)?).ok()?).ok()
    });
    details.into_iter().flat_map(|detailed| detailed.details)
}

/// The content of the last frame of a stream.
pub(super) fn end(trailers: &HeaderMap) -> Vec<u8> {
    let mut end = Map::new();
    if code_of(trailers) != Code::Ok {
        end.insert("error".into(), error(trailers));
    }
    let mut metadata = Map::new();
    for name in trailers.keys().filter(|name| !is_status(name.as_str())) {
        let values = trailers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        metadata.insert(name.as_str().into(), values.collect::<Vec<_>>().into());
    }
    if !metadata.is_empty() {
        end.insert("metadata".into(), metadata.into());
    }
    Value::from(end).to_string().into_bytes()
}

/// Whether a field is what the call has come to.
pub(super) fn is_status(name: &str) -> bool {
    matches!(name, "grpc-status" | "grpc-message" | "grpc-status-details-bin")
}

/// The status of HTTP that goes with a code.
pub(super) fn http_status(code: Code) -> StatusCode {
    let status = match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unauthenticated => 401,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "canceled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
