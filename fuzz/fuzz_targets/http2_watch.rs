//! Any frames of one direction of HTTP/2, as who only looks on sees them, in pieces as at once.
#![no_main]

use hemi_fuzz::split_piece_size;
use hemi_proto::http2::{Watch, Watched};
use libfuzzer_sys::fuzz_target;

/// What is seen of it, and how it ends.
fn feed(wire: &[u8], size: usize) -> (Vec<String>, Option<&'static str>) {
    let (mut watch, mut buf, mut seen) = (Watch::default(), Vec::new(), Vec::new());
    for piece in wire.chunks(size.max(1)) {
        buf.extend_from_slice(piece);
        loop {
            match watch.frame(&buf) {
                Ok(None) => break,
                Ok(Some((watched, length))) => {
                    assert!(length <= buf.len());
                    if let Watched::Data(_, bytes, _) = watched {
                        assert!(bytes.len() < length);
                    }
                    seen.push(format!("{watched:?}"));
                    buf.drain(..length);
                }
                Err(e) => return (seen, Some(e.0)),
            }
        }
    }
    (seen, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((size, wire)) = split_piece_size(input) else { return };
    assert_eq!(feed(wire, size), feed(wire, wire.len()));
});
