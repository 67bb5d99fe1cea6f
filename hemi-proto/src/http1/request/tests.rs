use bytes::BytesMut;

use super::super::HeadReader;
use super::*;

/// The next head in `buf`, if it is complete.
fn next(
    reader: &mut HeadReader,
    buf: &mut BytesMut,
    limits: &HeadLimits,
) -> Result<Option<RequestHead>, HeadError> {
    let mut head = RequestHead::default();
    Ok(reader.read_request(buf, &mut head, limits)?.then_some(head))
}

fn read_whole(input: &[u8]) -> Result<Option<(RequestHead, BytesMut)>, HeadError> {
    let mut buf = BytesMut::from(input);
    let head = next(&mut HeadReader::default(), &mut buf, &HeadLimits::default())?;
    Ok(head.map(|head| (head, buf)))
}

/// Feeds the input byte by byte. A fault may show before the last byte, never a head.
fn read_bytewise(input: &[u8]) -> Result<Option<(RequestHead, BytesMut)>, HeadError> {
    let mut buf = BytesMut::new();
    let mut reader = HeadReader::default();
    for (at, b) in input.iter().enumerate() {
        buf.extend_from_slice(&[*b]);
        let head = next(&mut reader, &mut buf, &HeadLimits::default())?;
        if let Some(head) = head {
            assert!(buf.is_empty());
            buf.extend_from_slice(&input[at + 1..]);
            return Ok(Some((head, buf)));
        }
    }
    Ok(None)
}

fn head(input: &str) -> RequestHead {
    let whole = read_whole(input.as_bytes());
    let bytewise = read_bytewise(input.as_bytes());
    assert_eq!(format!("{whole:?}"), format!("{bytewise:?}"), "{input:?}");
    match whole {
        Ok(Some((head, _))) => head,
        other => panic!("{input:?}: {other:?}"),
    }
}

/// The fault of a whole head; byte by byte it has to be refused with the same status.
fn fault(input: &[u8]) -> HeadError {
    let show = String::from_utf8_lossy(input);
    let whole = read_whole(input).expect_err(&show);
    let bytewise = read_bytewise(input).expect_err(&show);
    assert_eq!(whole.status(), bytewise.status(), "{show:?}: {whole} / {bytewise}");
    whole
}

#[test]
fn each_head_has_its_own_authority() {
    let long = format!("{}:80", "a".repeat(300));
    let (mut reader, mut head) = (HeadReader::default(), RequestHead::default());
    for (host, authority) in [
        ("Host: a.test:80\r\n", Some("a.test:80")),
        ("Host: a.test:80\r\n", Some("a.test:80")),
        ("Host: A.test:80\r\n", Some("a.test:80")),
        ("Host: a.test\r\n", Some("a.test")),
        ("Host: a.test:\r\n", Some("a.test")),
        ("Host:\r\n", Some("")),
        ("", None),
        (&format!("Host: {long}\r\n"), Some(&long)),
        ("Host: b\r\n", Some("b")),
    ] {
        let mut buf = BytesMut::from(format!("GET / HTTP/1.0\r\n{host}\r\n").as_bytes());
        let read = reader.read_request(&mut buf, &mut head, &HeadLimits::default());
        assert_eq!(read, Ok(true), "{host}");
        assert_eq!(head.authority.as_ref().map(Authority::as_str), authority, "{host}");
        head.clear();
        assert!(head.authority.as_ref().is_none_or(|known| known.as_str() != long));
    }
}

#[test]
fn parts_of_a_head() {
    let head = head(
        "POST /a?b HTTP/1.1\r\nHost: X.y:1\r\nA:1\r\na: \t2 \t\r\nB:\r\n\
                     Content-Length: 3\r\n\r\nabc",
    );
    assert_eq!(head.method, Method::POST);
    assert_eq!(head.target.path_and_query(), "/a?b");
    assert_eq!(head.version, Version::HTTP_11);
    let authority = head.authority.expect("authority");
    assert_eq!((authority.hostname(), authority.colonport()), ("x.y", ":1"));
    assert_eq!(head.framing, BodyLength::Sized(3));
    assert!(head.keep_alive && !head.expect_continue && !head.upgrade);
    let fields: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
        .collect();
    let expected = [("host", "X.y:1"), ("a", "1"), ("a", "2"), ("b", ""), ("content-length", "3")];
    assert_eq!(fields, expected);
}

