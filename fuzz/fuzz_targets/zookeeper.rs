//! What servers of ZooKeeper say comes to frames, however it is cut, and these to values or errors.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::zookeeper::{
    Request, encode, read_answer, read_children, read_connected, read_data, read_frame,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let mut whole = BytesMut::from(bytes);
    let at_once = read_frame(&mut whole);
    let (in_pieces, rest) = feed(bytes, size, read_frame);
    assert_eq!(at_once, in_pieces);
    if !matches!(at_once, Err(_)) {
        assert_eq!(whole, rest);
    }
    let Ok(Some(frame)) = at_once else { return };
    let _ = read_connected(frame.clone());
    if let Ok(answer) = read_answer(frame) {
        if let Ok(names) = read_children(answer.content.clone()) {
            for name in &names {
                let mut out = BytesMut::new();
                encode(&mut out, answer.number, &Request::Data(name));
                assert_eq!(read_frame(&mut out).map(|frame| frame.is_some()), Ok(true));
            }
        }
        let _ = read_data(answer.content);
    }
});
