//! Heads and first packets of QUIC are read without trust, and a hello is the same in whatever pieces it comes.
#![no_main]

use hemi_proto::quic_head::{LONGEST_ID, QuicHead};
use hemi_proto::quic_initial::{Hello, Initial};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(QuicHead::Long { to, from, .. }) = QuicHead::read(input) {
        assert!(to.len().max(from.len()) <= LONGEST_ID && 7 + to.len() + from.len() <= input.len());
    }
    let mut rest = input;
    while let Some(initial) = Initial::take(&mut rest) {
        assert_eq!(initial.sample().len(), 16);
        let (first, number) = initial.masked();
        let (_, head, sealed) = initial.unmasked(first, number);
        assert!(head.len() + sealed.len() <= input.len());
    }
    // As what was sealed, in one packet and then the same once more.
    let mut hello = Hello::default();
    if let Ok(Some(read)) = hello.add(input) {
        assert_eq!(hello.add(input), Ok(Some(read)));
    }
});
