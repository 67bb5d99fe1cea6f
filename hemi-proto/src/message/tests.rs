use http::StatusCode;

use super::*;
use crate::http1::TargetForm;

type Lines<'a> = &'a [(&'a str, &'a str)];

const GET: Lines<'static> =
    &[(":method", "GET"), (":scheme", "https"), (":authority", "a.b"), (":path", "/c?d")];

fn read_as(lines: Lines<'_>, content: Content) -> Result<RequestHead, MessageError> {
    let (mut reader, mut head) = (RequestReader::default(), RequestHead::default());
    let limits = HeadLimits { head_size: 2048, fields: 8, target_size: 64 };
    for (name, value) in lines {
        let value = Bytes::copy_from_slice(value.as_bytes());
        reader.line(&FieldName::parse(name.as_bytes()), value, &limits);
    }
    reader.finish(&mut head, &limits, Version::HTTP_2, content).map(|()| head)
}

fn read(lines: Lines<'_>) -> Result<RequestHead, MessageError> {
    read_as(lines, Content::None)
}

fn get_with(lines: Lines<'_>) -> Result<RequestHead, MessageError> {
    read(&[GET, lines].concat())
}

#[test]
fn a_request() {
    let head = get_with(&[("accept", "*/*"), ("x", ""), ("te", "trailers")]).unwrap();
    assert_eq!((&head.method, head.version), (&Method::GET, Version::HTTP_2));
    assert_eq!((head.target.path(), head.target.query()), ("/c", Some("d")));
    assert_eq!(head.authority.unwrap().as_str(), "a.b");
    assert_eq!(head.headers["host"], "a.b");
    assert_eq!(head.headers["accept"], "*/*");
    assert_eq!(head.framing, BodyLength::None);
    assert!(head.keep_alive && !head.upgrade && !head.expect_continue);
}

#[test]
fn what_the_next_request_does_not_inherit() {
    let (mut head, limits) = (RequestHead::default(), HeadLimits::default());
    for (lines, content) in [
        (&[("a", "1"), ("expect", "100-continue")][..], Content::Follows),
        (&[("b", "2")], Content::None),
    ] {
        let mut reader = RequestReader::default();
        for (name, value) in [GET, lines].concat() {
            let value = Bytes::copy_from_slice(value.as_bytes());
            reader.line(&FieldName::parse(name.as_bytes()), value, &limits);
        }
        assert_eq!(
            reader.size(),
            4 * 32 + lines.len() * 32 + if lines.len() == 2 { 64 } else { 46 }
        );
        reader.finish(&mut head, &limits, Version::HTTP_2, content).unwrap();
    }
    assert!(!head.headers.contains_key("a") && !head.headers.contains_key("expect"));
    assert!(!head.expect_continue);
}

#[test]
fn forms_of_hosts_and_targets() {
    let no_authority = &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "h:1")];
    assert_eq!(read(no_authority).unwrap().authority.unwrap().as_str(), "h:1");
    assert_eq!(get_with(&[("host", "A.B")]).unwrap().headers["host"], "a.b");
    let options =
        &[(":method", "OPTIONS"), (":scheme", "http"), (":authority", "a"), (":path", "*")];
    assert_eq!(read(options).unwrap().target.form(), TargetForm::Asterisk);
}

