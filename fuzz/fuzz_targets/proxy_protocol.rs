//! Headers of the PROXY protocol read the same however they arrive, and survive being written again.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::proxy_protocol::{Ends, Limits, Transport, encode_v1, encode_v2, read};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { size: 300 };

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let at_once = feed(bytes, bytes.len().max(1), |buf| read(buf, &LIMITS));
    // What is left after an error is not used.
    let in_pieces = feed(bytes, size, |buf| read(buf, &LIMITS));
    assert_eq!(at_once.0, in_pieces.0);
    let Ok(Some(header)) = at_once.0 else { return };
    assert_eq!(at_once.1, in_pieces.1);

    let mut out = BytesMut::new();
    encode_v2(&mut out, &header).expect("it was small enough");
    let again = read(&mut out, &Limits::default());
    // A checksum is of the header it came in; some ways to say nothing become one.
    if let (Ok(Some(again)), true) = (again, out.is_empty()) {
        assert_eq!(again.ends, header.ends);
    }
    if header.transport == Transport::Stream && matches!(header.ends, Ends::Inet { .. }) {
        let mut line = BytesMut::new();
        encode_v1(&mut line, &header.ends);
        assert_eq!(read(&mut line, &LIMITS).map(|h| h.map(|h| h.ends)), Ok(Some(header.ends)));
    }
});
