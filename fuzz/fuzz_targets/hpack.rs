//! What is encoded is read back, and what is not is read or refused, whatever came before.
#![no_main]

use bytes::{Bytes, BytesMut};
use hemi_proto::http2::hpack::{Decoder, encode_field, encode_status};
use hemi_proto::message::{FieldName, Pseudo};
use http::{HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // Blocks of up to 64 bytes, which share a table.
    let (mut decoder, mut strings) = (Decoder::new(256), BytesMut::new());
    for block in input.chunks(64) {
        let mut lines = 0;
        let decoded = decoder.decode(block, &mut strings, |name, value| {
            lines += 1;
            check(name, &value);
        });
        assert!(lines <= block.len());
        if decoded.is_err() {
            break;
        }
    }
    round_trip(input);
});

fn check(name: &FieldName, value: &[u8]) {
    // At most the table's own, or 8/5 times those of the block.
    assert!(value.len() <= 256);
    match name {
        FieldName::Field(name) => {
            assert_eq!(FieldName::parse(name.as_str().as_bytes()), FieldName::Field(name.clone()))
        }
        FieldName::Pseudo(pseudo) => assert!(pseudo.as_str().starts_with(':')),
        FieldName::Invalid { len } => assert!(*len <= 256),
    }
}

/// Takes the input for pairs of a name and a value, with a byte of their lengths before them.
fn round_trip(mut input: &[u8]) {
    let (mut block, mut sent) = (BytesMut::new(), Vec::new());
    encode_status(&mut block, StatusCode::OK);
    while let Some((&lengths, rest)) = input.split_first() {
        let (name_len, value_len) = (usize::from(lengths >> 4), usize::from(lengths & 15));
        let Some((name, rest)) = rest.split_at_checked(name_len) else { break };
        let Some((value, rest)) = rest.split_at_checked(value_len) else { break };
        input = rest;
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        else {
            continue;
        };
        encode_field(&mut block, &name, &value);
        sent.push((FieldName::Field(name), Bytes::copy_from_slice(value.as_bytes())));
    }
    let mut read = Vec::new();
    let line = |name: &FieldName, value| read.push((name.clone(), value));
    Decoder::default().decode(&block, &mut BytesMut::new(), line).expect("own block");
    assert_eq!(read.remove(0), (FieldName::Pseudo(Pseudo::Status), Bytes::from_static(b"200")));
    assert_eq!(read, sent);
}
