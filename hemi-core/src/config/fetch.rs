//! Fetches a config by URL: one blocking GET, before there is a runtime.
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use hemi_proto::http1::{BodyDecoder, BodyError, Decoded, HeadError, HeadLimits, HeadReader};
use http::{HeaderMap, Method, StatusCode, Uri};
use thiserror::Error;

/// What a fetch may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchLimits {
    /// From connecting to the last byte. The system's resolver has its own timeout before that.
    pub(super) timeout: Duration,
    /// Of the content, in bytes.
    pub(super) size: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), size: 1 << 20 }
    }
}

#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("https is not supported yet; fetch it over http from a host you trust, or use a file")]
    Https,
    #[error("not a URL like http://host:port/path")]
    Url,
    #[error("the host has no address")]
    NoAddress,
    #[error("it took longer than {} seconds", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("{0}")]
    Io(io::Error),
    #[error("the server closed the connection too early")]
    Closed,
    #[error("the server's answer is malformed: {0}")]
    Head(#[from] HeadError),
    #[error("the server's answer is malformed: {0}")]
    Body(#[from] BodyError),
    #[error("the server answered {status}{hint}", status = .0, hint = redirect_hint(.0))]
    Status(StatusCode),
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it is not UTF-8")]
    NotUtf8,
}

fn redirect_hint(status: &StatusCode) -> &'static str {
    if status.is_redirection() { "; redirects are not followed" } else { "" }
}

