//! Weights in fields that say what a client likes (RFC 9110 section 12.4.2).

use http::header::{HeaderMap, HeaderName};

use crate::ascii::{list_elements, trim_ows};

/// A weight from 0, which refuses, to 1; in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quality(u16);

impl Quality {
    const ONE: Self = Self(1000);

    /// Whether what has this weight is refused.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Reads the weight among the parameters of an element; 1 if there is none.
    fn among<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let q = parameters.find_map(|parameter| match parameter {
            [b'q' | b'Q', b'=', value @ ..] => Some(value),
            _ => None,
        });
        let Some(q) = q else { return Some(Self::ONE) };
        let (whole, fraction) = match q {
            [whole] => (whole, &[][..]),
            [whole, b'.', fraction @ ..] => (whole, fraction),
            _ => return None,
        };
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        // More digits than the three that are allowed say nothing of importance.
        let digits = fraction.iter().chain(b"000").take(3);
        let thousandths = digits.fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
        match (whole, thousandths) {
            (b'0', _) => Some(Self(thousandths)),
            (b'1', 0) => Some(Self::ONE),
            _ => None,
        }
    }
}

/// The elements of all lines of a field with their weights; those with a malformed one are left out.
pub(crate) fn weighted(
    headers: &HeaderMap,
    name: HeaderName,
) -> impl Iterator<Item = (&[u8], Quality)> {
    let lines = headers.get_all(name).iter();
    lines.flat_map(|line| list_elements(line.as_bytes())).filter_map(|element| {
        let mut parts = element.split(|&b| b == b';').map(trim_ows);
        let value = parts.next()?;
        Some((value, Quality::among(parts)?))
    })
}
