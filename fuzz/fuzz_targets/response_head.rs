//! A response head reads the same however it arrives, and again after it was written.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::http1::{HeadError, HeadLimits, HeadReader, ResponseHead, encode_response};
use http::{Method, Version};
use libfuzzer_sys::fuzz_target;

/// Small, so that short inputs reach them.
const LIMITS: HeadLimits = HeadLimits { head_size: 512, fields: 8, target_size: 64 };

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let method = [Method::GET, Method::HEAD, Method::CONNECT][size % 3].clone();
    let (whole, rest) = read(&method, bytes, bytes.len().max(1));
    let (pieces, rest_of_pieces) = read(&method, bytes, size);
    match (whole, pieces) {
        (Ok(Some(head)), Ok(Some(head_of_pieces))) => {
            assert_eq!(format!("{head:?}"), format!("{head_of_pieces:?}"));
            assert_eq!(rest, rest_of_pieces);
            check_round_trip(&method, &head);
        }
        (Ok(None), Ok(None)) => {}
        // Pieces may show another fault first, but not another verdict.
        (Err(_), Err(_)) => {}
        (whole, pieces) => panic!("{whole:?} / {pieces:?}"),
    }
});

fn read(
    method: &Method,
    bytes: &[u8],
    size: usize,
) -> (Result<Option<ResponseHead>, HeadError>, BytesMut) {
    let mut reader = HeadReader::default();
    feed(bytes, size, |buf| reader.read_response(method, buf, &LIMITS))
}

fn check_round_trip(method: &Method, head: &ResponseHead) {
    if head.version == Version::HTTP_10 {
        return;
    }
    let mut buf = BytesMut::new();
    encode_response(&mut buf, head.status, &head.headers);
    let again = HeadReader::default()
        .read_response(method, &mut buf, &HeadLimits::default())
        .expect("head")
        .expect("complete");
    assert!(buf.is_empty());
    assert_eq!(again.status, head.status);
    assert_eq!(again.headers, head.headers);
    assert_eq!(again.framing, head.framing);
    assert_eq!(again.keep_alive, head.keep_alive);
    assert_eq!(again.upgrade, head.upgrade);
}
