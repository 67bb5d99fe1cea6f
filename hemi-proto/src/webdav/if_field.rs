//! The If field (RFC 4918 section 10.4).

use crate::ascii::trim_ows;
use crate::etag::ETag;

/// The conditions of a request: lists of which one at least has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IfField<'a> {
    lists: Vec<List<'a>>,
}

/// Conditions that have to hold all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct List<'a> {
    /// The URI of what they are about; none for what the request is for.
    resource: Option<&'a str>,
    conditions: Vec<Condition<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Condition<'a> {
    /// That the test fails is what is asked for.
    negated: bool,
    test: Test<'a>,
}

/// What is asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test<'a> {
    /// That a lock with this token is on it.
    Token(&'a str),
    /// That this is its entity tag.
    ETag(ETag<'a>),
}

impl<'a> IfField<'a> {
    /// Reads the value of the field; none if it is malformed.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut lists = Vec::new();
        let mut resource = None;
        let mut rest = trim_ows(value);
        while let Some(first) = rest.first() {
            match first {
                b'<' => {
                    // Lists are with a resource either all or not at all.
                    if resource.is_none() && !lists.is_empty() {
                        return None;
                    }
                    let uri;
                    (uri, rest) = bracketed(rest, b'>')?;
                    resource = Some(std::str::from_utf8(uri).ok()?);
                    if trim_ows(rest).first() != Some(&b'(') {
                        return None;
                    }
                }
                b'(' => {
                    let conditions;
                    (conditions, rest) = conditions_of(rest.get(1..)?)?;
                    lists.push(List { resource, conditions });
                }
                _ => return None,
            }
            rest = trim_ows(rest);
        }
        (!lists.is_empty()).then_some(Self { lists })
    }

    /// Whether one of the lists holds, where `test` finds out about a resource, or about what the request
    /// is for.
    pub fn holds(&self, mut test: impl FnMut(Option<&str>, Test<'_>) -> bool) -> bool {
        self.lists.iter().any(|list| {
            let mut conditions = list.conditions.iter();
            conditions.all(|condition| test(list.resource, condition.test) != condition.negated)
        })
    }

    /// All tokens in it: the locks that the client knows of.
    pub fn tokens(&self) -> impl Iterator<Item = &'a str> {
        let conditions = self.lists.iter().flat_map(|list| &list.conditions);
        conditions.filter_map(|condition| match condition.test {
            Test::Token(token) => Some(token),
            Test::ETag(_) => None,
        })
    }
}

/// The conditions of a list, after its `(`, and what follows the list.
fn conditions_of(mut rest: &[u8]) -> Option<(Vec<Condition<'_>>, &[u8])> {
    let mut conditions = Vec::new();
    loop {
        rest = trim_ows(rest);
        let mut negated = false;
        if let Some((b"Not", after)) = rest.split_at_checked(3) {
            (negated, rest) = (true, trim_ows(after));
        }
        let test = match rest.first()? {
            b'<' => {
                let token;
                (token, rest) = bracketed(rest, b'>')?;
                Test::Token(std::str::from_utf8(token).ok()?)
            }
            b'[' => {
                let tag;
                (tag, rest) = etag(rest)?;
                Test::ETag(tag)
            }
            b')' if !negated && !conditions.is_empty() => {
                return Some((conditions, rest.get(1..)?));
            }
            _ => return None,
        };
        conditions.push(Condition { negated, test });
    }
}

/// What stands between the first byte and the next `end`, and what follows that.
fn bracketed(text: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(end, text)?;
    Some((text.get(1..at)?, text.get(at + 1..)?)).filter(|(inner, _)| !inner.is_empty())
}

/// An entity tag in `[` and `]`, of which the latter may stand in the tag too.
fn etag(text: &[u8]) -> Option<(ETag<'_>, &[u8])> {
    let quotes = memchr::memchr(b'"', text)?;
    let end = quotes + 1 + memchr::memchr(b'"', text.get(quotes + 1..)?)?;
    let tag = ETag::parse(text.get(1..=end)?)?;
    (text.get(end + 1) == Some(&b']')).then_some((tag, text.get(end + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it holds where only the lock `a` is on the resource `/r`, and the lock `b`, with the tag
    /// `"t"`, on what the request is for.
    fn holds(value: &str) -> Option<bool> {
        let parsed = IfField::parse(value.as_bytes())?;
        Some(parsed.holds(|resource, test| match (resource, test) {
            (Some("/r"), Test::Token(token)) => token == "a",
            (None, Test::Token(token)) => token == "b",
            (None, Test::ETag(tag)) => tag.opaque() == b"t",
            _ => false,
        }))
    }

    #[test]
    fn evaluated() {
        for (value, expected) in [
            ("(<b>)", Some(true)),
            ("(<a>)", Some(false)),
            ("(<b> [\"t\"])", Some(true)),
            ("(<b>[\"u\"])", Some(false)),
            ("(<a>) (<b>)", Some(true)),
            ("(<a>)(Not <a>)", Some(true)),
            ("(Not<b>)", Some(false)),
            ("(<b> Not [W/\"u]\"])", Some(true)),
            ("</r> (<a>)", Some(true)),
            ("</r> (<b>)", Some(false)),
            ("</x> (<a>) (Not <a>)", Some(true)),
            ("</x>(<a>)</r>(<a>)", Some(true)),
            ("(Not <DAV:no-lock>)", Some(true)),
            ("", None),
            ("()", None),
            ("(Not)", None),
            ("(<b>", None),
            ("(<>)", None),
            ("<b>", None),
            ("</r> </r> (<a>)", None),
            ("(<b>) </r> (<a>)", None),
            ("(<b>) x", None),
            ("([t])", None),
            ("([\"t\")", None),
            ("(b)", None),
        ] {
            assert_eq!(holds(value), expected, "{value}");
        }
    }

    #[test]
    fn tokens_are_told_whatever_is_asked_of_them() {
        let field = IfField::parse(b"</r> (<a> [\"t\"]) (Not <b>)").expect("well formed");
        assert_eq!(field.tokens().collect::<Vec<_>>(), ["a", "b"]);
    }
}
