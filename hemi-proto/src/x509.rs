//! X.509 certificates (RFC 5280), as far as they are shown to people and compared by rules.
//!
//! Nothing here says whether a certificate is to be believed.

mod der;
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
        let _key = body.take(tag::SEQUENCE)?;
        body.skip(tag::ISSUER_ID)?;
        body.skip(tag::SUBJECT_ID)?;
        let (mut names, mut is_ca) = (Vec::new(), false);
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
                    _ => {}
                }
            }
        }
        Some(Self { serial, issuer, subject, not_before, not_after, names, is_ca })
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
