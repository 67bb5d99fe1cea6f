//! Entity tags (RFC 9110 section 8.8.3).

use crate::ascii::trim_ows;

/// An entity tag, borrowed from the text it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> ETag<'a> {
    /// Parses one tag that fills `text`: `"abc"` or `W/"abc"`.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::split_first(text)?;
        rest.is_empty().then_some(tag)
    }

    /// Whether the tag says so itself: `W/"abc"`.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// The bytes between the quotes.
    pub fn opaque(&self) -> &'a [u8] {
        self.opaque
    }

    /// Strong comparison: the same bytes, and neither tag is weak.
    pub fn strong_eq(&self, other: &ETag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison: the same opaque bytes.
    pub fn weak_eq(&self, other: &ETag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// The tag at the start of `text` and what follows it.
    fn split_first(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match text {
            [b'W', b'/', quoted @ ..] => (true, quoted),
            quoted => (false, quoted),
        };
        let [b'"', inner @ ..] = quoted else { return None };
        let end = memchr::memchr(b'"', inner)?;
        let (opaque, rest) = inner.split_at_checked(end)?;
        let valid = opaque.iter().all(|&b| b == 0x21 || (b >= 0x23 && b != 0x7f));
        valid.then_some((Self { weak, opaque }, rest.get(1..)?))
    }
}

/// The tags of one If-Match or If-None-Match line. The list ends where it stops being well formed.
///
/// `*` is no tag; see [`is_any`].
pub fn tags(line: &[u8]) -> impl Iterator<Item = ETag<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let mut list = trim_ows(rest);
        while let [b',', after @ ..] = list {
            list = trim_ows(after);
        }
        let (tag, after) = ETag::split_first(list)?;
        rest = trim_ows(after);
        // Anything but a comma after a tag makes it, and what follows, malformed.
        matches!(rest, [] | [b',', ..]).then_some(tag)
    })
}

/// Whether the line is `*`, which stands for every representation.
pub fn is_any(line: &[u8]) -> bool {
    trim_ows(line) == b"*"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> ETag<'_> {
        ETag::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn compared() {
        // RFC 9110 section 8.8.3.2, the table of comparisons.
        for (a, b, strong, weak) in [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
        ] {
            assert_eq!(tag(a).strong_eq(&tag(b)), strong, "{a} {b}");
            assert_eq!(tag(a).weak_eq(&tag(b)), weak, "{a} {b}");
        }
    }

    #[test]
    fn malformed() {
        for text in
            ["", "a", "\"", "\"a", "a\"", "w/\"a\"", "W/a", "\"a\"b", "\"a b\"", "\"\t\"", "*"]
        {
            assert_eq!(ETag::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn listed() {
        for (line, opaque) in [
            (r#""a""#, vec!["a"]),
            (r#""a", W/"b" ,"c""#, vec!["a", "b", "c"]),
            (r#""a,b",,"c", "#, vec!["a,b", "c"]),
            (r#""""#, vec![""]),
            (r#""a" "b""#, vec![]),
            (r#""a", b, "c""#, vec!["a"]),
            ("*", vec![]),
            ("", vec![]),
        ] {
            let found: Vec<_> = tags(line.as_bytes()).map(|tag| tag.opaque().to_vec()).collect();
            let expected: Vec<_> = opaque.iter().map(|tag| tag.as_bytes().to_vec()).collect();
            assert_eq!(found, expected, "{line}");
        }
    }
}
