//! Answers about revoked certificates, and what certificates they are compared with.
#![no_main]

use hemi_proto::ocsp::{CertId, Response, key_hash};
use hemi_proto::x509::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(response) = Response::parse(input) else { return };
    // What was signed is a part of what came.
    assert!(response.signed.len() < input.len());
    for certificate in &response.certificates {
        let _ = Certificate::signature(certificate);
        let Some(certificate) = Certificate::parse(certificate) else { continue };
        let _ = key_hash(&certificate);
        if let Some(id) = CertId::of(&certificate, &certificate) {
            assert!(!id.request().is_empty());
            let _ = response.singles.iter().any(|single| id.is(single));
        }
    }
});
