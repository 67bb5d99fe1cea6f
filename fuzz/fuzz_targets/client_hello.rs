//! What a client says first is taken for the same however it is cut, and never changes its mind.
#![no_main]

use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::client_hello::{self, ClientHello};
use hemi_proto::sniff::{Guess, guess};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = ClientHello::parse(input);
    let Some((size, bytes)) = split_piece_size(input) else { return };

    let whole = ClientHello::read(bytes);
    let (in_pieces, fed) = feed(bytes, size, |buf| ClientHello::read(buf));
    assert_eq!(fed, bytes);
    // A mistake behind the message is seen only by who looks at all at once.
    if let Ok(Some(hello)) = &in_pieces {
        assert_eq!(whole.as_ref(), Ok(&Some(hello.clone())));
    } else if in_pieces.is_err() {
        assert_eq!(whole, in_pieces);
    }
    if let Ok(Some(hello)) = whole {
        assert!(hello.protocols.len() <= client_hello::MAX);
        let name = hello.server_name.as_deref().unwrap_or("a");
        assert!(!name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase()));
    } else if whole == Ok(None) {
        // What is waited for has a bound.
        assert!(bytes.len() <= 6 * client_hello::MAX);
    }

    let end = guess(bytes);
    let mut known = Guess::NeedMore;
    for len in 0..=bytes.len().min(64) {
        let now = guess(&bytes[..len]);
        assert!(known == Guess::NeedMore || known == now);
        known = now;
    }
    if bytes.len() > 64 {
        assert!(end == known);
    }
});
