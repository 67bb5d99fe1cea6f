//! Any file of libpcap, any packet and any order of segments: pieces never overlap, and what is kept has a bound.
#![no_main]

use hemi_proto::capture::{Decoded, File, Link, Order, Piece, segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut order = Order::default();
    let mut came = 0;
    let mut take = |piece: Piece<'_>| {
        if let Piece::Bytes(bytes) = piece {
            assert!(!bytes.is_empty());
            came += bytes.len();
        }
    };
    if let Ok(Decoded::Whole(file, length)) = File::begin(input) {
        let mut rest = &input[length..];
        while let Ok(Decoded::Whole(packet, length)) = file.packet(rest) {
            assert!(packet.bytes.len() < length);
            if let Some(segment) = segment(file.link, packet.bytes) {
                assert!(segment.payload.len() <= packet.bytes.len());
                order.push(segment.seq, segment.syn, (segment.payload, segment.missing), &mut take);
            }
            rest = &rest[length..];
        }
    }
    for link in [0, 1, 101, 113, 276].into_iter().filter_map(Link::new) {
        let _ = segment(link, input);
    }
    order.finish(take);
    assert!(came <= input.len());
});
