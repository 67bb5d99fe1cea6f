use super::*;

/// Made with openssl: a CA, a certificate 0x1234 of it, and who may answer for it; the question about the
/// certificate; answers signed by the CA and by the other, one about a certificate that was revoked, and none.
const CA: &[u8] = include_bytes!("../../../fuzz/corpus/x509/ocsp-ca.der");
const LEAF: &[u8] = include_bytes!("../../../fuzz/corpus/x509/ocsp-leaf.der");
const SIGNER: &[u8] = include_bytes!("../../../fuzz/corpus/x509/ocsp-signer.der");
const REQUEST: &[u8] = include_bytes!("request.der");
const GOOD: &[u8] = include_bytes!("../../../fuzz/corpus/ocsp/good.der");
const DELEGATED: &[u8] = include_bytes!("../../../fuzz/corpus/ocsp/delegated.der");
const REVOKED: &[u8] = include_bytes!("../../../fuzz/corpus/ocsp/revoked.der");
const LATER: &[u8] = include_bytes!("../../../fuzz/corpus/ocsp/later.der");

#[test]
fn the_question_is_that_of_others() {
    let (leaf, ca) = (Certificate::parse(LEAF).unwrap(), Certificate::parse(CA).unwrap());
    assert_eq!(leaf.ocsp_url, Some("http://ocsp.test/a"));
    assert!(leaf.authority_key.is_some() && !leaf.signs_ocsp);
    assert_eq!(CertId::of(&leaf, &ca).unwrap().request(), REQUEST);
}

#[test]
fn answers_say_who_is_good_and_who_was_revoked() {
    let (leaf, ca) = (Certificate::parse(LEAF).unwrap(), Certificate::parse(CA).unwrap());
    let id = CertId::of(&leaf, &ca).unwrap();
    let good = Response::parse(GOOD).unwrap();
    assert_eq!(good.responder, Responder::Name(ca.subject.0));
    let [single] = &good.singles[..] else { panic!("not one: {:?}", good.singles) };
    assert!(id.is(single));
    assert_eq!(single.status, Status::Good);
    assert_eq!(single.next_update.unwrap() - single.this_update, 18_000 * 24 * 3600);
    let delegated = Response::parse(DELEGATED).unwrap();
    let signer = Certificate::parse(SIGNER).unwrap();
    assert!(signer.signs_ocsp);
    assert_eq!(delegated.responder, Responder::Key(&key_hash(&signer).unwrap()));
    assert_eq!(delegated.certificates, [SIGNER]);
    let revoked = Response::parse(REVOKED).unwrap();
    assert!(!id.is(&revoked.singles[0]));
    assert_eq!(revoked.singles[0].status, Status::Revoked(1_735_689_600));
    assert_eq!(revoked.singles[0].next_update, None);
    assert_eq!(Response::parse(LATER).unwrap_err(), OcspError::Refused(3));
    assert_eq!(Response::parse(b"HTTP").unwrap_err(), OcspError::Malformed);
}

#[test]
fn what_is_cut_or_changed_is_no_panic() {
    for end in 0..GOOD.len() {
        assert!(Response::parse(&GOOD[..end]).is_err());
    }
    let mut bytes = DELEGATED.to_vec();
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            bytes[at] ^= change;
            let _ = Response::parse(&bytes);
            bytes[at] ^= change;
        }
    }
}