/// The content at an `http://` URL.
pub(super) fn fetch(url: &str, limits: FetchLimits) -> Result<String, FetchError> {
    let (uri, host, port) = split(url)?;
    let addresses = (&*host, port).to_socket_addrs().map_err(FetchError::Io)?;
    let mut result = Err(FetchError::NoAddress);
    let deadline = Deadline::new(limits.timeout);
    for address in addresses {
        result = deadline
            .run(|left| TcpStream::connect_timeout(&address, left))
            .map(|stream| Timed { stream, deadline });
        if result.is_ok() {
            break;
        }
    }
    let mut stream = result?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: hemi\r\naccept: */*\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let content = receive(&mut stream, limits.size)?;
    String::from_utf8(content).map_err(|_| FetchError::NotUtf8)
}

fn split(url: &str) -> Result<(Uri, String, u16), FetchError> {
    let uri: Uri = url.parse().map_err(|_| FetchError::Url)?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(FetchError::Https),
        _ => return Err(FetchError::Url),
    }
    let authority = uri.authority().ok_or(FetchError::Url)?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(FetchError::Url);
    }
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(80);
    Ok((uri, host, port))
}

/// The content of the answer.
fn receive(stream: &mut Timed, limit: usize) -> Result<Vec<u8>, FetchError> {
    let mut buffer = BytesMut::new();
    let mut heads = HeadReader::default();
    let mut fields = HeaderMap::new();
    let head = loop {
        let limits = HeadLimits::default();
        match heads.read_response(&Method::GET, &mut buffer, &mut fields, &limits)? {
            Some(interim) if interim.status.is_informational() => {}
            Some(head) => break head,
            None if stream.read_more(&mut buffer)? == 0 => return Err(FetchError::Closed),
            None => {}
        }
    };
    if head.status != StatusCode::OK {
        return Err(FetchError::Status(head.status));
    }
    let mut decoder = BodyDecoder::new(head.framing);
    let mut content = Vec::new();
    loop {
        let announced = decoder.remaining().unwrap_or_default();
        if content.len() as u64 + announced > limit as u64 {
            return Err(FetchError::TooLarge(limit));
        }
        match decoder.decode(&mut buffer)? {
            Decoded::Data(data) => content.extend_from_slice(&data),
            Decoded::End(_) => return Ok(content),
            Decoded::NeedMore if stream.read_more(&mut buffer)? == 0 => {
                decoder.finish().map_err(|_| FetchError::Closed)?;
            }
            Decoded::NeedMore => {}
        }
    }
}

/// A connection that is given up at the deadline.
struct Timed {
    stream: TcpStream,
    deadline: Deadline,
}

impl Timed {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        let Self { stream, deadline } = self;
        deadline.run(|left| {
            stream.set_write_timeout(Some(left))?;
            stream.write_all(bytes)
        })
    }

    fn read_more(&mut self, buffer: &mut BytesMut) -> Result<usize, FetchError> {
        let Self { stream, deadline } = self;
        let mut chunk = [0; 8192];
        let read = deadline.run(|left| {
            stream.set_read_timeout(Some(left))?;
            stream.read(&mut chunk)
        })?;
        buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[derive(Clone, Copy)]
struct Deadline {
    end: Instant,
    timeout: Duration,
}

#[expect(clippy::disallowed_methods, reason = "the coarse clock ticks in a runtime only")]
impl Deadline {
    fn new(timeout: Duration) -> Self {
        Self { end: Instant::now() + timeout, timeout }
    }

    /// Runs a step that may take the time that is left.
    fn run<T>(self, step: impl FnOnce(Duration) -> io::Result<T>) -> Result<T, FetchError> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(FetchError::Timeout(self.timeout));
        }
        step(left).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                FetchError::Timeout(self.timeout)
            }
            _ => FetchError::Io(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Fetches from a server that answers with `answer`, and then waits or closes.
    fn fetch_from(answer: &'static str, waits: bool) -> Result<String, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut chunk = [0; 100];
                let read = peer.read(&mut chunk).expect("a request");
                assert_ne!(read, 0, "the client has gone");
                request.extend_from_slice(&chunk[..read]);
            }
            peer.write_all(answer.as_bytes()).expect("the client reads");
            if waits {
                // Ends when the client gives up, with or without a reset.
                let _ = peer.read(&mut [0]);
            }
            String::from_utf8(request).expect("ASCII")
        });
        let limits = FetchLimits { timeout: Duration::from_millis(500), size: 10 };
        let result = fetch(&format!("http://127.0.0.1:{port}/a.conf?b=c"), limits);
        let request = server.join().expect("no assertion failed");
        let expected = format!("GET /a.conf?b=c HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n");
        assert!(request.starts_with(&expected), "{request}");
        result
    }

    #[test]
    fn reads_content_however_it_is_framed() {
        let answers = [
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nstage { } ",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nstage \r\n4;x\r\n{ } \r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nstage { } ",
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nstage { } ",
        ];
        for answer in answers {
            let content = fetch_from(answer, false).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(content, "stage { } ");
        }
    }

    #[test]
    fn refuses_what_it_should() {
        let cases = [
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                "the server answered 404 Not Found",
            ),
            (
                "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
                "the server answered 302 Found; redirects are not followed",
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", "the server answered 204 No Content"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n", "it is larger than 10 bytes"),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n",
                "it is larger than 10 bytes",
            ),
            ("HTTP/1.0 200 OK\r\n\r\n01234567890", "it is larger than 10 bytes"),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nstage",
                "the server closed the connection too early",
            ),
            ("HTTP/1.1 200 OK\r\n", "the server closed the connection too early"),
        ];
        for (answer, expected) in cases {
            let error = fetch_from(answer, false).expect_err(answer);
            assert_eq!(error.to_string(), expected, "{answer}");
        }
        let garbage = fetch_from("SSH-2.0-OpenSSH_9.6\r\n\r\n", false).expect_err("no HTTP");
        assert!(matches!(garbage, FetchError::Head(_)), "{garbage}");
    }

    #[test]
    fn gives_up_at_the_deadline() {
        for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nstage"] {
            let error = fetch_from(answer, true).expect_err("the server waits");
            assert_eq!(error.to_string(), "it took longer than 0.5 seconds");
        }
    }

    #[test]
    fn refuses_other_urls() {
        let cases = [
            ("https://x.test/", "https is not supported yet"),
            ("ftp://x.test/", "not a URL like"),
            ("http:///a", "not a URL like"),
            ("http://me@x.test/", "not a URL like"),
            ("x.conf", "not a URL like"),
            ("", "not a URL like"),
        ];
        for (url, expected) in cases {
            let error = fetch(url, FetchLimits::default()).expect_err(url);
            assert!(error.to_string().starts_with(expected), "{url}: {error}");
        }
        assert_eq!(
            split("http://[::1]:80/").map(|(_, host, port)| (host, port)).ok(),
            Some(("::1".to_owned(), 80))
        );
    }
}
