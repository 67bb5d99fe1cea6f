//! Heads as HTTP/2 has them.

use h2::ext::Protocol;
use hemi_proto::fields::Fields;
use hemi_proto::websocket::handshake::accept_key;
use hemi_web::Outgoing;
use http::header::{
    CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri};

use crate::backends::http1::expects_content;

/// The head of a request with content of this length, if that is known; the reason if it can't be sent by
/// HTTP/2.
pub(super) fn head_of(
    request: &Outgoing<'_>,
    length: Option<u64>,
) -> Result<Request<()>, &'static str> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if request.secure { Scheme::HTTPS } else { Scheme::HTTP });
    let authority = Authority::try_from(&*request.authority);
    parts.authority = Some(authority.map_err(|_| "its host can't be named in HTTP/2")?);
    let target = PathAndQuery::try_from(request.target);
    parts.path_and_query = Some(target.map_err(|_| "its target can't be named in HTTP/2")?);
    let uri = Uri::from_parts(parts).map_err(|_| "its target can't be named in HTTP/2")?;
    let mut head = Request::new(());
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = uri;
    let fields = head.headers_mut();
    for (name, value) in request.fields.iter() {
        let (name, value) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err("it has too long a field") };
        fields.try_append(name, value).map_err(|_| "it has too many fields")?;
    }
    if request.trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = request.upgrade {
        if !protocol.eq_ignore_ascii_case(b"websocket") {
            return Err("HTTP/2 can't be left for this protocol");
        }
        // Which in HTTP/2 nobody has to prove to have read (RFC 8441, 5).
        fields.remove(SEC_WEBSOCKET_KEY);
        *head.method_mut() = Method::CONNECT;
        head.extensions_mut().insert(Protocol::from_static("websocket"));
        return Ok(head);
    }
    match length {
        Some(0) if !expects_content(request.method) => {}
        Some(len) => _ = fields.insert(CONTENT_LENGTH, len.into()),
        None => {}
    }
    Ok(head)
}

/// The fields of the 101 that a WebSocket's 200 is to clients: with the proof that those of HTTP/1.1 wait for.
pub(in crate::backends) fn switching(
    mut fields: HeaderMap,
    request: &Outgoing<'_>,
) -> (StatusCode, Fields) {
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let mut keys = request
        .fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(SEC_WEBSOCKET_KEY.as_str().as_bytes()));
    if let Some((_, key)) = keys.next() {
        fields.insert(SEC_WEBSOCKET_ACCEPT, accept_key(key));
    }
    (StatusCode::SWITCHING_PROTOCOLS, fields.into())
}
