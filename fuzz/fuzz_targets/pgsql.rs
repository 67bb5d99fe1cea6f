//! What clients of PostgreSQL say first is taken for the same however it is cut, and has a bound.
#![no_main]

use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::pgsql::{Opening, len, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let whole = read(bytes);
    let (in_pieces, fed) = feed(bytes, size, |buf| read(buf));
    assert_eq!(fed, bytes);
    match (&whole, &in_pieces) {
        // A message ends where it says, whatever follows.
        (Ok(Some(opening)), Ok(Some(same))) => {
            assert_eq!(opening, same);
            assert!(*opening == Opening::DirectTls || len(bytes) <= bytes.len());
        }
        (Ok(None), _) => assert!(bytes.len() < 10_000),
        (Err(_), Err(_)) | (Ok(Some(_)), _) => {}
        (whole, in_pieces) => panic!("{whole:?} {in_pieces:?}"),
    }
});
