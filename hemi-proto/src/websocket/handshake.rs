//! What HTTP says before the first frame: a request to upgrade (RFC 6455, 4), or over HTTP/2 and HTTP/3 an
//! extended CONNECT (RFC 8441, RFC 9220).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode, Version};
use sha1::{Digest, Sha1};

use crate::ascii::list_elements;

/// The only version there is.
pub const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What a key is hashed with.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request gets no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It does not ask for one.
    #[error("a WebSocket is expected here")]
    NotAsked,
    /// It is no GET.
    #[error("a WebSocket begins with GET")]
    Method,
    /// It asks for another version than 13.
    #[error("the version of WebSocket is 13")]
    Version,
    /// Its key is missing, or not 16 bytes in Base64.
    #[error("bad sec-websocket-key")]
    Key,
}

impl HandshakeError {
    /// The status to answer with; 426 goes with the fields `upgrade` and `sec-websocket-version`.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotAsked | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Key => StatusCode::BAD_REQUEST,
        }
    }
}

/// Checks a request; gives what the answer says in `sec-websocket-accept`, which there is in HTTP/1 only.
///
/// # Errors
/// When it asks for no WebSocket, or not in the way it has to (4.2.1).
pub fn check(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, HandshakeError> {
    if !asks(headers) {
        return Err(HandshakeError::NotAsked);
    }
    if method != Method::GET {
        return Err(HandshakeError::Method);
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(HandshakeError::Version);
    }
    if version >= Version::HTTP_2 {
        return Ok(None);
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let is_key = |key: &&[u8]| key.len() == 24 && STANDARD.decode(key).is_ok();
    key.filter(is_key).map(|key| Some(accept_key(key))).ok_or(HandshakeError::Key)
}

/// Whether a request asks for a WebSocket, among other protocols maybe.
#[must_use]
pub fn asks(headers: &HeaderMap) -> bool {
    let mut names = headers.get_all(UPGRADE).iter().flat_map(|line| list_elements(line.as_bytes()));
    names.any(|name| name.eq_ignore_ascii_case(b"websocket"))
}

/// What proves that a key was read (4.2.2).
#[must_use]
pub fn accept_key(key: &[u8]) -> HeaderValue {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let text = STANDARD.encode(hash);
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

/// A key of 16 random bytes, for a client to send.
#[must_use]
pub fn key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// Whether an answer proves that this key was read.
#[must_use]
pub fn proves(headers: &HeaderMap, key: &str) -> bool {
    asks(headers) && only(headers, &SEC_WEBSOCKET_ACCEPT) == Some(&accept_key(key.as_bytes()))
}

/// The first of the subprotocols that a client likes to speak that is supported.
pub fn choose_protocol<'a>(headers: &HeaderMap, supported: &'a [String]) -> Option<&'a str> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut liked = lines.flat_map(|line| list_elements(line.as_bytes()));
    liked.find_map(|liked| supported.iter().find(|name| name.as_bytes() == liked)).map(|s| &**s)
}

/// The field of this name, if it is there once.
fn only<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn the_example_of_the_rfc() {
        let asked = headers(&[
            ("upgrade", "h2c, WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
            ("sec-websocket-protocol", "chat, superchat"),
        ]);
        let accept = check(&Method::GET, Version::HTTP_11, &asked);
        assert_eq!(accept, Ok(Some(HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))));
        let answer =
            [("upgrade", "websocket"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")];
        assert!(proves(&headers(&answer), KEY) && !proves(&headers(&answer[..1]), KEY));
        assert_eq!(key(*b"the sample nonce"), KEY);
        let supported = ["superchat".to_owned(), "chat".to_owned()];
        assert_eq!(choose_protocol(&asked, &supported), Some("chat"));
        assert_eq!(choose_protocol(&asked, &["Chat".to_owned()]), None);
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        let whole =
            [("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", KEY)];
        let error = |changed: &[(&'static str, &'static str)], method, version| {
            let mut all: Vec<_> = whole.to_vec();
            for (name, value) in changed {
                all.retain(|(known, _)| known != name);
                all.extend(value.split('|').filter(|v| !v.is_empty()).map(|v| (*name, v)));
            }
            check(&method, version, &headers(&all)).err()
        };
        let get = |changed| error(changed, Method::GET, Version::HTTP_11);
        assert_eq!(get(&[]), None);
        assert_eq!(get(&[("upgrade", "")]), Some(HandshakeError::NotAsked));
        assert_eq!(get(&[("upgrade", "websockets")]), Some(HandshakeError::NotAsked));
        assert_eq!(get(&[("sec-websocket-version", "8")]), Some(HandshakeError::Version));
        assert_eq!(get(&[("sec-websocket-version", "13|13")]), Some(HandshakeError::Version));
        assert_eq!(get(&[("sec-websocket-key", "")]), Some(HandshakeError::Key));
        assert_eq!(get(&[("sec-websocket-key", "c2hvcnQ=")]), Some(HandshakeError::Key));
        let not_base64 = "dGhlIHNhbXBsZSBub25jZ===";
        assert_eq!(get(&[("sec-websocket-key", not_base64)]), Some(HandshakeError::Key));
        let post = error(&[], Method::POST, Version::HTTP_11);
        assert_eq!(post, Some(HandshakeError::Method));
        // Over HTTP/2 there is no key.
        assert_eq!(error(&[("sec-websocket-key", "")], Method::GET, Version::HTTP_2), None);
    }
}
