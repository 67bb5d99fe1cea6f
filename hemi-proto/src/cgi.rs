//! What CGI and the protocols that came after it share: names of variables, and the head of an answer (RFC 3875).

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, LOCATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::ascii::{is_forbidden_control, is_token, parse_decimal, trim_ows};

/// The variable that holds a field of the request, such as `HTTP_ACCEPT_LANGUAGE` (section 4.1.18).
///
/// None for names that another name would have the same variable as (`x_user` and `x-user`), for
/// `content-length` and `content-type`, which have variables of their own, and for `proxy`, whose variable
/// programs take for their configuration ("httpoxy").
#[must_use]
pub fn variable_of(field: &HeaderName) -> Option<String> {
    let name = field.as_str();
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_plain || matches!(name, "content-length" | "content-type" | "proxy") {
        return None;
    }
    let upper = |b: u8| if b == b'-' { '_' } else { b.to_ascii_uppercase().into() };
    Some("HTTP_".chars().chain(name.bytes().map(upper)).collect())
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgiHead {
    /// What its Status field says; 302 if there is a Location only, else 200.
    pub status: StatusCode,
    /// All fields but Status, and those about the connection, which is not the program's.
    pub headers: HeaderMap,
    /// What its Content-Length field says.
    pub length: Option<u64>,
    /// There was a Location and no Status.
    pub redirects: bool,
}

impl CgiHead {
    /// The path and query of this server that are to be answered instead (section 6.2.2).
    #[must_use]
    pub fn local_redirect(&self) -> Option<&str> {
        let location = self.headers.get(LOCATION).filter(|_| self.redirects)?.to_str().ok()?;
        (location.starts_with('/') && !location.starts_with("//")).then_some(location)
    }
}

/// Not the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CgiHeadError {
    /// It has more bytes than allowed.
    #[error("the head is too large")]
    TooLarge,
    /// It has more fields than allowed, or than a map holds.
    #[error("the head has too many fields")]
    TooManyFields,
    /// A line is not `name: value`, or has a control byte.
    #[error("a field of the head is malformed")]
    Field,
    /// Status is not one of 200 to 599, or is there twice.
    #[error("the status is malformed")]
    Status,
    /// Content-Length is no number, or there are different ones.
    #[error("the length of the content is malformed")]
    Length,
    /// There is no field at all.
    #[error("the head is empty")]
    Empty,
}

/// What a head may be.
#[derive(Clone, Copy, Debug)]
pub struct CgiLimits {
    /// Bytes, at most.
    pub size: usize,
    /// Fields, at most.
    pub fields: usize,
}

/// Reads a head from what a program has sent so far.
#[derive(Clone, Debug, Default)]
pub struct CgiHeadReader {
    /// Bytes in which no end was found.
    searched: usize,
}

impl CgiHeadReader {
    /// Takes the head off the front of `buf`, when all of it is there; what follows is content. Lines end
    /// in LF or CRLF.
    ///
    /// # Errors
    /// When it can't become a head.
    pub fn read(
        &mut self,
        buf: &mut BytesMut,
        limits: &CgiLimits,
    ) -> Result<Option<CgiHead>, CgiHeadError> {
        let end = self.find_end(buf);
        if end.unwrap_or(buf.len()) > limits.size {
            return Err(CgiHeadError::TooLarge);
        }
        let Some(end) = end else { return Ok(None) };
        parse(&buf.split_to(end).freeze(), limits).map(Some)
    }

    /// Where the empty line ends.
    fn find_end(&mut self, buf: &[u8]) -> Option<usize> {
        let mut at = self.searched;
        while let Some(found) = buf.get(at..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let line_end = at + found;
            let line = buf.get(self.searched..line_end)?;
            at = line_end + 1;
            if matches!(line, [] | [b'\r']) {
                return Some(at);
            }
            self.searched = at;
        }
        None
    }
}

fn parse(head: &Bytes, limits: &CgiLimits) -> Result<CgiHead, CgiHeadError> {
    let mut headers = HeaderMap::new();
    let (mut status, mut length, mut fields) = (None, None, 0);
    for line in head.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        fields += 1;
        if fields > limits.fields {
            return Err(CgiHeadError::TooManyFields);
        }
        let (name, value) = split(line).ok_or(CgiHeadError::Field)?;
        if name.eq_ignore_ascii_case(b"status") {
            if status.replace(parse_status(value)?).is_some() {
                return Err(CgiHeadError::Status);
            }
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| CgiHeadError::Field)?;
        if name == CONTENT_LENGTH {
            let len = parse_decimal(value).ok_or(CgiHeadError::Length)?;
            if length.replace(len).is_some_and(|other| other != len) {
                return Err(CgiHeadError::Length);
            }
            continue;
        }
        if is_about_the_connection(&name) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        let value = value.map_err(|_| CgiHeadError::Field)?;
        headers.try_append(name, value).map_err(|_| CgiHeadError::TooManyFields)?;
    }
    if fields == 0 {
        return Err(CgiHeadError::Empty);
    }
    let redirects = status.is_none() && headers.contains_key(LOCATION);
    let default = if redirects { StatusCode::FOUND } else { StatusCode::OK };
    Ok(CgiHead { status: status.unwrap_or(default), headers, length, redirects })
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, trim_ows(line.get(colon + 1..)?));
    let well_formed = !name.is_empty()
        && name.iter().all(|&b| is_token(b))
        && !value.iter().any(|&b| is_forbidden_control(b));
    well_formed.then_some((name, value))
}

