//! Certificates, and how what they say is written.
#![no_main]

use hemi_proto::x509::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(cert) = Certificate::parse(input) else { return };
    for name in [cert.subject, cert.issuer] {
        // A list of names is one line, whatever they are.
        let text = name.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        let _ = name.common_name();
    }
    for name in &cert.names {
        assert!(!name.to_string().contains(','));
    }
    let _ = cert.spiffe_id();
});
