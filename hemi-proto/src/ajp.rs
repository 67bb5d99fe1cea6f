//! AJP 1.3, from the side of the server: requests for a servlet container, and its answers.

mod answer;

pub use answer::{AjpHead, AnswerError, AnswerReader, Event};

use bytes::{BufMut, BytesMut};
use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION,
    CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, PRAGMA, REFERER, USER_AGENT,
};
use http::{HeaderMap, HeaderName, Method};

/// Bytes of a packet with its head that every container takes, and most take at most: 8 KiB.
pub const PACKET: usize = 8192;

/// Bytes of a packet with its head, where the container was told to take so many.
pub const MAX_PACKET: usize = 65536;

/// Bytes of a packet before the content in it: the packet's own head, and the length of the content.
const CONTENT_HEAD: usize = 6;

const MAGIC: [u8; 2] = [0x12, 0x34];

const FORWARD_REQUEST: u8 = 2;
const CPING: u8 = 10;

const REMOTE_USER: u8 = 3;
const QUERY: u8 = 5;
const ROUTE: u8 = 6;
const SSL_CERT: u8 = 7;
const SSL_CIPHER: u8 = 8;
const ATTRIBUTE: u8 = 10;
const SSL_KEY_SIZE: u8 = 11;
const SECRET: u8 = 12;
const STORED_METHOD: u8 = 13;
const ARE_DONE: u8 = 0xff;

/// A method that has no number, and goes by its name.
const UNNUMBERED: u8 = 0xff;

/// Methods from number 1.
const METHODS: [&str; 27] = [
    "OPTIONS",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "ACL",
    "REPORT",
    "VERSION-CONTROL",
    "CHECKIN",
    "CHECKOUT",
    "UNCHECKOUT",
    "SEARCH",
    "MKWORKSPACE",
    "UPDATE",
    "LABEL",
    "MERGE",
    "BASELINE-CONTROL",
    "MKACTIVITY",
];

/// Names of fields that have a number, and their numbers.
static FIELDS: [(HeaderName, u16); 13] = [
    (ACCEPT, 0xa001),
    (ACCEPT_CHARSET, 0xa002),
    (ACCEPT_ENCODING, 0xa003),
    (ACCEPT_LANGUAGE, 0xa004),
    (AUTHORIZATION, 0xa005),
    (CONNECTION, 0xa006),
    (CONTENT_TYPE, 0xa007),
    (CONTENT_LENGTH, 0xa008),
    (COOKIE, 0xa009),
    (HOST, 0xa00b),
    (PRAGMA, 0xa00c),
    (REFERER, 0xa00d),
    (USER_AGENT, 0xa00e),
];

/// What a container is told of a request.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// The method.
    pub method: &'a Method,
    /// `HTTP/1.1`
    pub protocol: &'a str,
    /// The path, encoded, without the query.
    pub path: &'a str,
    /// The query.
    pub query: Option<&'a str>,
    /// The client's address.
    pub remote_addr: &'a str,
    /// The host asked for.
    pub server_name: &'a str,
    /// The port asked for.
    pub server_port: u16,
    /// The request came over TLS, about which this is known.
    pub tls: Option<Tls<'a>>,
    /// The fields. They say how much content there is: by `content-length`, or `transfer-encoding`.
    pub headers: &'a HeaderMap,
    /// What proves that we may ask.
    pub secret: Option<&'a str>,
    /// Who the client is.
    pub user: Option<&'a str>,
    /// Which container of several a session belongs to.
    pub route: Option<&'a str>,
    /// More that the program can ask for by these names.
    pub attributes: &'a [(&'a str, &'a str)],
}

/// What a container is told of a TLS connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls<'a> {
    /// The name of the cipher suite.
    pub cipher: Option<&'a str>,
    /// Bits of its key.
    pub key_size: Option<u16>,
    /// The client's certificate, as PEM.
    pub client_cert: Option<&'a str>,
}

/// A request whose head does not fit in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the head of the request is larger than a packet")]
pub struct TooLarge;

/// Appends the head of a request, in a packet of at most `most` bytes.
///
/// # Errors
/// When it does not fit; `out` is then as it was before.
pub fn encode_forward(
    out: &mut BytesMut,
    request: &Forward<'_>,
    most: usize,
) -> Result<(), TooLarge> {
    let start = out.len();
    put_packet_head(out, 0);
    let fits = put_forward(out, request);
    let len = out.len() - start;
    if fits.is_err() || len > most.min(MAX_PACKET) {
        out.truncate(start);
        return Err(TooLarge);
    }
    if let Some(place) = out.get_mut(start + 2..start + 4) {
        place.copy_from_slice(&((len - 4) as u16).to_be_bytes());
    }
    Ok(())
}

/// Begins a piece of the request's content, which follows; at most [`content_room`] bytes.
pub fn encode_content_head(out: &mut BytesMut, len: u16) {
    put_packet_head(out, len + 2);
    out.put_u16(len);
}

/// Says that there is no more content.
pub fn encode_content_end(out: &mut BytesMut) {
    put_packet_head(out, 0);
}

/// Asks whether the container is there; it answers [`Event::Pong`].
pub fn encode_ping(out: &mut BytesMut) {
    put_packet_head(out, 1);
    out.put_u8(CPING);
}