#[test]
fn connection_and_expectation() {
    for (version, fields, keep_alive, expect_continue, upgrade) in [
        ("1.1", "", true, false, false),
        ("1.1", "Connection: close\r\n", false, false, false),
        ("1.1", "Connection: x, CLOSE\r\n", false, false, false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false, false, false),
        ("1.1", "Connection: closed\r\n", true, false, false),
        ("1.1", "Connection:\r\n", true, false, false),
        ("1.0", "", false, false, false),
        ("1.0", "Connection: Keep-Alive\r\n", true, false, false),
        ("1.0", "Connection: keep-alive, close\r\n", false, false, false),
        ("1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n", true, true, false),
        ("1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", true, true, false),
        ("1.1", "Expect: 100-continue\r\n", true, false, false),
        ("1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", true, false, false),
        ("1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n", false, false, false),
        ("1.0", "Expect: anything\r\n", false, false, false),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, false, true),
        ("1.1", "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n", true, false, true),
        ("1.1", "Upgrade: websocket\r\n", true, false, false),
        ("1.1", "Connection: upgrade\r\n", true, false, false),
        ("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false, false, false),
    ] {
        let head = head(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(head.keep_alive, keep_alive, "{version} {fields}");
        assert_eq!(head.expect_continue, expect_continue, "{version} {fields}");
        assert_eq!(head.upgrade, upgrade, "{version} {fields}");
    }
}

#[test]
fn framing() {
    use BodyLength::{Chunked, None, Sized};
    for (fields, length) in [
        ("", None),
        ("Content-Length: 0", Sized(0)),
        ("content-length: 0042", Sized(42)),
        ("Content-Length:\t7 ", Sized(7)),
        ("Content-Length: 18446744073709551615", Sized(u64::MAX)),
        ("Transfer-Encoding: chunked", Chunked),
        ("transfer-encoding:CHUNKED\t", Chunked),
        ("TE: trailers", None),
        ("X-Transfer-Encoding: chunked", None),
    ] {
        for method in ["GET", "POST", "DELETE", "FROB"] {
            let head = head(&format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
            assert_eq!(head.framing, length, "{method} {fields}");
        }
    }
}

#[test]
fn authorities() {
    for (request, authority, host) in [
        ("GET / HTTP/1.1\r\nHost: A:80", Some("a:80"), Some("A:80")),
        ("GET / HTTP/1.1\r\nHost:", Some(""), Some("")),
        ("GET / HTTP/1.0", None, None),
        ("GET / HTTP/1.0\r\nHost: a", Some("a"), Some("a")),
        ("GET http://B/ HTTP/1.1\r\nHost: a", Some("b"), Some("b")),
        ("GET http://b:8/ HTTP/1.1\r\nHost:", Some("b:8"), Some("b:8")),
        ("GET http://b/ HTTP/1.0", Some("b"), Some("b")),
        ("OPTIONS * HTTP/1.1\r\nHost: a", Some("a"), Some("a")),
        ("CONNECT b:443 HTTP/1.1\r\nHost: a", Some("b:443"), Some("b:443")),
    ] {
        let head = head(&format!("{request}\r\n\r\n"));
        let found = head.authority.as_ref().map(Authority::as_str);
        assert_eq!(found, authority, "{request}");
        let found = head.headers.get(HOST).map(|value| value.to_str().expect("text"));
        assert_eq!(found, host, "{request}");
    }
}

#[test]
fn empty_lines_before_the_head() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for empty_lines in 0..=2 {
        head(&format!("{}{request}", "\r\n".repeat(empty_lines)));
    }
    let input = format!("{}{request}", "\r\n".repeat(3));
    assert_eq!(fault(input.as_bytes()), HeadError::EmptyLines);
}

#[test]
fn pipelined_heads_come_one_by_one() {
    let input = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\nGE";
    let mut buf = BytesMut::from(input);
    let (mut reader, mut head) = (HeadReader::default(), RequestHead::default());
    let limits = HeadLimits::default();
    for (path, host) in [("/1", "a"), ("/2", "b")] {
        assert_eq!(reader.read_request(&mut buf, &mut head, &limits), Ok(true));
        assert_eq!(head.target.path(), path);
        assert_eq!(head.headers.len(), 1);
        assert_eq!(head.headers["host"], host);
        assert!(!reader.is_midway());
    }
    assert_eq!(reader.read_request(&mut buf, &mut head, &limits), Ok(false));
    assert!(reader.is_midway());
    assert_eq!(buf, "GE");
}

#[test]
fn faults() {
    use HeadError::*;
    let host = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (lines, error) in [
        // Line ends.
        ("GET / HTTP/1.1\nHost: a\n\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLf),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
        ("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\rHost: a\r\r", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rA: b\r\n\r\n", BareCr),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BareCr),
        // Control bytes.
        ("\0", ControlByte),
        ("\x16\x03\x01\x02\0\x01", ControlByte),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", ControlByte),
        ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", ControlByte),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: \x0b\r\n\r\n", ControlByte),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\x7fc\r\n\r\n", ControlByte),
        ("GET / HTTP/1.1\r\nHost: a\r\nA\x01: b\r\n\r\n", ControlByte),
        // Request line.
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /\r\nHost: a\r\n\r\n", RequestLine),
        ("GET\r\nHost: a\r\n\r\n", RequestLine),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET: / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("/ HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("HTTP/1.1 200 OK\r\n\r\n", RequestLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        // Versions.
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", UnsupportedVersion),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", UnsupportedVersion),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", UnsupportedVersion),
        ("GET / HTTP/9.9\r\nHost: a\r\n\r\n", UnsupportedVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", MalformedVersion),
        ("GET / HTTP/1\r\nHost: a\r\n\r\n", MalformedVersion),
        ("GET / HTTP/1.\r\nHost: a\r\n\r\n", MalformedVersion),
        ("GET / HTTP/1.32\r\nHost: a\r\n\r\n", MalformedVersion),
        ("GET / HTTP/11.1\r\nHost: a\r\n\r\n", MalformedVersion),
        ("GET / HTTP/1,1\r\nHost: a\r\n\r\n", MalformedVersion),
        ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", MalformedVersion),
        ("GET / FTP/1.1\r\nHost: a\r\n\r\n", MalformedVersion),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", RequestLine),
        // Targets; their own table has more.
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", MalformedTarget),
        ("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", MalformedTarget),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", MalformedTarget),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", MalformedTarget),
        ("GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", MalformedAuthority),
        // Host.
        ("GET / HTTP/1.1\r\n\r\n", MissingHost),
        ("GET http://a/ HTTP/1.1\r\n\r\n", MissingHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", DuplicateHost),
        ("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", DuplicateHost),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", MalformedAuthority),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", MalformedAuthority),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", MalformedAuthority),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", MalformedAuthority),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", MalformedAuthority),
        ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", MalformedAuthority),
        ("GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n", MalformedAuthority),
    ] {
        assert_eq!(fault(lines.as_bytes()), error, "{lines:?}");
    }
    for (fields, error) in [
        // Field lines.
        ("A : b", SpaceBeforeColon),
        ("A\t: b", SpaceBeforeColon),
        ("Transfer-Encoding : chunked", SpaceBeforeColon),
        ("A: b\r\n c", FoldedLine),
        ("A: b\r\n\tc: d", FoldedLine),
        (": b", FieldName),
        ("A", FieldName),
        ("A B: c", FieldName),
        ("A[]: c", FieldName),
        ("\u{e9}: c", FieldName),
        // Content-Length.
        ("Content-Length:", ContentLength),
        ("Content-Length: +1", ContentLength),
        ("Content-Length: -1", ContentLength),
        ("Content-Length: 1 1", ContentLength),
        ("Content-Length: 0x1", ContentLength),
        ("Content-Length: 1.0", ContentLength),
        ("Content-Length: 1e1", ContentLength),
        ("Content-Length: 1_0", ContentLength),
        ("Content-Length: \"1\"", ContentLength),
        ("Content-Length: 1,", ContentLength),
        ("Content-Length: 5, 5", ContentLength),
        ("Content-Length: 5, 6", ContentLength),
        ("Content-Length: \u{661}", ContentLength),
        ("Content-Length: 18446744073709551616", ContentLength),
        ("Content-Length: 99999999999999999999999999", ContentLength),
        ("Content-Length: 5\r\nContent-Length: 5", ContentLength),
        ("Content-Length: 5\r\ncontent-length: 6", ContentLength),
        // Transfer-Encoding.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", AmbiguousLength),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", AmbiguousLength),
        ("Transfer-Encoding: identity\r\nContent-Length: 5", AmbiguousLength),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("Transfer-Encoding:", TransferEncoding),
        ("Transfer-Encoding: identity", TransferEncoding),
        ("Transfer-Encoding: gzip", TransferEncoding),
        ("Transfer-Encoding: xchunked", TransferEncoding),
        ("Transfer-Encoding: \"chunked\"", TransferEncoding),
        ("Transfer-Encoding: chunked;a=b", TransferEncoding),
        ("Transfer-Encoding: chunked,", TransferEncoding),
        ("Transfer-Encoding: ,chunked", TransferEncoding),
        ("Transfer-Encoding: chunked, gzip", TransferEncoding),
        ("Transfer-Encoding: chunked, identity", TransferEncoding),
        ("Transfer-Encoding: chunked, chunked", TransferEncoding),
        ("Transfer-Encoding: chunk ed, chunked", TransferEncoding),
        ("Transfer-Encoding: gzip, chunked", UnsupportedCoding),
        ("Transfer-Encoding: identity, chunked", UnsupportedCoding),
        ("Transfer-Encoding: x;q=1, chunked", UnsupportedCoding),
        ("Transfer_Encoding: chunked", DisguisedFraming),
        ("content_length: 5", DisguisedFraming),
        // Expect.
        ("Expect: 200-ok", Expectation),
        ("Expect: 100-continue, x", Expectation),
        ("Expect: 100-continue\r\nExpect: x", Expectation),
    ] {
        assert_eq!(fault(format!("{host}{fields}\r\n\r\n").as_bytes()), error, "{fields:?}");
    }
    let http10 = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(fault(http10.as_bytes()), TransferEncodingInHttp10);
    let both = "POST / HTTP/1.0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(fault(both.as_bytes()), TransferEncodingInHttp10);
    let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(fault(connect.as_bytes()), ConnectContent);
}

#[test]
fn statuses() {
    for (input, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br, chunked\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417),
    ] {
        assert_eq!(fault(input.as_bytes()).status(), status, "{input}");
    }
}

