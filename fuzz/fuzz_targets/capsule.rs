//! Capsules are found the same however their bytes come, and come back as they were put.
#![no_main]

use bytes::{Bytes, BytesMut};
use hemi_fuzz::split_piece_size;
use hemi_proto::capsule::{CapsuleReader, put};
use libfuzzer_sys::fuzz_target;

/// Bytes of a capsule that is not skipped.
const MOST: usize = 100;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let (found, whole) = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, size), (found.clone(), whole));
    let mut again = Vec::new();
    for (kind, value) in &found {
        put(*kind, value, &mut again);
    }
    assert_eq!(read(&again, size), (found, true));
});

fn read(bytes: &[u8], size: usize) -> (Vec<(u64, Bytes)>, bool) {
    let (mut reader, mut buf, mut found) = (CapsuleReader::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(size) {
        buf.extend_from_slice(piece);
        while let Some(capsule) = reader.read(&mut buf, MOST) {
            assert!(capsule.1.len() <= MOST);
            found.push(capsule);
        }
    }
    (found, reader.may_end(&buf))
}
