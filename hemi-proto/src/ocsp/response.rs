//! What a responder answers (RFC 6960, 4.2).

use crate::x509::der::{Der, tag};

/// A signed answer.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    /// What was signed.
    pub signed: &'a [u8],
    /// How: an `AlgorithmIdentifier`, without the tag and length in front.
    pub algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// Who has signed.
    pub responder: Responder<'a>,
    /// About which certificates, and what.
    pub singles: Vec<Single<'a>>,
    /// Certificates that may be those of who has signed.
    pub certificates: Vec<&'a [u8]>,
}

/// Who has signed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responder<'a> {
    /// The one of this name: a distinguished name, without the tag and length in front.
    Name(&'a [u8]),
    /// The one with the key of this hash.
    Key(&'a [u8]),
}

/// What is said about one certificate.
#[derive(Clone, Debug)]
pub struct Single<'a> {
    pub(super) algorithm: &'a [u8],
    pub(super) name_hash: &'a [u8],
    pub(super) key_hash: &'a [u8],
    pub(super) serial: &'a [u8],
    /// How it stands.
    pub status: Status,
    /// When that was known, in seconds since 1970.
    pub this_update: i64,
    /// When more will be known, if that is said.
    pub next_update: Option<i64>,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was not revoked.
    Good,
    /// It was revoked, at this time in seconds since 1970.
    Revoked(i64),
    /// The responder does not know it.
    Unknown,
}

/// Why there is no answer in what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// The responder can't or won't answer.
    #[error("the responder says {}", match .0 {
        1 => "that the request is malformed",
        2 => "that it has failed",
        3 => "to try again later",
        5 => "that it answers signed requests only",
        6 => "that it does not answer us",
        _ => "something unknown",
    })]
    Refused(u8),
    /// It is of another form.
    #[error("the answer is malformed")]
    Malformed,
}

/// Certificates and statements in an answer, at most.
const MOST: usize = 64;

impl<'a> Response<'a> {
    /// Reads an answer in DER.
    ///
    /// # Errors
    /// When it is malformed, or only says why there is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, OcspError> {
        let mut outer = Der(bytes);
        let mut whole = outer.take(tag::SEQUENCE).ok_or(OcspError::Malformed)?;
        let status = whole.take(tag::ENUMERATED).ok_or(OcspError::Malformed)?;
        match status.0 {
            [0] if outer.is_empty() => basic(whole).ok_or(OcspError::Malformed),
            [status] => Err(OcspError::Refused(*status)),
            _ => Err(OcspError::Malformed),
        }
    }
}

/// `id-pkix-ocsp-basic`, 1.3.6.1.5.5.7.48.1.1
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];

fn basic(mut whole: Der<'_>) -> Option<Response<'_>> {
    let mut typed = whole.take(0xa0)?.take(tag::SEQUENCE)?;
    if typed.take(tag::OID)?.0 != BASIC {
        return None;
    }
    let mut basic = typed.take(tag::OCTETS)?.take(tag::SEQUENCE)?;
    let signed = basic.peek_whole()?;
    let mut data = basic.take(tag::SEQUENCE)?;
    let algorithm = basic.take(tag::SEQUENCE)?.0;
    // No bits are unused in what is made of bytes.
    let signature = basic.take(tag::BITS)?.0.strip_prefix(&[0])?;
    let mut certificates = Vec::new();
    if basic.next_is(0xa0) {
        let mut all = basic.take(0xa0)?.take(tag::SEQUENCE)?;
        while !all.is_empty() && certificates.len() < MOST {
            certificates.push(all.peek_whole()?);
            all.take(tag::SEQUENCE)?;
        }
    }
    data.skip(tag::VERSION)?;
    let responder = match data.next()? {
        (0xa1, name) => Responder::Name(Der(name).take(tag::SEQUENCE)?.0),
        (0xa2, hash) => Responder::Key(Der(hash).take(tag::OCTETS)?.0),
        _ => return None,
    };
    let _produced = data.time()?;
    let (mut list, mut singles) = (data.take(tag::SEQUENCE)?, Vec::new());
    while !list.is_empty() {
        if singles.len() == MOST {
            return None;
        }
        singles.push(single(list.take(tag::SEQUENCE)?)?);
    }
    Some(Response { signed, algorithm, signature, responder, singles, certificates })
}

fn single(mut single: Der<'_>) -> Option<Single<'_>> {
    let mut id = single.take(tag::SEQUENCE)?;
    let algorithm = id.take(tag::SEQUENCE)?.0;
    let (name_hash, key_hash) = (id.take(tag::OCTETS)?.0, id.take(tag::OCTETS)?.0);
    let serial = id.take(tag::INTEGER)?.0;
    let status = match single.next()? {
        (0x80, _) => Status::Good,
        (0xa1, info) => Status::Revoked(Der(info).time()?),
        (0x82, _) => Status::Unknown,
        _ => return None,
    };
    let this_update = single.time()?;
    let next_update = match single.take(0xa0) {
        Some(mut next) => Some(next.time()?),
        None => None,
    };
    Some(Single { algorithm, name_hash, key_hash, serial, status, this_update, next_update })
}
