//! Reads Cookie fields (RFC 6265 section 4.2) and makes Set-Cookie ones.

use http::header::{COOKIE, HeaderMap};

use crate::ascii::trim_ows;

pub use self::set::{CookieError, SameSite, SetCookie};

mod set;

/// The name and value pairs of one Cookie line, as they were sent: nothing is decoded, and quotes
/// belong to the value. Parts without `=` or without a name are left out.
pub fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|&b| b == b';').filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        let name = trim_ows(pair.get(..equals)?);
        (!name.is_empty()).then_some((name, trim_ows(pair.get(equals + 1..)?)))
    })
}

/// The pairs of all Cookie lines, in order.
pub fn all(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes()))
}

/// The value of the first cookie with this name, which is case-sensitive, in any Cookie line.
pub fn value<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    all(headers).find(|(found, _)| *found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn split() {
        for (line, expected) in [
            ("", vec![]),
            ("a=1", vec![("a", "1")]),
            ("a=1; b=2", vec![("a", "1"), ("b", "2")]),
            ("a=1;b=2 ;; c = 3", vec![("a", "1"), ("b", "2"), ("c", "3")]),
            ("a=b=c", vec![("a", "b=c")]),
            ("a=\"x\"", vec![("a", "\"x\"")]),
            ("a=", vec![("a", "")]),
            ("a; =b; c=d", vec![("c", "d")]),
        ] {
            let found: Vec<_> = pairs(line.as_bytes()).collect();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn found_in_any_line() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; b=2"));
        headers.append(COOKIE, HeaderValue::from_static("b=3; c=4"));
        assert_eq!(value(&headers, b"b"), Some(&b"2"[..]));
        assert_eq!(value(&headers, b"c"), Some(&b"4"[..]));
        assert_eq!(value(&headers, b"C"), None);
        assert_eq!(all(&headers).count(), 4);
    }
}
