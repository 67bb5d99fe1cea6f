//! Query strings as name and value pairs (the `application/x-www-form-urlencoded` syntax).

use std::borrow::Cow;

use crate::ascii::hex_value;

/// The pairs of a query without its `?`, decoded, in order. Empty parts between `&` are left out.
///
/// A pair without `=` has an empty value. `+` stands for a space; a percent sign without two
/// hexadecimal digits stands for itself.
pub fn pairs(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    raw_pairs(query).map(|(name, value)| (decode(name), decode(value)))
}

/// The decoded value of the first pair with this name.
pub fn value<'a>(query: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    raw_pairs(query).find(|(raw, _)| decode(raw).as_ref() == name).map(|(_, value)| decode(value))
}

/// How many pairs there are.
pub fn count(query: &[u8]) -> usize {
    raw_pairs(query).count()
}

fn raw_pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let (name, rest) = pair.split_at_checked(equals).unwrap_or((pair, &[]));
        (name, rest.get(1..).unwrap_or_default())
    })
}

fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [b, after @ ..] = rest {
        rest = after;
        match (*b, after) {
            (b'+', _) => decoded.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex_value(*high), hex_value(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    rest = after;
                }
                _ => decoded.push(b'%'),
            },
            (b, _) => decoded.push(b),
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoded() {
        for (query, expected) in [
            ("", vec![]),
            ("&&", vec![]),
            ("a", vec![("a", "")]),
            ("a=", vec![("a", "")]),
            ("=b", vec![("", "b")]),
            ("a=b=c", vec![("a", "b=c")]),
            ("a=1&b=2&a=3", vec![("a", "1"), ("b", "2"), ("a", "3")]),
            ("a+b=c%20d%2B", vec![("a b", "c d+")]),
            ("%61%26=%3D", vec![("a&", "=")]),
            ("a=%&b=%4&c=%zz&d=%%41", vec![("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "%A")]),
            ("a;b=1", vec![("a;b", "1")]),
        ] {
            let found: Vec<_> = pairs(query.as_bytes()).collect();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
                .collect();
            assert_eq!(found, expected, "{query}");
            assert_eq!(count(query.as_bytes()), expected.len(), "{query}");
        }
    }

    #[test]
    fn found_by_decoded_name() {
        assert_eq!(value(b"a=1&%62=2&b=3", b"b").as_deref(), Some(&b"2"[..]));
        assert_eq!(value(b"a=1", b"b"), None);
    }
}
