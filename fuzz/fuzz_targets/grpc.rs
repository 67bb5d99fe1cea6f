//! Messages of gRPC are found in pieces as at once, and those who only look at them agree.
#![no_main]

use bytes::Bytes;
use hemi_fuzz::split_piece_size;
use hemi_proto::grpc::{
    Frame, FrameError, Frames, HEAD_LEN, Scan, decode_message, encode_message, frame_head,
    parse_timeout, show_timeout,
};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 4096;

/// All frames, and how it ends.
fn frames(wire: &[u8], size: usize) -> (Vec<Frame>, Result<bool, FrameError>) {
    let (mut frames, mut found) = (Frames::new(MOST), Vec::new());
    for piece in wire.chunks(size) {
        frames.push(Bytes::copy_from_slice(piece));
        loop {
            match frames.take() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(e) => return (found, Err(e)),
            }
        }
    }
    (found, Ok(frames.is_midway()))
}

fuzz_target!(|input: &[u8]| {
    let Some((size, wire)) = split_piece_size(input) else { return };
    let whole = frames(wire, wire.len().max(1));
    assert_eq!(frames(wire, size), whole);
    let mut again = Vec::new();
    for frame in &whole.0 {
        assert!(frame.message.len() <= MOST);
        again.extend_from_slice(&frame_head(frame.flags, frame.message.len()));
        again.extend_from_slice(&frame.message);
    }
    assert!(wire.starts_with(&again));
    let mut scan = Scan::new(MOST);
    let looked = wire.chunks(size).try_for_each(|piece| scan.look(piece));
    let plain = whole.0.iter().all(|frame| frame.flags == 0);
    match (looked, &whole.1) {
        (Ok(()), Ok(midway)) => assert!(plain && scan.is_midway() == *midway),
        (Err(FrameError::TooLong { .. }), end) => assert!(plain && end.is_err()),
        // A head may be there, though its message is not.
        (Err(FrameError::Flags(flags)), _) => {
            assert!(!plain || again.len() + HEAD_LEN <= wire.len() && flags != 0)
        }
        (end, other) => panic!("{end:?}, {other:?}"),
    }
    if let Some(timeout) = parse_timeout(wire) {
        assert_eq!(parse_timeout(show_timeout(timeout).as_bytes()), Some(timeout));
    }
    let text = decode_message(wire);
    assert_eq!(decode_message(encode_message(&text).as_bytes()), text);
});
