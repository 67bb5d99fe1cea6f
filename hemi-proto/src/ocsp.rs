//! OCSP (RFC 6960): how a CA is asked whether a certificate was revoked, and what it answers.
//!
//! Nothing here says whether an answer is to be believed: it takes who can verify signatures.

mod response;

use sha1::{Digest as _, Sha1};

use crate::x509::Certificate;

pub use response::{OcspError, Responder, Response, Single, Status};

/// The media type of requests.
pub const REQUEST: &str = "application/ocsp-request";

/// SHA-1 as an `AlgorithmIdentifier`, without the tag and length in front. What CAs agree on, and no secret hangs
/// on it.
const SHA1: &[u8] = &[0x06, 5, 0x2b, 0x0e, 3, 2, 0x1a, 0x05, 0];

/// What a certificate is named by: its issuer and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertId {
    name_hash: [u8; 20],
    key_hash: [u8; 20],
    serial: Vec<u8>,
}

impl CertId {
    /// That of a certificate from this issuer; none if the issuer's key is malformed.
    #[must_use]
    pub fn of(certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> Option<Self> {
        let (_, key) = issuer.public_key()?;
        let mut name = Vec::new();
        put(&mut name, 0x30, issuer.subject.0);
        Some(Self {
            name_hash: Sha1::digest(&name).into(),
            key_hash: Sha1::digest(key).into(),
            serial: certificate.serial.to_vec(),
        })
    }

    /// The question about this certificate, in DER.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let (mut id, mut algorithm) = (Vec::new(), Vec::new());
        put(&mut algorithm, 0x30, SHA1);
        id.extend_from_slice(&algorithm);
        put(&mut id, 0x04, &self.name_hash);
        put(&mut id, 0x04, &self.key_hash);
        put(&mut id, 0x02, &self.serial);
        // CertID, Request, requestList, TBSRequest, OCSPRequest
        (0..5).fold(id, |inner, _| {
            let mut outer = Vec::new();
            put(&mut outer, 0x30, &inner);
            outer
        })
    }

    /// Whether an answer is about this certificate.
    #[must_use]
    pub fn is(&self, single: &Single<'_>) -> bool {
        // Absent parameters are the same as NULL.
        (single.algorithm == SHA1 || single.algorithm == &SHA1[..7])
            && single.name_hash == self.name_hash
            && single.key_hash == self.key_hash
            && single.serial == self.serial
    }
}

/// The hash by which a responder may name its key: none if that is malformed.
#[must_use]
pub fn key_hash(certificate: &Certificate<'_>) -> Option<[u8; 20]> {
    Some(Sha1::digest(certificate.public_key()?.1).into())
}

/// Appends a value in DER.
fn put(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    let len = value.len().to_be_bytes();
    let significant = &len[len.iter().take_while(|byte| **byte == 0).count()..];
    match significant {
        [] => out.push(0),
        [short @ 0..=0x7f] => out.push(*short),
        long => {
            out.push(0x80 | long.len() as u8);
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests;
