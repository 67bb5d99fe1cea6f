//! A token that can be taken apart is the only one with these parts.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hemi_proto::jws::Jws;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(jws) = Jws::parse(data) else { return };
    let parts = [&jws.header, &jws.payload, &jws.signature];
    let again = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    assert_eq!(again.as_bytes(), data);
    assert!(data.starts_with(jws.signed));
});