/// `404 Not Found`; the phrase means nothing.
fn parse_status(value: &[u8]) -> Result<StatusCode, CgiHeadError> {
    let (code, phrase) = value.split_at_checked(3).ok_or(CgiHeadError::Status)?;
    let status = StatusCode::from_bytes(code).map_err(|_| CgiHeadError::Status)?;
    let is_final = (200..600).contains(&status.as_u16());
    if is_final && matches!(phrase, [] | [b' ', ..]) {
        Ok(status)
    } else {
        Err(CgiHeadError::Status)
    }
}

fn is_about_the_connection(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CgiLimits = CgiLimits { size: 200, fields: 4 };

    fn read(text: &str) -> Result<Option<CgiHead>, CgiHeadError> {
        CgiHeadReader::default().read(&mut BytesMut::from(text), &LIMITS)
    }

    #[test]
    fn heads() {
        for (text, status, length) in [
            ("A: b\n\n", 200, None),
            ("Status: 404 Not Found\r\nA: b\r\n\r\n", 404, None),
            ("status:204\nA: b\n\n", 204, None),
            ("A: b\nLocation: /x?y\n\n", 302, None),
            ("A: b\nLocation: http://a/\nStatus: 301\n\n", 301, None),
            ("Content-Length: 12\nA:   b \n\n", 200, Some(12)),
            ("Connection: close\nTransfer-Encoding: x\nA: b\n\n", 200, None),
        ] {
            let head = read(text).unwrap().unwrap();
            assert_eq!((head.status.as_u16(), head.length), (status, length), "{text:?}");
            assert_eq!(head.headers["a"], "b", "{text:?}");
            assert!(!head.headers.contains_key(CONNECTION), "{text:?}");
        }
    }

    #[test]
    fn content_follows_however_the_head_arrives() {
        let text = b"A: b\r\nC: d\r\n\r\nrest\n\n";
        for cut in 0..text.len() {
            let (mut reader, mut buf) = (CgiHeadReader::default(), BytesMut::new());
            buf.extend_from_slice(&text[..cut]);
            let early = reader.read(&mut buf, &LIMITS).unwrap();
            assert_eq!(early.is_some(), cut >= 14);
            buf.extend_from_slice(&text[cut..]);
            let head = early.or_else(|| reader.read(&mut buf, &LIMITS).unwrap()).unwrap();
            assert_eq!(head.headers.len(), 2);
            assert_eq!(buf, "rest\n\n");
        }
    }

    #[test]
    fn refused() {
        use CgiHeadError as E;
        let long = format!("A: {}\n\n", "x".repeat(200));
        for (text, error) in [
            ("\n", E::Empty),
            ("\r\n", E::Empty),
            ("A b\n\n", E::Field),
            (": b\n\n", E::Field),
            ("A : b\n\n", E::Field),
            ("A: b\n c\n\n", E::Field),
            ("A: b\0\n\n", E::Field),
            ("A: b\rc: d\n\n", E::Field),
            ("<html>\n\n", E::Field),
            ("Status: 200\nStatus: 200\n\n", E::Status),
            ("Status: 100\n\n", E::Status),
            ("Status: 600\n\n", E::Status),
            ("Status: 2000\n\n", E::Status),
            ("Status: OK\n\n", E::Status),
            ("Status:\n\n", E::Status),
            ("Content-Length: +1\n\n", E::Length),
            ("Content-Length: 1\nContent-Length: 2\n\n", E::Length),
            ("A: 1\nA: 2\nA: 3\nA: 4\nA: 5\n\n", E::TooManyFields),
            (&long, E::TooLarge),
            (&long[..201], E::TooLarge),
        ] {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
        assert_eq!(read("A: b\n"), Ok(None));
    }

    #[test]
    fn redirects_within_the_server() {
        let local = |text| read(text).unwrap().unwrap().local_redirect().map(str::to_owned);
        assert_eq!(local("Location: /a?b\n\n").as_deref(), Some("/a?b"));
        for text in [
            "Location: http://a/\n\n",
            "Location: //a/\n\n",
            "Location: /a\nStatus: 302\n\n",
            "A: b\n\n",
        ] {
            assert_eq!(local(text), None, "{text:?}");
        }
    }

    #[test]
    fn variables() {
        let variable = |name: &'static str| variable_of(&HeaderName::from_static(name));
        assert_eq!(variable("accept-language").as_deref(), Some("HTTP_ACCEPT_LANGUAGE"));
        for name in ["x_user", "proxy", "content-type", "content-length", "a.b"] {
            assert_eq!(variable(name), None, "{name}");
        }
    }
}