#[test]
fn limits_are_exact() {
    let limits = HeadLimits { head_size: 300, fields: 3, target_size: 100 };
    let read = |input: &str| {
        let mut buf = BytesMut::from(input);
        next(&mut HeadReader::default(), &mut buf, &limits).map(|head| head.is_some())
    };
    let with_target =
        |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 1));
    assert_eq!(read(&with_target(100)), Ok(true));
    assert_eq!(read(&with_target(101)), Err(HeadError::TargetTooLong));
    assert_eq!(read(&with_target(1000)), Err(HeadError::TargetTooLong));
    let with_fields =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    assert_eq!(read(&with_fields(3)), Ok(true));
    assert_eq!(read(&with_fields(4)), Err(HeadError::TooManyFields));
    let with_size = |len: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(len - rest))
    };
    assert_eq!(read(&with_size(300)), Ok(true));
    assert_eq!(read(&with_size(301)), Err(HeadError::HeadTooLarge));
    let method = |len: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(len));
    assert_eq!(read(&method(64)), Ok(true));
    assert_eq!(read(&method(65)), Err(HeadError::MethodTooLong));
}

#[test]
fn more_fields_than_fit_on_the_stack() {
    for fields in [500, usize::MAX] {
        let limits = HeadLimits { fields, ..HeadLimits::default() };
        let mut buf = BytesMut::from("GET / HTTP/1.1\r\nHost: a\r\n");
        buf.extend_from_slice("A: b\r\n".repeat(499).as_bytes());
        buf.extend_from_slice(b"\r\n");
        let head = next(&mut HeadReader::default(), &mut buf, &limits);
        assert_eq!(head.expect("head").expect("complete").headers.len(), 500);
    }
}

