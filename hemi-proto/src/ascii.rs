//! Byte classes and small ASCII helpers that several parsers share.

use bytes::BufMut;

/// Whether `b` may stand in a token (RFC 9110 section 5.6.2): methods, field names, extensions.
pub(crate) const fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Whether `b` is a control byte that no head or chunk line may carry (HTAB is allowed).
pub(crate) const fn is_forbidden_control(b: u8) -> bool {
    (b < 0x20 && b != b'\t') || b == 0x7f
}

/// The value of a hexadecimal digit.
pub(crate) const fn hex_value(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// Strips optional whitespace (RFC 9110 section 5.6.3) from both ends.
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The non-empty elements of a comma-separated list of tokens (RFC 9110 section 5.6.1).
pub(crate) fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim_ows).filter(|element| !element.is_empty())
}

/// Decimal digits only, without sign or space; `None` when empty, malformed or over `u64`.
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &b| match b {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// Appends `value` in decimal.
pub fn push_decimal(out: &mut impl BufMut, value: u64) {
    push_digits(out, value, 10);
}

/// Appends `value` in lower-case hexadecimal.
pub fn push_hex(out: &mut impl BufMut, value: u64) {
    push_digits(out, value, 16);
}

fn push_digits(out: &mut impl BufMut, mut value: u64, base: u64) {
    // u64::MAX has 20 decimal digits.
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    for slot in digits.iter_mut().rev() {
        let digit = (value % base) as u8;
        *slot = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        start -= 1;
        value /= base;
        if value == 0 {
            break;
        }
    }
    out.put_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn digits_read_and_written() {
        for value in [0, 1, 9, 10, 255, 65536, u64::MAX] {
            let mut out = BytesMut::new();
            push_decimal(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
            assert_eq!(parse_decimal(&out), Some(value));
            out.clear();
            push_hex(&mut out, value);
            assert_eq!(out, format!("{value:x}").as_bytes());
        }
        for bad in ["", "+1", "-1", " 1", "1 ", "1_0", "0x1", "18446744073709551616", "1e3"] {
            assert_eq!(parse_decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn lists_skip_empty_elements() {
        let elements: Vec<_> = list_elements(b" , a,\tb ,,c").collect();
        assert_eq!(elements, [b"a", b"b", b"c"]);
    }
}
