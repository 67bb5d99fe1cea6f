//! Distinguished names (RFC 5280, 4.1.2.4), and how they are written (RFC 4514).

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use super::der::{Der, tag};

/// A distinguished name. Written as `CN=mia,O=Shop`: what is most particular first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(pub(crate) &'a [u8]);

/// Short forms of what attributes are called.
const ATTRIBUTES: [(&[u8], &str); 11] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

impl<'a> Name<'a> {
    /// Whether it is this one, in DER without the tag and length in front.
    #[must_use]
    pub fn is(&self, der: &[u8]) -> bool {
        self.0 == der
    }

    /// The value of the last common name, if there is one.
    #[must_use]
    pub fn common_name(&self) -> Option<Cow<'a, str>> {
        let mut found = None;
        let mut sets = Der(self.0);
        while let Some(mut set) = sets.take(tag::SET) {
            while let Some((id, kind, value)) = attribute(&mut set) {
                if id == ATTRIBUTES[0].0 {
                    found = text(kind, value).or(found);
                }
            }
        }
        found
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut sets, mut all) = (Der(self.0), Vec::new());
        while let Some(set) = sets.take(tag::SET) {
            all.push(set);
        }
        for (at, mut set) in all.into_iter().rev().enumerate() {
            let mut separator = if at == 0 { "" } else { "," };
            while let Some((id, kind, value)) = attribute(&mut set) {
                f.write_str(separator)?;
                separator = "+";
                write_attribute(f, id, kind, value)?;
            }
        }
        Ok(())
    }
}

fn attribute<'a>(set: &mut Der<'a>) -> Option<(&'a [u8], u8, &'a [u8])> {
    let mut attribute = set.take(tag::SEQUENCE)?;
    let id = attribute.take(tag::OID)?.0;
    let (kind, value) = attribute.next()?;
    Some((id, kind, value))
}

fn write_attribute(f: &mut fmt::Formatter<'_>, id: &[u8], kind: u8, value: &[u8]) -> fmt::Result {
    let known = ATTRIBUTES.iter().find(|(known, _)| *known == id);
    match known {
        Some((_, name)) => f.write_str(name)?,
        None => write_oid(f, id)?,
    }
    f.write_char('=')?;
    match text(kind, value).filter(|_| known.is_some()) {
        Some(text) => write_escaped(f, &text),
        None => {
            write!(f, "#{kind:02x}")?;
            match value.len() {
                len @ 0..=0x7f => write!(f, "{len:02x}")?,
                len => write!(f, "84{:08x}", len as u32)?,
            }
            value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
}

/// The text of a value, if it is one of a kind that is known.
fn text(kind: u8, value: &[u8]) -> Option<Cow<'_, str>> {
    match kind {
        // UTF8String, NumericString, PrintableString, IA5String
        0x0c | 0x12 | 0x13 | 0x16 => std::str::from_utf8(value).ok().map(Cow::Borrowed),
        // TeletexString, which is used as Latin-1
        0x14 => Some(value.iter().map(|byte| char::from(*byte)).collect::<String>().into()),
        // BMPString
        0x1e if value.len().is_multiple_of(2) => {
            let units = value.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            char::decode_utf16(units).collect::<Result<String, _>>().ok().map(Cow::Owned)
        }
        _ => None,
    }
}

/// RFC 4514, 2.4; control characters are escaped too.
fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{c}")?,
            '#' if at == 0 => f.write_str("\\#")?,
            ' ' if at == 0 || at == last => f.write_str("\\ ")?,
            c if c.is_control() => {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().try_for_each(|byte| write!(f, "\\{byte:02x}"))?;
            }
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

fn write_oid(f: &mut fmt::Formatter<'_>, id: &[u8]) -> fmt::Result {
    let (mut number, mut first) = (0_u64, true);
    for byte in id {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if first {
            let top = (number / 40).min(2);
            write!(f, "{top}.{}", number - top * 40)?;
            first = false;
        } else {
            write!(f, ".{number}")?;
        }
        number = 0;
    }
    Ok(())
}