#[test]
fn crumbs_of_cookies_are_joined() {
    let head = get_with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3")]).unwrap();
    assert_eq!(head.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

#[test]
fn content() {
    let sized = &[GET, &[("content-length", "5"), ("expect", "100-Continue")]].concat();
    let head = read_as(sized, Content::Follows).unwrap();
    assert_eq!((head.framing, head.expect_continue), (BodyLength::Sized(5), true));
    assert_eq!(read_as(GET, Content::Follows).unwrap().framing, BodyLength::Chunked);
    assert_eq!(get_with(&[("content-length", "0")]).unwrap().framing, BodyLength::Sized(0));
}

#[test]
fn connect() {
    let head = read(&[(":method", "CONNECT"), (":authority", "a:443")]).unwrap();
    assert_eq!((&head.method, head.target.form()), (&Method::CONNECT, TargetForm::Authority));
    let extended = &[&[(":method", "CONNECT"), (":protocol", "websocket")], &GET[1..]].concat();
    let head = read_as(extended, Content::Follows).unwrap();
    assert_eq!((&head.method, head.target.path()), (&Method::GET, "/c"));
    assert!(head.upgrade && head.framing.is_empty());
    assert_eq!(head.headers["upgrade"], "websocket");
}

#[test]
fn malformed() {
    use Malformed::*;
    for (line, fault) in [
        (("Accept", "a"), FieldName),
        (("", "a"), FieldName),
        (("a b", "a"), FieldName),
        (("a:", "a"), FieldName),
        (("a\0", "a"), FieldName),
        (("content_length", "1"), FieldName),
        ((":x", "a"), FieldName),
        ((":status", "200"), UnknownPseudo),
        ((":path", "/"), RepeatedPseudo),
        ((":protocol", "websocket"), Protocol),
        (("a", "b\r\nc: d"), FieldValue),
        (("a", "b\nc"), FieldValue),
        (("a", "b\0"), FieldValue),
        (("a", " b"), FieldValue),
        (("a", "b\t"), FieldValue),
        (("cookie", "a\n"), FieldValue),
        (("connection", "close"), ConnectionField),
        (("keep-alive", "1"), ConnectionField),
        (("proxy-connection", "close"), ConnectionField),
        (("transfer-encoding", "chunked"), ConnectionField),
        (("upgrade", "h2c"), ConnectionField),
        (("te", "gzip"), Te),
        (("te", "trailers, gzip"), Te),
        (("host", "other"), HostConflict),
        (("content-length", "x"), ContentLength),
        (("content-length", "+1"), ContentLength),
        (("content-length", "1"), ContentLength),
    ] {
        assert_eq!(get_with(&[line]).err(), Some(fault.into()), "{line:?}");
    }
    let twice = get_with(&[("content-length", "0"), ("content-length", "0")]);
    assert_eq!(twice.err(), Some(ContentLength.into()));
    assert_eq!(get_with(&[("a", "b"), (":protocol", "c")]).err(), Some(LatePseudo.into()));
    for missing in [0, 1, 3] {
        let mut lines = GET.to_vec();
        lines.remove(missing);
        assert_eq!(read(&lines).err(), Some(MissingPseudo.into()), "{missing}");
    }
    for (at, value, fault) in
        [(3, "", Path), (3, "a", Path), (3, "http://a.b/", Path), (0, "G T", Method)]
    {
        let mut lines = GET.to_vec();
        lines[at].1 = value;
        assert_eq!(read(&lines).err(), Some(fault.into()), "{value}");
    }
    let connect = &[&[(":method", "CONNECT")], &GET[1..]].concat();
    assert_eq!(read(connect).err(), Some(Connect.into()));
}

#[test]
fn refused_with_a_status() {
    let long = "x".repeat(3000);
    let status = |read: Result<RequestHead, MessageError>| match read {
        Err(MessageError::Refused(e)) => e.status(),
        other => panic!("{other:?}"),
    };
    let too_large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    assert_eq!(status(get_with(&[("a", &long)])), too_large);
    assert_eq!(status(get_with(&[("a", "b"); 9])), too_large);
    assert_eq!(status(get_with(&[("cookie", "b"); 9])), too_large);
    assert_eq!(status(get_with(&[("a", &long), ("Bad", "")])), too_large);
    assert_eq!(status(get_with(&[("expect", "a miracle")])), StatusCode::EXPECTATION_FAILED);
    assert_eq!(status(get_with(&[("host", "a.b"), ("host", "a.b")])), StatusCode::BAD_REQUEST);
    for (at, value, expected) in [
        (2, "user@a.b", StatusCode::BAD_REQUEST),
        (2, "", StatusCode::BAD_REQUEST),
        (3, "/a b", StatusCode::BAD_REQUEST),
        (3, "/#", StatusCode::BAD_REQUEST),
        (3, "*", StatusCode::BAD_REQUEST),
        (1, "ftp", StatusCode::BAD_REQUEST),
        (3, &["/", &long[..64]].concat(), StatusCode::URI_TOO_LONG),
        (0, &long[..65], StatusCode::NOT_IMPLEMENTED),
    ] {
        let mut lines = GET.to_vec();
        lines[at].1 = value;
        assert_eq!(status(read(&lines)), expected, "{value}");
    }
    let nowhere = &[(":method", "GET"), (":scheme", "http"), (":path", "/")];
    assert_eq!(status(read(nowhere)), StatusCode::BAD_REQUEST);
}

#[test]
fn trailers() {
    let read = |lines: Lines<'_>| {
        let mut reader = TrailerReader::default();
        for (name, value) in lines {
            reader
                .line(&FieldName::parse(name.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
        }
        reader.finish()
    };
    let fields = read(&[("grpc-status", "0"), ("authorization", "x"), ("if-match", "y")]).unwrap();
    assert_eq!(fields.len(), 1);
    assert_eq!(fields["grpc-status"], "0");
    for (line, fault) in [
        ((":path", "/"), Malformed::UnknownPseudo),
        (("A", ""), Malformed::FieldName),
        (("a", "\n"), Malformed::FieldValue),
        (("content-length", "1"), Malformed::ForbiddenTrailer),
        (("content_length", "1"), Malformed::FieldName),
        (("connection", "close"), Malformed::ConnectionField),
    ] {
        assert_eq!(read(&[line]), Err(fault), "{line:?}");
    }
    assert_eq!(read(&[("a", "b"); 129]), Err(Malformed::TrailersTooLarge));
}

#[test]
fn nothing_is_left_of_a_request_that_is_refused() {
    let limits = HeadLimits { head_size: 100, fields: 8, target_size: 64 };
    let (mut reader, mut head) = (RequestReader::default(), RequestHead::default());
    for value in ["small", &"large".repeat(20)] {
        let value = Bytes::copy_from_slice(value.as_bytes());
        reader.line(&FieldName::parse(b"x"), value, &limits);
    }
    assert!(reader.finish(&mut head, &limits, Version::HTTP_2, Content::None).is_err());
    assert!(reader.into_buffer().is_empty());
}
