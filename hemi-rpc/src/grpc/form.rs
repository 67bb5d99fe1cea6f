//! How calls are carried: as gRPC, as gRPC-Web for browsers, or by Connect, which curl can speak too.

use std::time::Duration;

use hemi_proto::grpc::parse_timeout;
use hemi_web::Request;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use tonic::Status;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT: HeaderName = HeaderName::from_static("grpc-accept-encoding");
pub(super) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const CONNECT_ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");
const CONNECT_ACCEPT: HeaderName = HeaderName::from_static("connect-accept-encoding");
const CONNECT_TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
const CONNECT_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");

/// Digits of a timeout of Connect, at most.
const DIGITS: usize = 10;

/// How a call is carried, and what its messages are written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) carrier: Carrier,
    pub(super) json: bool,
    /// The media type, which is that of the answer too.
    pub(super) media_type: HeaderValue,
}

/// What carries a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Grpc,
    /// gRPC-Web: what would be trailers comes in a last frame.
    Web,
    /// The same in base64.
    WebText,
    /// Connect with one message each way: the content of a plain request, and of its answer.
    Unary,
    /// Connect with streams: frames, the last of which says how it ended.
    Stream,
    /// A plain request, as the method's file says: with JSON.
    Rest,
}

impl Form {
    /// By the media type of a request; none if it is no call.
    pub(super) fn of(req: &Request) -> Option<Self> {
        let field = req.field(&CONTENT_TYPE)?;
        // As most have it.
        if field == GRPC.as_bytes() {
            return Some(Self { carrier: Carrier::Grpc, json: false, media_type: GRPC });
        }
        let (media_type, parameters) = match field.iter().position(|&b| b == b';') {
            Some(at) => field.split_at(at),
            None => (field, &b""[..]),
        };
        let media_type = media_type.trim_ascii_end().to_ascii_lowercase();
        let (carrier, format) = match media_type.strip_prefix(b"application/")? {
            b"json" => (Carrier::Unary, &b"+json"[..]),
            b"proto" => (Carrier::Unary, &b""[..]),
            other => {
                let at = other.iter().position(|&b| b == b'+').unwrap_or(other.len());
                let (name, format) = other.split_at(at);
                let carrier = match name {
                    b"grpc" => Carrier::Grpc,
                    b"grpc-web" => Carrier::Web,
                    b"grpc-web-text" => Carrier::WebText,
                    b"connect" if !format.is_empty() => Carrier::Stream,
                    _ => return None,
                };
                (carrier, format)
            }
        };
        let json = match format {
            b"" | b"+proto" => false,
            b"+json" => true,
            _ => return None,
        };
        // Other content in JSON may be for others.
        let utf8 = parameters.is_empty() || parameters.to_ascii_lowercase().ends_with(b"=utf-8");
        if carrier == Carrier::Unary && !utf8 {
            return None;
        }
        let media_type = HeaderValue::from_bytes(&media_type).ok()?;
        Some(Self { carrier, json, media_type })
    }

    /// Of a plain request.
    pub(super) fn rest() -> Self {
        Self { carrier: Carrier::Rest, json: true, media_type: JSON }
    }

    pub(super) fn encoding_field(&self) -> HeaderName {
        match self.carrier {
            Carrier::Grpc | Carrier::Web | Carrier::WebText => GRPC_ENCODING,
            Carrier::Stream => CONNECT_ENCODING,
            Carrier::Unary | Carrier::Rest => CONTENT_ENCODING,
        }
    }

    pub(super) fn accept_field(&self) -> HeaderName {
        match self.carrier {
            Carrier::Grpc | Carrier::Web | Carrier::WebText => GRPC_ACCEPT,
            Carrier::Stream => CONNECT_ACCEPT,
            Carrier::Unary | Carrier::Rest => ACCEPT_ENCODING,
        }
    }

    /// How long the caller will wait.
    pub(super) fn timeout(&self, req: &Request) -> Result<Option<Duration>, Status> {
        let connect = matches!(self.carrier, Carrier::Unary | Carrier::Stream);
        let name = if connect { CONNECT_TIMEOUT } else { GRPC_TIMEOUT };
        let Some(text) = req.field(&name) else { return Ok(None) };
        let timeout = if connect { parse_millis(text) } else { parse_timeout(text) };
        let bad = || Status::invalid_argument(format!("{name} is no time"));
        timeout.map(Some).ok_or_else(bad)
    }

    /// Takes away fields that are about how the call is carried.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        for name in [self.encoding_field(), self.accept_field(), CONNECT_TIMEOUT, CONNECT_VERSION] {
            headers.remove(name);
        }
    }
}

fn parse_millis(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || text.len() > DIGITS || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().map(Duration::from_millis)
}
