use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::{Decoded, Decoder, Encoder, StaticEncoder, static_table};
use crate::http3::Code;
use crate::message::FieldName;

type Lines = Vec<(String, String)>;

fn text(name: &FieldName) -> String {
    match name {
        FieldName::Pseudo(pseudo) => pseudo.as_str().to_owned(),
        FieldName::Field(name) => name.as_str().to_owned(),
        FieldName::Invalid { len } => format!("invalid of {len}"),
    }
}

fn decode(decoder: &mut Decoder, stream: u64, section: &[u8]) -> Result<(Decoded, Lines), Code> {
    let mut lines = Vec::new();
    let section = Bytes::copy_from_slice(section);
    let decoded = decoder.decode(stream, &section, |name, value| {
        lines.push((text(name), String::from_utf8(value.to_vec()).unwrap()));
    })?;
    Ok((decoded, lines))
}

fn lines(lines: &[(&str, &str)]) -> Lines {
    lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn instruct(decoder: &mut Decoder, bytes: &[u8]) -> Result<Bytes, Code> {
    decoder.read_instructions(&mut bytes.into())?;
    Ok(decoder.take_instructions())
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// RFC 9204 appendix B, as one connection.
#[test]
fn examples_of_the_rfc() {
    let mut decoder = Decoder::new(220, 1);
    // B.1: a literal with a name of the static table.
    let section = hex("0000 510b 2f69 6e64 6578 2e68 746d 6c");
    let (decoded, got) = decode(&mut decoder, 0, &section).unwrap();
    assert_eq!((decoded, got), (Decoded::Whole, lines(&[(":path", "/index.html")])));
    assert!(decoder.take_instructions().is_empty());
    // B.2: a section that waits for the table.
    let section = hex("0381 10 11");
    assert_eq!(decode(&mut decoder, 4, &section).unwrap(), (Decoded::Blocked(2), Vec::new()));
    let insert =
        "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468";
    let mut buf = BytesMut::new();
    for b in hex(insert) {
        buf.extend_from_slice(&[b]);
        decoder.read_instructions(&mut buf).unwrap();
    }
    assert_eq!(decoder.take_instructions()[..], [1, 1]);
    let (decoded, got) = decode(&mut decoder, 4, &section).unwrap();
    assert_eq!(decoded, Decoded::Whole);
    assert_eq!(got, lines(&[(":authority", "www.example.com"), (":path", "/sample/path")]));
    assert_eq!(decoder.take_instructions()[..], hex("84"));
    // B.3: an insertion without a reference.
    let insert = hex("4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565");
    assert_eq!(instruct(&mut decoder, &insert).unwrap()[..], hex("01"));
    // B.4: a duplicate, and a stream that is cancelled.
    assert_eq!(instruct(&mut decoder, &hex("02")).unwrap()[..], hex("01"));
    let (_, got) = decode(&mut decoder, 8, &hex("0500 80 c1 81")).unwrap();
    let expected =
        [(":authority", "www.example.com"), (":path", "/"), ("custom-key", "custom-value")];
    assert_eq!(got, lines(&expected));
    decoder.take_instructions();
    decoder.cancel(8);
    assert_eq!(decoder.take_instructions()[..], hex("48"));
    // B.5: an insertion that evicts the oldest.
    let insert = hex("810d 6375 7374 6f6d 2d76 616c 7565 32");
    assert_eq!(instruct(&mut decoder, &insert).unwrap()[..], hex("01"));
    let (_, got) = decode(&mut decoder, 12, &hex("0600 80")).unwrap();
    assert_eq!(got, lines(&[("custom-key", "custom-value2")]));
    assert_eq!(decode(&mut decoder, 12, &hex("0600 84")), Err(Code::DecompressionFailed));
}

#[test]
fn so_many_may_wait() {
    let mut decoder = Decoder::new(4096, 2);
    let section = hex("0200 80");
    for stream in [0, 4, 0] {
        let (decoded, _) = decode(&mut decoder, stream, &section).unwrap();
        assert_eq!(decoded, Decoded::Blocked(1));
    }
    assert_eq!(decode(&mut decoder, 8, &section), Err(Code::DecompressionFailed));
    decoder.cancel(4);
    assert_eq!(decode(&mut decoder, 8, &section).unwrap().0, Decoded::Blocked(1));
    instruct(&mut decoder, &hex("3fe11f 41 61 01 62")).unwrap();
    assert_eq!(decode(&mut decoder, 8, &section).unwrap().1, lines(&[("a", "b")]));
}

#[test]
fn sections_that_are_refused() {
    for section in [
        "",
        "00",
        // An index beyond the static table, and one into an empty dynamic table.
        "0000 ff24",
        "0000 80",
        "0000 10",
        // More entries than the table could have.
        "ff82 0100",
        // A negative base.
        "0081",
        // Strings that end early, and one that is no Huffman code.
        "0000 5105 61",
        "0000 2361",
        "0000 5181 00",
    ] {
        let mut decoder = Decoder::new(4096, 4);
        let refused = decode(&mut decoder, 0, &hex(section));
        assert_eq!(refused, Err(Code::DecompressionFailed), "{section}");
    }
}

#[test]
fn instructions_that_are_refused() {
    for bytes in [
        // A capacity over the limit, references to nothing, an entry that has no room.
        "3fe2 1f",
        "00",
        "80 00",
        "ff24 00",
        "41 61 01 62",
        "3f 01 41 61 01 62",
        // A string that no entry could hold.
        "7fff ffff ffff ff7f",
    ] {
        let mut decoder = Decoder::new(4096, 4);
        let refused = instruct(&mut decoder, &hex(bytes));
        assert_eq!(refused, Err(Code::EncoderStreamError), "{bytes}");
    }
    for bytes in ["00", "01", "80", "84", "bfff ffff ffff ffff ff7f"] {
        let mut encoder = Encoder::default();
        encoder.allow(4096);
        let refused = encoder.read_instructions(&mut hex(bytes)[..].into());
        assert_eq!(refused, Err(Code::DecoderStreamError), "{bytes}");
    }
}

#[test]
fn answers_point_at_what_is_known() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new(4096, 0));
    encoder.allow(4096);
    let fields =
        [("server", "hemi"), ("vary", "accept-encoding"), ("date", "now"), ("x-own", "value")];
    let mut sizes = Vec::new();
    for stream in (0..).step_by(4).take(5) {
        let mut section = BytesMut::new();
        let bytes = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        encoder.encode(stream, Some(StatusCode::OK), bytes, &mut section);
        sizes.push(section.len());
        let (decoded, got) = decode(&mut decoder, stream, &section).unwrap();
        assert_eq!(decoded, Decoded::Whole);
        assert_eq!(got, lines(&[&[(":status", "200")][..], &fields].concat()));
        decoder.read_instructions(&mut encoder.take_instructions()[..].into()).unwrap();
        encoder.read_instructions(&mut decoder.take_instructions()[..].into()).unwrap();
    }
    // Status, vary, server and x-own are a byte each; the date says itself.
    assert_eq!(sizes[1..], [11; 4], "{sizes:?}");
    assert!(encoder.pending.is_empty());
}

#[test]
fn without_a_table() {
    let mut encoder = Encoder::default();
    encoder.allow(0);
    let mut section = BytesMut::new();
    encoder.encode(0, None, [("server", &b"hemi"[..])].into_iter(), &mut section);
    assert!(encoder.take_instructions().is_empty());
    let (_, got) = decode(&mut Decoder::new(0, 0), 0, &section).unwrap();
    assert_eq!(got, lines(&[("server", "hemi")]));
}

#[test]
fn static_lines_read_back() {
    for (name, value) in static_table::ENTRIES {
        let mut section = BytesMut::new();
        StaticEncoder::put_prefix(&mut section);
        StaticEncoder::put_line(name, value.as_bytes(), &mut section);
        StaticEncoder::put_line(name, b"other value", &mut section);
        let (_, got) = decode(&mut Decoder::new(0, 0), 0, &section).unwrap();
        assert_eq!(got, lines(&[(name, value), (name, "other value")]));
    }
}
