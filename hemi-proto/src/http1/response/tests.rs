use bytes::BytesMut;

use super::super::HeadReader;
use super::*;

fn read(method: &str, input: &[u8]) -> Result<Option<ResponseHead>, HeadError> {
    let method = Method::from_bytes(method.as_bytes()).expect("method");
    let mut buf = BytesMut::from(input);
    HeadReader::default().read_response(&method, &mut buf, &HeadLimits::default())
}

#[test]
fn framing_and_persistence() {
    use BodyLength::{Chunked, None, Sized, UntilClose};
    for (method, head, framing, keep_alive) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3", Sized(3), true),
        ("GET", "HTTP/1.1 200 \r\nTransfer-Encoding: chunked", Chunked, true),
        ("GET", "HTTP/1.1 200\r\nContent-Length: 0", Sized(0), true),
        ("GET", "HTTP/1.1 200 OK", UntilClose, false),
        ("GET", "HTTP/1.1 599 x\r\nContent-Length: 1\r\nConnection: close", Sized(1), false),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 1", Sized(1), false),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive", Sized(1), true),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3", None, true),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", None, true),
        ("HEAD", "HTTP/1.1 200 OK", None, true),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3", None, true),
        ("GET", "HTTP/1.1 204 No Content", None, true),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0", None, true),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 3", None, false),
        ("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked", None, false),
        ("GET", "HTTP/1.1 100 Continue", None, true),
        ("GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>", None, true),
        ("CONNECT", "HTTP/1.1 200 OK\r\nContent-Length: 3", None, true),
        ("CONNECT", "HTTP/1.1 403 No\r\nContent-Length: 3", Sized(3), true),
    ] {
        let head_bytes = format!("{head}\r\n\r\n");
        let response = read(method, head_bytes.as_bytes()).expect(head).expect(head);
        assert_eq!(response.framing, framing, "{method} {head}");
        assert_eq!(response.keep_alive, keep_alive, "{method} {head}");
    }
}

#[test]
fn parts() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let head = read("GET", switching.as_bytes()).expect("head").expect("complete");
    assert_eq!(head.status, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(head.reason, "Switching Protocols");
    assert!(head.upgrade);
    assert_eq!(head.headers.len(), 2);

    let ok = "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    assert!(!read("GET", ok.as_bytes()).expect("head").expect("complete").upgrade);
    let latin1 = read("GET", b"HTTP/1.1 999 \xe9\r\n\r\n").expect("head").expect("complete");
    assert_eq!(latin1.status.as_u16(), 999);
    assert_eq!(latin1.reason, "");
}

#[test]
fn faults() {
    use HeadError::*;
    for (head, error) in [
        ("HTTP/1.1 99 x\r\n\r\n", StatusLine),
        ("HTTP/1.1 099 x\r\n\r\n", StatusLine),
        ("HTTP/1.1 000 x\r\n\r\n", StatusLine),
        ("HTTP/1.1 2000 x\r\n\r\n", StatusLine),
        ("HTTP/1.1 +20 x\r\n\r\n", StatusLine),
        ("HTTP/1.1  200 x\r\n\r\n", StatusLine),
        ("HTTP/1.1 200OK\r\n\r\n", StatusLine),
        ("HTTP/1.1\r\n\r\n", StatusLine),
        ("HTTP/2.0 200 OK\r\n\r\n", UnsupportedVersion),
        ("HTTP/2 200 OK\r\n\r\n", MalformedVersion),
        ("http/1.1 200 OK\r\n\r\n", MalformedVersion),
        ("ICY 200 OK\r\n\r\n", MalformedVersion),
        ("<html>hello</html>\r\n", MalformedVersion),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", EmptyLines),
        ("HTTP/1.1 200 OK\nA: b\n\n", BareLf),
        ("HTTP/1.1 200 O\rK\r\n\r\n", BareCr),
        ("HTTP/1.1 200 O\0K\r\n\r\n", ControlByte),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", SpaceBeforeColon),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", FoldedLine),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n", ContentLength),
        ("HTTP/1.1 204 x\r\nContent-Length: x\r\n\r\n", ContentLength),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            AmbiguousLength,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", TransferEncoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", UnsupportedCoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncodingInHttp10),
    ] {
        assert_eq!(read("GET", head.as_bytes()).err(), Some(error), "{head:?}");
    }
}

#[test]
fn a_long_reason_may_arrive_in_pieces() {
    let reason = "x".repeat(16 * 1024);
    let mut buf = BytesMut::from(format!("HTTP/1.1 200 {reason}").as_str());
    let mut reader = HeadReader::default();
    let limits = HeadLimits::default();
    let mut read = |buf: &mut BytesMut| {
        reader.read_response(&Method::GET, buf, &limits).map(|head| head.is_some())
    };
    assert_eq!(read(&mut buf), Ok(false));
    buf.extend_from_slice(b"\r\n\r\n");
    assert_eq!(read(&mut buf), Ok(true));
}