#[test]
fn endless_input_is_refused() {
    for (start, unit, error) in [
        ("", "A", HeadError::MethodTooLong),
        ("GET /", "a", HeadError::TargetTooLong),
        ("GET / HTTP/1.1\r\nA: ", "b", HeadError::HeadTooLarge),
        ("GET / HTTP/1.1\r\n", "b", HeadError::HeadTooLarge),
        ("GET / HTTP/1.1\r\n", "A: b\r\n", HeadError::TooManyFields),
        ("", "\r\n", HeadError::EmptyLines),
        ("", "\n", HeadError::BareLf),
        ("", "\r", HeadError::BareCr),
        ("", "\0", HeadError::ControlByte),
        ("", " ", HeadError::RequestLine),
    ] {
        let mut buf = BytesMut::from(start);
        let mut reader = HeadReader::default();
        let limits = HeadLimits::default();
        let refused = std::iter::repeat_n(unit, 64 * 1024).find_map(|unit| {
            buf.extend_from_slice(unit.as_bytes());
            next(&mut reader, &mut buf, &limits).err()
        });
        assert_eq!(refused, Some(error), "{start:?} {unit:?}");
        assert!(buf.len() <= limits.head_size + unit.len(), "{start:?} {unit:?}");
    }
}

#[test]
fn garbage_is_refused_without_waiting_for_the_end() {
    for (input, error) in [
        ("GET /\r\n", HeadError::RequestLine),
        ("GET / HTTP/3.0\r\n", HeadError::UnsupportedVersion),
        ("hello world\r\n", HeadError::RequestLine),
        ("GET / HTTP/1.1\r\nA: \0", HeadError::ControlByte),
        ("GET / HTTP/1.1\r\nA\rB", HeadError::BareCr),
    ] {
        assert_eq!(fault(input.as_bytes()), error, "{input:?}");
    }
}
