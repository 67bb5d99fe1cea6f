//! Codings are ranked by what the client says, however its list is cut into lines.
#![no_main]

use hemi_proto::accept;
use hemi_proto::accept_encoding::{AcceptEncoding, Coding};
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

const OFFERED: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

fuzz_target!(|input: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(input) else { return };
    let accept = AcceptEncoding::from_headers(&HeaderMap::from_iter([(ACCEPT_ENCODING, value)]));

    let mut lines = HeaderMap::new();
    for element in input.split(|&b| b == b',') {
        let Ok(element) = HeaderValue::from_bytes(element) else { return };
        lines.append(ACCEPT_ENCODING, element);
    }
    assert_eq!(AcceptEncoding::from_headers(&lines), accept);

    // The first mention of a coding, read as a media type, weighs the same.
    for coding in [Coding::Brotli, Coding::Zstd] {
        let mentions = lines.get_all(ACCEPT_ENCODING).iter().map(|line| (ACCEPT, line.clone()));
        if let Some(quality) = accept::named(&mentions.collect(), coding.token()) {
            assert_eq!(accept.takes(coding), !quality.is_zero());
        }
    }

    // Every coding that is taken, and none twice.
    let ranked: Vec<_> = accept.ranked(&OFFERED).collect();
    for coding in OFFERED.into_iter().chain([Coding::Identity]) {
        let times = ranked.iter().filter(|other| **other == coding).count();
        assert_eq!(times, usize::from(accept.takes(coding)));
    }
    assert_eq!(accept.choose(&OFFERED), ranked.first().copied());

    // What was ranked, offered again, is ranked in the same way.
    assert!(accept.ranked(&ranked).eq(ranked.iter().copied()));
});