/// Bytes of content in a packet of `packet` bytes, at most.
#[must_use]
pub fn content_room(packet: usize) -> u16 {
    // A packet has at most 65,536 bytes.
    (packet.min(MAX_PACKET) - CONTENT_HEAD) as u16
}

fn put_packet_head(out: &mut BytesMut, len: u16) {
    out.put_slice(&MAGIC);
    out.put_u16(len);
}

fn put_forward(out: &mut BytesMut, request: &Forward<'_>) -> Result<(), TooLarge> {
    let number = METHODS.iter().position(|method| request.method == method);
    out.put_u8(FORWARD_REQUEST);
    out.put_u8(number.map_or(UNNUMBERED, |number| number as u8 + 1));
    put_text(out, request.protocol)?;
    put_text(out, request.path)?;
    put_text(out, request.remote_addr)?;
    // The client's name, which nobody has looked up.
    put_text(out, request.remote_addr)?;
    put_text(out, request.server_name)?;
    out.put_u16(request.server_port);
    out.put_u8(request.tls.is_some().into());
    out.put_u16(u16::try_from(request.headers.len()).map_err(|_| TooLarge)?);
    for (name, value) in request.headers {
        match FIELDS.iter().find(|(known, _)| known == name) {
            Some((_, number)) => out.put_u16(*number),
            None => put_text(out, name.as_str())?,
        }
        put_text(out, value.as_bytes())?;
    }
    let tls = request.tls.unwrap_or_default();
    let stored_method = number.is_none().then_some(request.method.as_str());
    for (code, value) in [
        (REMOTE_USER, request.user),
        (QUERY, request.query),
        (ROUTE, request.route),
        (SSL_CERT, tls.client_cert),
        (SSL_CIPHER, tls.cipher),
        (SECRET, request.secret),
        (STORED_METHOD, stored_method),
    ] {
        if let Some(value) = value {
            out.put_u8(code);
            put_text(out, value)?;
        }
    }
    if let Some(bits) = tls.key_size {
        out.put_u8(SSL_KEY_SIZE);
        out.put_u16(bits);
    }
    for (name, value) in request.attributes {
        out.put_u8(ATTRIBUTE);
        put_text(out, name)?;
        put_text(out, value)?;
    }
    out.put_u8(ARE_DONE);
    Ok(())
}

fn put_text(out: &mut BytesMut, text: impl AsRef<[u8]>) -> Result<(), TooLarge> {
    let text = text.as_ref();
    // Lengths from 0xa000 would be taken for numbers of fields, and 0xffff for no text.
    let len = u16::try_from(text.len()).ok().filter(|len| *len < 0xa000).ok_or(TooLarge)?;
    out.put_u16(len);
    out.put_slice(text);
    out.put_u8(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request<'a>(method: &'a Method, headers: &'a HeaderMap) -> Forward<'a> {
        Forward {
            method,
            protocol: "HTTP/1.1",
            path: "/p",
            query: Some("q"),
            remote_addr: "::1",
            server_name: "h",
            server_port: 80,
            tls: None,
            headers,
            secret: Some("s"),
            user: None,
            route: None,
            attributes: &[("n", "v")],
        }
    }

    #[test]
    fn requests() {
        let headers = HeaderMap::from_iter([
            (HOST, HeaderValue::from_static("h")),
            (HeaderName::from_static("x-a"), HeaderValue::from_static("b")),
        ]);
        let mut out = BytesMut::new();
        encode_forward(&mut out, &request(&Method::POST, &headers), PACKET).unwrap();
        let expected = b"\x02\x04\0\x08HTTP/1.1\0\0\x02/p\0\0\x03::1\0\0\x03::1\0\0\x01h\0\
            \0\x50\0\0\x02\xa0\x0b\0\x01h\0\0\x03x-a\0\0\x01b\0\
            \x05\0\x01q\0\x0c\0\x01s\0\x0a\0\x01n\0\0\x01v\0\xff";
        assert_eq!(out[..4], [0x12, 0x34, 0, expected.len() as u8]);
        assert_eq!(out[4..], expected[..]);
    }

    #[test]
    fn methods_without_a_number_go_by_their_name() {
        let (method, headers) = (Method::from_bytes(b"BREW").unwrap(), HeaderMap::new());
        let mut out = BytesMut::new();
        encode_forward(&mut out, &request(&method, &headers), PACKET).unwrap();
        assert_eq!(out[5], 0xff);
        assert!(memchr::memmem::find(&out, b"\x0d\0\x04BREW\0").is_some());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = HeaderValue::try_from("v".repeat(8000)).unwrap();
        let headers = HeaderMap::from_iter([(COOKIE, long.clone()), (HOST, long)]);
        let mut out = BytesMut::from("x");
        let request = request(&Method::GET, &headers);
        assert_eq!(encode_forward(&mut out, &request, PACKET), Err(TooLarge));
        assert_eq!(out, "x");
        encode_forward(&mut out, &request, 20_000).unwrap();
    }

    #[test]
    fn content() {
        let mut out = BytesMut::new();
        encode_content_head(&mut out, 3);
        out.put_slice(b"abc");
        encode_content_end(&mut out);
        encode_ping(&mut out);
        assert_eq!(out, &b"\x12\x34\0\x05\0\x03abc\x12\x34\0\0\x12\x34\0\x01\x0a"[..]);
        assert_eq!(content_room(PACKET), 8186);
        assert_eq!(content_room(usize::MAX), 65530);
    }
}
