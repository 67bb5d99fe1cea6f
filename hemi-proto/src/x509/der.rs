//! Values in DER (X.690), one after the other.

/// What is left to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Der<'a>(pub(crate) &'a [u8]);

/// The first byte of values.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BITS: u8 = 0x03;
    pub(crate) const OCTETS: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    pub(crate) const VERSION: u8 = 0xa0;
    /// Of the key that has signed.
    pub(crate) const KEY_ID: u8 = 0x80;
    pub(crate) const ISSUER_ID: u8 = 0x81;
    pub(crate) const SUBJECT_ID: u8 = 0x82;
    pub(crate) const EXTENSIONS: u8 = 0xa3;
}

impl<'a> Der<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn next_is(self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The next value, with its tag.
    pub(crate) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (len, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next value, with its tag and length in front, which is still to be read.
    pub(crate) fn peek_whole(self) -> Option<&'a [u8]> {
        let mut rest = self;
        rest.next()?;
        self.0.get(..self.0.len() - rest.0.len())
    }

    /// The next value, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Option<Self> {
        if !self.next_is(tag) {
            return None;
        }
        self.next().map(|(_, value)| Self(value))
    }

    /// Skips the next value if it has this tag.
    pub(crate) fn skip(&mut self, tag: u8) -> Option<()> {
        if self.next_is(tag) { self.next().map(|_| ()) } else { Some(()) }
    }

    /// A time (RFC 5280, 4.1.2.5), in seconds since 1970.
    pub(crate) fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let digits = text.strip_suffix(b"Z")?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut pairs =
            digits.chunks_exact(2).map(|pair| i64::from((pair[0] - b'0') * 10 + (pair[1] - b'0')));
        let mut pair = || pairs.next();
        let year = match (tag, digits.len()) {
            (tag::UTC_TIME, 12) => {
                pair().map(|year| if year < 50 { 2000 + year } else { 1900 + year })
            }
            (tag::TIME, 14) => pair().and_then(|century| Some(century * 100 + pair()?)),
            _ => None,
        }?;
        let (month, day, hour, minute, second) = (pair()?, pair()?, pair()?, pair()?, pair()?);
        let in_range = (1..=12).contains(&month) && (1..=31).contains(&day);
        if !in_range || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
    }
}

/// Days from 1970 to a date of the Gregorian calendar: years are counted from March, so that leap days
/// come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let in_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year
        - 719_468
}
