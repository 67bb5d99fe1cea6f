use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{DATE, HeaderName, HeaderValue, SERVER};

use super::*;
use crate::message::FieldName;

type Lines = Vec<(String, String)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Lines, HpackError> {
    let mut lines = Lines::new();
    decoder.decode(block, &mut BytesMut::new(), |name, value| {
        let name = match name {
            FieldName::Pseudo(pseudo) => pseudo.as_str().to_owned(),
            FieldName::Field(name) => name.as_str().to_owned(),
            FieldName::Invalid { len } => format!("invalid {len}"),
        };
        lines.push((name, String::from_utf8_lossy(&value).into_owned()));
    })?;
    Ok(lines)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    let digit = |b: u8| (b as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn lines(lines: &[(&str, &str)]) -> Lines {
    lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// RFC 7541 appendices C.3 and C.4: the same requests, without and with Huffman code.
#[test]
fn requests_of_the_rfc() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    let first = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let third = [(":method", "GET"), (":scheme", "https"), (":path", "/index.html")];
    let host = (":authority", "www.example.com");
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        let [one, two, three] = blocks.map(hex);
        assert_eq!(decode(&mut decoder, &one), Ok(lines(&[&first[..], &[host]].concat())));
        let expected = [&first[..], &[host, ("cache-control", "no-cache")]].concat();
        assert_eq!(decode(&mut decoder, &two), Ok(lines(&expected)));
        let expected = [&third[..], &[host, ("custom-key", "custom-value")]].concat();
        assert_eq!(decode(&mut decoder, &three), Ok(lines(&expected)));
    }
}

/// RFC 7541 appendix C.6: answers, with a table of 256 bytes, so that entries are pushed out.
#[test]
fn answers_of_the_rfc() {
    let mut decoder = Decoder::new(256);
    let one = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad \
               1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let others = [("cache-control", "private"), date, ("location", "https://www.example.com")];
    let expected = [&[(":status", "302")], &others[..]].concat();
    assert_eq!(decode(&mut decoder, &hex(one)), Ok(lines(&expected)));
    let expected = [&[(":status", "307")], &others[..]].concat();
    assert_eq!(decode(&mut decoder, &hex("4883 640e ffc1 c0bf")), Ok(lines(&expected)));
    // The first status has been pushed out by the second.
    assert_eq!(decode(&mut decoder, &hex("c1")), Ok(lines(&[("cache-control", "private")])));
    assert_eq!(decode(&mut decoder, &hex("c2")), Err(HpackError));
}

#[test]
fn malformed() {
    for block in [
        "80",                   // the index 0
        "be",                   // beyond the table
        "ff ffff ffff ffff 7f", // far beyond
        "ff",                   // no end of an integer
        "00 03 6162",           // no end of a string
        "00",                   // no name
        "40 01 61",             // no value
        "82 20",                // a new size after a line
        "3f e2 1f",             // a size over the limit
        "20 20 20",             // three sizes
        "00 81 ff 00",          // padding of a byte
        "7f 00 01 61",          // the name of an entry that is not there
    ] {
        assert_eq!(decode(&mut Decoder::default(), &hex(block)), Err(HpackError), "{block}");
    }
}

#[test]
fn sizes_change() {
    let mut decoder = Decoder::default();
    let inserted = lines(&[("a", "b")]);
    assert_eq!(decode(&mut decoder, &hex("40 01 61 01 62")), Ok(inserted.clone()));
    assert_eq!(decode(&mut decoder, &hex("be")), Ok(inserted));
    assert_eq!(decode(&mut decoder, &hex("20 3f e1 1f")), Ok(lines(&[])));
    assert_eq!(decode(&mut decoder, &hex("be")), Err(HpackError));
    // Too large for the table: all are pushed out.
    let mut decoder = Decoder::new(34);
    assert_eq!(decode(&mut decoder, &hex("40 01 61 01 62 be")).map(|lines| lines.len()), Ok(2));
    assert!(decode(&mut decoder, &hex("40 01 61 02 6262")).is_ok());
    assert_eq!(decode(&mut decoder, &hex("be")), Err(HpackError));
}

#[test]
fn names_that_are_invalid_keep_their_place() {
    let mut decoder = Decoder::default();
    let expected = lines(&[("invalid 2", "x"), ("invalid 2", "x")]);
    assert_eq!(decode(&mut decoder, &hex("40 02 4142 01 78 be")), Ok(expected));
}

#[test]
fn fields_are_read_back() {
    let (mut decoder, mut encoder) = (Decoder::default(), Encoder::default());
    let date = b"Thu, 26 Nov 2026 20:13:08 GMT";
    let standing = Standing::new(7, [(SERVER, &b"hemi"[..]), (DATE, &date[..])]);
    let other = Standing::new(8, [(SERVER, &b"hemi"[..]), (DATE, &b"later"[..])]);
    for (standing, date, size) in [
        (&standing, "Thu, 26 Nov 2026 20:13:08 GMT", None),
        (&standing, "Thu, 26 Nov 2026 20:13:08 GMT", None),
        (&other, "later", None),
        (&other, "later", Some(50)),
        (&standing, "Thu, 26 Nov 2026 20:13:08 GMT", Some(0)),
        (&standing, "Thu, 26 Nov 2026 20:13:08 GMT", Some(4096)),
        (&standing, "Thu, 26 Nov 2026 20:13:08 GMT", None),
    ] {
        if let Some(size) = size {
            encoder.resize(size);
        }
        let mut out = BytesMut::new();
        encoder.begin(&mut out);
        encode_status(&mut out, StatusCode::OK);
        encoder.standing(standing, &mut out);
        encode_content_length(&mut out, 12345);
        let name = HeaderName::from_static("x-a");
        encode_field(&mut out, &name, &HeaderValue::from_static("?"));
        let read = decode(&mut decoder, &out).unwrap();
        let mut fields = read.clone();
        fields.sort();
        let expected = [
            (":status", "200"),
            ("content-length", "12345"),
            ("date", date),
            ("server", "hemi"),
            ("x-a", "?"),
        ];
        assert_eq!(fields, lines(&expected));
    }
    for code in 100..=599 {
        let mut out = BytesMut::new();
        encode_status(&mut out, StatusCode::from_u16(code).unwrap());
        let expected = lines(&[(":status", &code.to_string())]);
        assert_eq!(decode(&mut decoder, &out), Ok(expected));
    }
}

#[test]
fn values_share_memory_that_entries_do_not() {
    let (mut decoder, mut strings) = (Decoder::default(), BytesMut::new());
    let mut values: Vec<Bytes> = Vec::new();
    let block = hex("40 01 61 01 62 be 00 01 63 01 64");
    decoder.decode(&block, &mut strings, |_, value| values.push(value)).unwrap();
    assert_eq!(values, ["b", "b", "d"]);
    assert_ne!(values[0].as_ptr(), values[1].as_ptr());
}
