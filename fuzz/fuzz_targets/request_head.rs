//! A request head reads the same however it arrives, and again after it was written.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::authority::Authority;
use hemi_proto::http1::{
    HeadError, HeadLimits, HeadReader, RequestHead, TargetForm, encode_request,
};
use http::Version;
use libfuzzer_sys::fuzz_target;

/// Small, so that short inputs reach them.
const LIMITS: HeadLimits = HeadLimits { head_size: 512, fields: 8, target_size: 64 };

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let (whole, rest) = read(bytes, bytes.len().max(1));
    let (pieces, rest_of_pieces) = read(bytes, size);
    match (whole, pieces) {
        (Ok(Some(head)), Ok(Some(head_of_pieces))) => {
            assert_eq!(format!("{head:?}"), format!("{head_of_pieces:?}"));
            assert_eq!(rest, rest_of_pieces);
            check_round_trip(&head);
        }
        (Ok(None), Ok(None)) => {}
        // Pieces may show another fault first, but not another verdict.
        (Err(_), Err(_)) => {}
        (whole, pieces) => panic!("{whole:?} / {pieces:?}"),
    }
});

fn read(bytes: &[u8], size: usize) -> (Result<Option<RequestHead>, HeadError>, BytesMut) {
    let (mut reader, mut head) = (HeadReader::default(), RequestHead::default());
    feed(bytes, size, |buf| Ok(reader.read_request(buf, &mut head, &LIMITS)?.then(|| head.clone())))
}

fn check_round_trip(head: &RequestHead) {
    if head.version == Version::HTTP_10 {
        return;
    }
    let authority = head.authority.as_ref().map_or("", Authority::as_str);
    let target = match head.target.form() {
        TargetForm::Authority => authority,
        _ => head.target.path_and_query(),
    };
    let mut buf = BytesMut::new();
    encode_request(&mut buf, &head.method, target.as_bytes(), &head.headers).expect("target");
    let mut again = RequestHead::default();
    let read = HeadReader::default().read_request(&mut buf, &mut again, &HeadLimits::default());
    assert_eq!(read, Ok(true));
    assert!(buf.is_empty());
    assert_eq!(again.method, head.method);
    assert_eq!(again.target.path(), head.target.path());
    assert_eq!(again.target.query(), head.target.query());
    assert_eq!(again.authority, head.authority);
    assert_eq!(again.headers, head.headers);
    assert_eq!(again.framing, head.framing);
    assert_eq!(again.keep_alive, head.keep_alive);
    assert_eq!(again.expect_continue, head.expect_continue);
    assert_eq!(again.upgrade, head.upgrade);
}
