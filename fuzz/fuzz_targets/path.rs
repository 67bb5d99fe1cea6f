//! A normalised path is rooted, holds nothing that walks, and stays as it is.
#![no_main]

use std::borrow::Cow;

use hemi_proto::path::{EncodedSeparators, normalize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let strict = normalize(raw, EncodedSeparators::Refuse);
    let lenient = normalize(raw, EncodedSeparators::Keep);
    if let Ok(path) = &strict {
        assert_eq!(lenient.as_ref(), Ok(path));
    }
    let Ok(path) = lenient else { return };
    if let Cow::Borrowed(borrowed) = path {
        assert_eq!(borrowed, raw);
    }
    assert_eq!(path.first(), Some(&b'/'));
    assert!(!path.iter().any(|b| b.is_ascii_control() || *b == b'\\'));
    let segments: Vec<_> = path.split(|&b| b == b'/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        assert!(!matches!(*segment, b"." | b".."));
        assert!(!segment.is_empty() || at + 1 == segments.len());
    }
    // Decoding happens once: a percent sign that is left stands for itself.
    let mut encoded = Vec::new();
    for &b in path.iter() {
        if b == b'%' { encoded.extend_from_slice(b"%25") } else { encoded.push(b) }
    }
    assert_eq!(normalize(&encoded, EncodedSeparators::Refuse), Ok(path));
});
