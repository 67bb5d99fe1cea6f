use bytes::BytesMut;
use http::HeaderMap;

use super::*;

type Outcome = Result<(Vec<u8>, Option<HeaderMap>, Vec<u8>), BodyError>;

/// Decodes `input` in pieces of `size`; gives content, trailers and the bytes after the end.
fn decode(input: &[u8], size: usize) -> Outcome {
    let mut chunks = ChunkDecoder::default();
    let (mut buf, mut content) = (BytesMut::new(), Vec::new());
    let mut pieces = input.chunks(size);
    loop {
        match chunks.decode(&mut buf)? {
            Decoded::Data(data) => {
                assert!(!data.is_empty());
                content.extend_from_slice(&data);
            }
            Decoded::NeedMore => match pieces.next() {
                Some(piece) => buf.extend_from_slice(piece),
                None => return Err(BodyError::Incomplete),
            },
            Decoded::End(trailers) => {
                assert_eq!(chunks.decode(&mut buf), Ok(Decoded::End(None)));
                pieces.for_each(|piece| buf.extend_from_slice(piece));
                return Ok((content, trailers, buf.to_vec()));
            }
        }
    }
}

fn decode_all_ways(input: &[u8]) -> Outcome {
    let whole = decode(input, input.len().max(1));
    for size in 1..input.len().min(40) {
        let pieces = decode(input, size);
        assert_eq!(pieces, whole, "{:?} by {size}", String::from_utf8_lossy(input));
    }
    whole
}

#[test]
fn accepted() {
    for (input, content) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", "hello"),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("a\r\n0123456789\r\n000\r\n\r\n", "0123456789"),
        ("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello"),
        ("5 ; a = b\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5\t;\ta\t;b=\"\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5;a=\"x\\\"y\";b=c ;d\r\nhello\r\n0\r\n\r\n", "hello"),
    ] {
        let input = format!("{input}GET");
        let (found, trailers, rest) = decode_all_ways(input.as_bytes()).expect(&input);
        assert_eq!(found, content.as_bytes(), "{input:?}");
        assert_eq!(trailers, None, "{input:?}");
        assert_eq!(rest, b"GET", "{input:?}");
    }
}

