//! A frame of rpcx is found in pieces as at once, and is the same when it is written again.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::split_piece_size;
use hemi_proto::rpcx::{Decoded, Limits, decode, encode, gunzip, read_connect};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { message: 4096, metadata: 256 };

/// Bytes that a payload may become.
const MOST: usize = 64 << 10;

fuzz_target!(|input: &[u8]| {
    let Some((size, wire)) = split_piece_size(input) else { return };
    assert!(read_connect(wire).is_none_or(|length| length <= wire.len()));
    let (mut buf, mut fed, mut at) = (Vec::new(), wire.chunks(size), 0);
    loop {
        match decode(&buf, LIMITS) {
            Err(e) => {
                // The whole says the same as its start.
                assert_eq!(decode(wire.get(at..).unwrap_or_default(), LIMITS).err(), Some(e));
                return;
            }
            Ok(Decoded::Needs(needs)) => {
                assert!(needs > buf.len() && needs <= LIMITS.message + 16);
                let Some(piece) = fed.next() else { return };
                buf.extend_from_slice(piece);
            }
            Ok(Decoded::Frame(frame, length)) => {
                let mut again = BytesMut::new();
                encode(&mut again, &frame);
                let Ok(Decoded::Frame(read, same)) = decode(&again, LIMITS) else {
                    panic!("it can't be read again");
                };
                assert_eq!((read, same), (frame, length));
                for (key, value) in frame.metadata.iter() {
                    assert!(key.len() + value.len() <= LIMITS.metadata);
                }
                if let Ok(plain) = gunzip(frame.payload, MOST) {
                    assert!(plain.len() <= MOST);
                }
                buf.drain(..length);
                at += length;
            }
        }
    }
});
