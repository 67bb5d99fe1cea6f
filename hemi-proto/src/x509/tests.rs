use super::*;

/// Made with openssl: subject `/DC=test/O=Test, Inc.+OU=a/CN= #m\xefa`, valid 2026-11-26 to 2049-12-31 and
/// beyond, names of all kinds.
const CERTIFICATE: &[u8] = include_bytes!("../../../fuzz/corpus/x509/names.der");

/// Signed by itself, with no other names and no extensions at all.
const PLAIN: &[u8] = include_bytes!("../../../fuzz/corpus/x509/plain.der");

#[test]
fn a_certificate_says_who_and_when() {
    let cert = Certificate::parse(CERTIFICATE).unwrap();
    assert_eq!(cert.subject.to_string(), r"CN=\ #mïa,OU=a+O=Test\, Inc.,DC=test");
    assert_eq!(cert.subject.common_name().unwrap(), " #mïa");
    assert_eq!(cert.issuer, cert.subject);
    assert_eq!((cert.not_before, cert.not_after), (1_795_651_200, 2_840_140_800));
    let names: Vec<_> = cert.names.iter().map(ToString::to_string).collect();
    assert_eq!(
        names.join(","),
        "dns:a.test,dns:*.b.test,ip:127.0.0.1,ip:::1,email:mia@a.test,uri:spiffe://test/a%2Cb"
    );
    assert_eq!(cert.spiffe_id(), Some("spiffe://test/a,b"));
    assert_eq!((cert.serial, cert.is_ca), (&[1, 2, 3][..], true));
    let cert = Certificate::parse(PLAIN).unwrap();
    assert_eq!(cert.subject.to_string(), "CN=plain");
    assert!(cert.names.is_empty() && !cert.is_ca && cert.spiffe_id().is_none());
}

#[test]
fn what_is_cut_or_changed_is_no_panic() {
    for end in 0..CERTIFICATE.len() {
        assert!(Certificate::parse(&CERTIFICATE[..end]).is_none());
    }
    let mut bytes = CERTIFICATE.to_vec();
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            bytes[at] ^= change;
            if let Some(cert) = Certificate::parse(&bytes) {
                let _ = (cert.subject.to_string(), cert.subject.common_name());
            }
            bytes[at] ^= change;
        }
    }
}
