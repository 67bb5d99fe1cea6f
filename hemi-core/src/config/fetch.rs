//! Fetches a config by URL, before there is a stage.

use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT};
use thiserror::Error;

use super::url::BadUrl;
use crate::client::{Client, ClientError, ClientLimits};
use crate::cores::wait_aside;

/// What a fetch may cost.
pub(super) const LIMITS: ClientLimits = ClientLimits {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(5),
    content: 1 << 20,
    kept: 0,
};

#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Url(#[from] BadUrl),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the server answered {status}{hint}", status = .0, hint = redirect_hint(.0))]
    Status(StatusCode),
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error(transparent)]
    Other(#[from] crate::Error),
}

fn redirect_hint(status: &StatusCode) -> &'static str {
    if status.is_redirection() { "; redirects are not followed" } else { "" }
}

/// The content at an `http://` URL.
pub(super) fn fetch(url: &str, limits: ClientLimits) -> Result<String, FetchError> {
    let client = Client::alone(url.parse()?, limits);
    let mut fields = HeaderMap::new();
    fields.insert(USER_AGENT, HeaderValue::from_static("hemi"));
    fields.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let answer = wait_aside(client.get(fields))??;
    if answer.status != StatusCode::OK {
        return Err(FetchError::Status(answer.status));
    }
    String::from_utf8(answer.content.into()).map_err(|_| FetchError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

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
        let limits = ClientLimits { total: Duration::from_millis(500), content: 10, ..LIMITS };
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
        assert!(matches!(garbage, FetchError::Client(ClientError::Head(_))), "{garbage}");
    }

    #[test]
    fn gives_up_at_the_deadline() {
        for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nstage"] {
            let error = fetch_from(answer, true).expect_err("the server waits");
            assert_eq!(error.to_string(), "it took longer than 0.5 seconds");
        }
    }
}
