//! X.509 certificates (RFC 5280), as far as they are shown to people and compared by rules.
//!
//! Nothing here says whether a certificate is to be believed.

pub(crate) mod der;
mod name;

use std::fmt;
use std::net::IpAddr;

use self::der::{Der, tag};
pub use self::name::Name;

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    /// The number that its CA has given it, big endian.
    pub serial: &'a [u8],
    /// Who has signed it.
    pub issuer: Name<'a>,
    /// Whom it is about.
    pub subject: Name<'a>,
    /// Seconds since 1970, from when it is valid.
    pub not_before: i64,
    /// Seconds since 1970, until when it is valid.
    pub not_after: i64,
    /// Other names of its subject (RFC 5280, 4.2.1.6), of the kinds that are known here.
    pub names: Vec<AltName<'a>>,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// Its key, as an encoded `SubjectPublicKeyInfo` without the tag and length in front.
    pub key: &'a [u8],
    /// The id of the key that has signed it (RFC 5280, 4.2.1.1), if it says.
    pub authority_key: Option<&'a [u8]>,
    /// Where its CA tells whether it was revoked (RFC 5280, 4.2.2.1), if it does.
    pub ocsp_url: Option<&'a str>,
    /// Whether its key may sign such answers for the CA (RFC 6960, 4.2.2.2).
    pub signs_ocsp: bool,
}

/// A name of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName<'a> {
    /// A host, or several such as `*.shop.test`.
    Dns(&'a str),
    /// A URI, such as the id of a workload.
    Uri(&'a str),
    /// An address.
    Ip(IpAddr),
    /// An address of mail.
    Email(&'a str),
}

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER; none if it is malformed.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut whole = Der(bytes).take(tag::SEQUENCE)?;
        let mut body = whole.take(tag::SEQUENCE)?;
        body.skip(tag::VERSION)?;
        let serial = body.take(tag::INTEGER)?.0;
        let _signature = body.take(tag::SEQUENCE)?;
        let issuer = Name(body.take(tag::SEQUENCE)?.0);
        let mut validity = body.take(tag::SEQUENCE)?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = Name(body.take(tag::SEQUENCE)?.0);
        let key = body.take(tag::SEQUENCE)?.0;
        body.skip(tag::ISSUER_ID)?;
        body.skip(tag::SUBJECT_ID)?;
        let (mut names, mut is_ca) = (Vec::new(), false);
        let (mut authority_key, mut ocsp_url, mut signs_ocsp) = (None, None, false);
        if !body.is_empty() {
            let mut extensions = body.take(tag::EXTENSIONS)?.take(tag::SEQUENCE)?;
            while !extensions.is_empty() {
                let mut extension = extensions.take(tag::SEQUENCE)?;
                let id = extension.take(tag::OID)?.0;
                extension.skip(tag::BOOLEAN)?;
                let mut value = extension.take(tag::OCTETS)?;
                match id {
                    // 2.5.29.17
                    [0x55, 0x1d, 0x11] => names = alt_names(value.take(tag::SEQUENCE)?)?,
                    // 2.5.29.19
                    [0x55, 0x1d, 0x13] => {
                        let mut value = value.take(tag::SEQUENCE)?;
                        is_ca = value.next_is(tag::BOOLEAN) && value.take(tag::BOOLEAN)?.0 != [0];
                    }
                    // 2.5.29.35
                    [0x55, 0x1d, 0x23] => {
                        let id = value.take(tag::SEQUENCE)?.take(tag::KEY_ID);
                        authority_key = id.map(|id| id.0);
                    }
                    // 2.5.29.37
                    [0x55, 0x1d, 0x25] => {
                        let mut usages = value.take(tag::SEQUENCE)?;
                        while let Some(usage) = usages.take(tag::OID) {
                            signs_ocsp |= usage.0 == OCSP_SIGNING;
                        }
                    }
                    // 1.3.6.1.5.5.7.1.1
                    [0x2b, 6, 1, 5, 5, 7, 1, 1] => {
                        ocsp_url = access_by_ocsp(value.take(tag::SEQUENCE)?);
                    }
                    _ => {}
                }
            }
        }
        Some(Self {
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            names,
            is_ca,
            key,
            authority_key,
            ocsp_url,
            signs_ocsp,
        })
    }

    /// Its public key: an `AlgorithmIdentifier` without the tag and length in front, and the key as that has it.
    #[must_use]
    pub fn public_key(&self) -> Option<(&'a [u8], &'a [u8])> {
        let mut key = Der(self.key);
        let algorithm = key.take(tag::SEQUENCE)?.0;
        Some((algorithm, key.take(tag::BITS)?.0.strip_prefix(&[0])?))
    }

    /// The certificate without its signature, as that is of; how it is signed, an `AlgorithmIdentifier` without the
    /// tag and length in front; and the signature. None if `bytes` are no certificate.
    #[must_use]
    pub fn signature(bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
        let mut whole = Der(bytes).take(tag::SEQUENCE)?;
        let signed = whole.peek_whole()?;
        whole.take(tag::SEQUENCE)?;
        let algorithm = whole.take(tag::SEQUENCE)?.0;
        Some((signed, algorithm, whole.take(tag::BITS)?.0.strip_prefix(&[0])?))
    }

    /// The id of a workload (SPIFFE X509-SVID, 2): the only URI, if it is one.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&'a str> {
        let mut uris = self.names.iter().filter_map(|name| match name {
            AltName::Uri(uri) => Some(*uri),
            _ => None,
        });
        let first = uris.next().filter(|uri| uri.starts_with("spiffe://"))?;
        uris.next().is_none().then_some(first)
    }
}

/// 1.3.6.1.5.5.7.3.9
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];

/// 1.3.6.1.5.5.7.48.1
const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1];

/// The first place that is asked by OCSP, among those where there is more about a CA.
fn access_by_ocsp(mut list: Der<'_>) -> Option<&str> {
    loop {
        let mut access = list.take(tag::SEQUENCE)?;
        let how = access.take(tag::OID)?;
        if let (0x86, url) = access.next()?
            && how.0 == OCSP
        {
            return std::str::from_utf8(url).ok().filter(|url| url.is_ascii());
        }
    }
}

fn alt_names(mut list: Der<'_>) -> Option<Vec<AltName<'_>>> {
    let text = |bytes| std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
    let mut names = Vec::new();
    while !list.is_empty() {
        let (kind, value) = list.next()?;
        names.push(match kind {
            0x81 => AltName::Email(text(value)?),
            0x82 => AltName::Dns(text(value)?),
            0x86 => AltName::Uri(text(value)?),
            0x87 => match (<[u8; 4]>::try_from(value), <[u8; 16]>::try_from(value)) {
                (Ok(v4), _) => AltName::Ip(v4.into()),
                (_, Ok(v6)) => AltName::Ip(v6.into()),
                _ => return None,
            },
            _ => continue,
        });
    }
    Some(names)
}

/// `dns:shop.test`; a comma within the name is `%2C`, so that names in a list can be told apart.
impl fmt::Display for AltName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |text: &str| text.replace(',', "%2C");
        match self {
            Self::Dns(name) => write!(f, "dns:{}", escaped(name)),
            Self::Uri(uri) => write!(f, "uri:{}", escaped(uri)),
            Self::Ip(ip) => write!(f, "ip:{ip}"),
            Self::Email(address) => write!(f, "email:{}", escaped(address)),
        }
    }
}

#[cfg(test)]
mod tests;
