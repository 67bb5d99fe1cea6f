//! A strict reader of HTTP/1 responses, so that tests notice what a lenient client forgives.

use std::fmt;
use std::io;

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The fields in the order they came, values without surrounding whitespace.
    pub headers: Vec<(String, String)>,
    /// The body, with any chunked coding taken off.
    pub body: Vec<u8>,
    /// The trailer fields of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether the body ended with the connection.
    pub closed: bool,
}

/// What kind of request a response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Head,
    Other,
}

/// How bytes differ from a response by RFC 9112.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl Reply {
    /// The value of the first field of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// The values of all the fields of this name, in any case.
    pub fn header_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The response that `bytes` begin with, and its length; `None` while it isn't complete.
    ///
    /// `ended` says that no more bytes will come.
    pub(crate) fn parse(
        bytes: &[u8],
        request: Request,
        ended: bool,
    ) -> Result<Option<(Self, usize)>, Malformed> {
        let mut rest = bytes;
        let Some(status_line) = line(&mut rest)? else { return Ok(None) };
        let status = parse_status_line(&status_line)?;
        let Some(headers) = fields(&mut rest)? else { return Ok(None) };
        let mut reply = Self { status, headers, body: vec![], trailers: vec![], closed: false };
        let complete = match reply.framing(request)? {
            Framing::None => true,
            Framing::Length(length) => rest.split_off(..length).is_some_and(|body| {
                reply.body = body.to_vec();
                true
            }),
            Framing::Chunked => reply.take_chunks(&mut rest)?,
            Framing::UntilClose => {
                reply.closed = ended;
                reply.body = std::mem::take(&mut rest).to_vec();
                ended
            }
        };
        Ok(complete.then(|| (reply, bytes.len() - rest.len())))
    }

    /// How the body ends (RFC 9112 section 6.3).
    fn framing(&self, request: Request) -> Result<Framing, Malformed> {
        let codings: Vec<&str> = self.header_values("transfer-encoding").collect();
        let lengths: Vec<&str> = self.header_values("content-length").collect();
        if !codings.is_empty() && !lengths.is_empty() {
            return Err(malformed("both Transfer-Encoding and Content-Length", ""));
        }
        let bodiless = matches!(self.status, 100..=199 | 204);
        if bodiless && !(codings.is_empty() && lengths.is_empty()) {
            return Err(malformed("a length where there is no body", &self.status.to_string()));
        }
        if bodiless || self.status == 304 || request == Request::Head {
            return Ok(Framing::None);
        }
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(Framing::UntilClose),
            ([], [digits]) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .map(Framing::Length)
                .map_err(|_| malformed("bad Content-Length", digits)),
            ([], values) => Err(malformed("bad Content-Length", &values.join(", "))),
            ([coding], _) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            (codings, _) => Err(malformed("bad Transfer-Encoding", &codings.join(", "))),
        }
    }

    /// Takes the chunks and trailers off the front of `rest`; `false` while some are missing.
    fn take_chunks(&mut self, rest: &mut &[u8]) -> Result<bool, Malformed> {
        loop {
            let Some(size_line) = line(rest)? else { return Ok(false) };
            let digits = size_line.split(';').next().unwrap_or_default();
            let valid = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(digits, 16).ok().filter(|_| valid);
            let size = size.ok_or_else(|| malformed("bad chunk size", &size_line))?;
            if size == 0 {
                let Some(trailers) = fields(rest)? else { return Ok(false) };
                self.trailers = trailers;
                return Ok(true);
            }
            let Some(data) = rest.split_off(..size) else { return Ok(false) };
            self.body.extend(data);
            match rest.split_off(..2) {
                None => return Ok(false),
                Some(b"\r\n") => {}
                Some(_) => return Err(malformed("no CRLF behind a chunk", &size_line)),
            }
        }
    }
}

enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// `HTTP/1.x SP 3DIGIT SP [ reason-phrase ]`
fn parse_status_line(line: &str) -> Result<u16, Malformed> {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    rest.and_then(|rest| rest.split_once(' '))
        .filter(|(code, _)| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|(code, _)| code.parse().ok())
        .filter(|status| (100..=599).contains(status))
        .ok_or_else(|| malformed("bad status line", line))
}

/// Takes field lines and the empty line behind them off `rest`; `None` while they aren't all there.
fn fields(rest: &mut &[u8]) -> Result<Option<Vec<(String, String)>>, Malformed> {
    let mut fields = Vec::new();
    loop {
        let Some(line) = line(rest)? else { return Ok(None) };
        if line.is_empty() {
            return Ok(Some(fields));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("no colon", &line))?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(malformed("bad field name", &line));
        }
        fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

/// Takes a line that ends in CRLF off `rest`; `None` while its end isn't there.
fn line(rest: &mut &[u8]) -> Result<Option<String>, Malformed> {
    let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    let line = rest.split_off(..=end).unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    match text.strip_suffix("\r\n") {
        Some(text) if !text.contains(|c: char| c.is_ascii_control() && c != '\t') => {
            Ok(Some(text.to_owned()))
        }
        Some(_) => Err(malformed("a control character in a line", &text)),
        None => Err(malformed("a line that ends in a bare LF", &text)),
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn malformed(what: &str, text: &str) -> Malformed {
    Malformed(format!("{what}: {text:?}"))
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for io::Error {
    fn from(error: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_responses() {
        use Request::{Head, Other};
        #[rustfmt::skip]
        let rows: &[(&str, Request, u16, &str, usize)] = &[
            // bytes, request, status, body, bytes left over
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", Other, 200, "abc", 3),
            ("HTTP/1.0 200 \r\ncontent-length:0\r\n\r\n", Other, 200, "", 0),
            ("HTTP/1.1 204 No Content\r\n\r\nnext", Other, 204, "", 4),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", Other, 304, "", 0),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Head, 200, "", 0),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Head, 200, "", 0),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", Other, 100, "", 17),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n!", Other, 200, "abc0123456789", 1),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", Other, 200, "to the end", 0),
        ];
        for &(bytes, request, status, body, left) in rows {
            let (reply, length) = Reply::parse(bytes.as_bytes(), request, true).unwrap().unwrap();
            assert_eq!((reply.status, reply.text().as_str()), (status, body), "{bytes:?}");
            assert_eq!(bytes.len() - length, left, "{bytes:?}");
        }
    }

    #[test]
    fn every_prefix_of_a_framed_response_is_incomplete() {
        for bytes in [
            "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: u\r\n\r\n",
        ] {
            for end in 0..bytes.len() {
                let prefix = bytes.get(..end).unwrap().as_bytes();
                assert_eq!(
                    Reply::parse(prefix, Request::Other, true),
                    Ok(None),
                    "{end}: {bytes:?}"
                );
            }
        }
        let open = b"HTTP/1.1 200 OK\r\n\r\nmore may come";
        assert_eq!(Reply::parse(open, Request::Other, false), Ok(None));
    }

    #[test]
    fn malformed_responses() {
        for bytes in [
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        ] {
            let result = Reply::parse(bytes.as_bytes(), Request::Other, true);
            assert!(result.is_err(), "{bytes:?}: {result:?}");
        }
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let bytes =
            b"HTTP/1.1 200 OK\r\nVary:  a \r\nvary: b\r\nTransfer-Encoding: chunked\r\n\r\n\
                      0\r\nDone: yes\r\n\r\n";
        let (reply, _) = Reply::parse(bytes, Request::Other, false).unwrap().unwrap();
        assert_eq!(reply.header("VARY"), Some("a"));
        assert_eq!(reply.header_values("vary").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(reply.header("none"), None);
        assert_eq!(reply.trailers, [("Done".to_owned(), "yes".to_owned())]);
        assert!(!reply.closed);
    }
}