#[test]
fn refused() {
    use BodyError::*;
    for (input, error) in [
        // Sizes.
        ("\r\n\r\n", ChunkSize),
        ("\n", ChunkSize),
        (" 5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("+5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("-5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("0x5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("5g\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("5_0\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("5.0\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("5\0\r\nhello\r\n0\r\n\r\n", ChunkSize),
        (";a\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("00000000000000005\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("10000000000000000\r\n", ChunkSize),
        ("FFFFFFFFFFFFFFFFF\r\n", ChunkSize),
        // Line ends.
        ("5\nhello\r\n0\r\n\r\n", ChunkEnd),
        ("5\rhello\r\n0\r\n\r\n", ChunkEnd),
        ("5\r\r\nhello\r\n0\r\n\r\n", ChunkEnd),
        ("5\r\nhello\n0\r\n\r\n", ChunkEnd),
        ("5\r\nhello0\r\n\r\n", ChunkEnd),
        ("5\r\nhello!\r\n0\r\n\r\n", ChunkEnd),
        ("5\r\nhello\r0\r\n\r\n", ChunkEnd),
        ("5\r\nhello\r\r\n0\r\n\r\n", ChunkEnd),
        ("0\n\n", ChunkEnd),
        ("5\r\nhello\r\n\r\n0\r\n\r\n", ChunkSize),
        // Extensions.
        ("5 \r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5\t\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5 5\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", ChunkEnd),
        ("5;a \r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a=\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;=a\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;;a\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a=b c\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a=b=c\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a=\"b\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a=\"b\\\nc\"\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a\0b\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;\u{e9}\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        // Trailers.
        ("0\r\n\n", Trailers),
        ("0\r\nA: b\n\r\n", Trailers),
        ("0\r\nA: b\r\n\n", Trailers),
        ("0\r\nA\r\n\r\n", Trailers),
        ("0\r\nA : b\r\n\r\n", Trailers),
        ("0\r\n A: b\r\n\r\n", Trailers),
        ("0\r\nA: b\r\n c\r\n\r\n", Trailers),
        ("0\r\nA: \0\r\n\r\n", Trailers),
        ("0\r\nA: b\rc\r\n\r\n", Trailers),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", Trailers),
        ("0\r\nContent-Length: 5\r\n\r\n", ForbiddenTrailer),
        ("0\r\ntransfer-encoding: chunked\r\n\r\n", ForbiddenTrailer),
        ("0\r\nTransfer_Encoding: chunked\r\n\r\n", ForbiddenTrailer),
        ("0\r\nHost: a\r\n\r\n", ForbiddenTrailer),
        // The end of the connection.
        ("", Incomplete),
        ("5", Incomplete),
        ("5\r\nhel", Incomplete),
        ("5\r\nhello\r\n", Incomplete),
        ("0\r\n", Incomplete),
        ("0\r\nA: b\r\n", Incomplete),
        ("FFFFFFFFFFFFFFFF\r\nhello", Incomplete),
    ] {
        assert_eq!(decode_all_ways(input.as_bytes()), Err(error), "{input:?}");
    }
}

#[test]
fn trailers() {
    for (section, expected) in [
        ("A: b\r\n", vec![("a", "b")]),
        ("A: b\r\nA: c\r\nD:\r\n", vec![("a", "b"), ("a", "c"), ("d", "")]),
        ("Cookie: x\r\nAuthorization: y\r\nA: b\r\n", vec![("a", "b")]),
        (
            "X-Forwarded-For: x\r\nIf-Match: *\r\nProxy-Authorization: y\r\nA: b\r\n",
            vec![("a", "b")],
        ),
        ("Connection: close\r\nContent-Type: x\r\n", vec![]),
        ("Digest: x\r\nContent-Digest: y\r\n", vec![("digest", "x"), ("content-digest", "y")]),
    ] {
        let input = format!("0\r\n{section}\r\nGET");
        let (_, trailers, rest) = decode_all_ways(input.as_bytes()).expect(section);
        let trailers = trailers.unwrap_or_default();
        let found: Vec<_> = trailers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
            .collect();
        assert_eq!(found, expected, "{section}");
        assert_eq!(rest, b"GET", "{section}");
    }
}

#[test]
fn limits() {
    let extension = |len: usize| format!("1;{}\r\nx\r\n", "a".repeat(len - 1));
    let end = "0\r\n\r\n";
    let total = |line: &str, count: usize| {
        decode(format!("{}{end}", line.repeat(count)).as_bytes(), 4096).map(|(data, ..)| data.len())
    };
    assert_eq!(total(&extension(256), 1), Ok(1));
    assert_eq!(total(&extension(257), 1), Err(BodyError::ExtensionsTooLarge));
    assert_eq!(total(&extension(256), 64), Ok(64));
    assert_eq!(total(&extension(256), 65), Err(BodyError::ExtensionsTooLarge));

    let trailers = |field: &str, count: usize| {
        decode(format!("0\r\n{}\r\n", field.repeat(count)).as_bytes(), 4096).map(|_| ())
    };
    assert_eq!(trailers("A: b\r\n", 128), Ok(()));
    assert_eq!(trailers("A: b\r\n", 129), Err(BodyError::TrailersTooLarge));
    let field = format!("A: {}\r\n", "b".repeat(8192 - 7));
    assert_eq!(trailers(&field, 1), Ok(()));
    assert_eq!(trailers(&field.replacen('b', "bb", 1), 1), Err(BodyError::TrailersTooLarge));

    // Without an end: refused when the room is used up, not waited for.
    let endless = format!("0\r\nA: {}", "b".repeat(9000));
    assert_eq!(decode(endless.as_bytes(), 64).err(), Some(BodyError::TrailersTooLarge));
}
