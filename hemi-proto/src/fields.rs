//! The fields of a request: lines for those who look for one, a map for those who want more.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use crate::ascii::trim_ows;

/// The fields of a request's head, in the order of their arrival.
///
/// HTTP/1 sends them as lines, and most requests are answered after a look for one or two: the map that
/// this dereferences to is made when it is first asked for.
#[derive(Clone, Default)]
pub struct Fields {
    /// What the map is made of.
    lines: Bytes,
    count: usize,
    names: Names,
    map: OnceLock<HeaderMap>,
}

impl Fields {
    /// Puts others in their place, of lines that have been checked: a token, a colon, a value and CRLF each.
    pub(crate) fn set_lines(&mut self, lines: Bytes, count: usize, names: Names) {
        self.map.take();
        self.lines = lines;
        self.count = count;
        self.names = names;
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &HeaderName) -> bool {
        self.first(name).is_some()
    }

    /// The value of a field, without making a map; of several the first.
    pub fn first(&self, name: impl AsRef<str>) -> Option<&[u8]> {
        if let Some(map) = self.map.get() {
            return map.get(name.as_ref()).map(HeaderValue::as_bytes);
        }
        let sought = name.as_ref().as_bytes();
        if !self.names.may_have(sought) {
            return None;
        }
        lines(&self.lines)
            .find(|(name, _)| name.eq_ignore_ascii_case(sought))
            .map(|(_, value)| value)
    }

    /// Drops all fields, and the bytes that their values share.
    pub fn clear(&mut self) {
        self.set_lines(Bytes::new(), 0, Names::default());
    }

    /// A map of them, for others to change.
    pub fn to_map(&self) -> HeaderMap {
        self.map.get().cloned().unwrap_or_else(|| self.make_map())
    }

    fn map(&self) -> &HeaderMap {
        self.map.get_or_init(|| self.make_map())
    }

    fn make_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.count);
        for (name, value) in lines(&self.lines) {
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_maybe_shared(self.lines.slice_ref(value));
            if let (Ok(name), Ok(value)) = (name, value) {
                map.append(name, value);
            }
        }
        map
    }
}

impl Deref for Fields {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        self.map()
    }
}

impl DerefMut for Fields {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        self.map();
        self.map.get_mut().expect("made above")
    }
}

impl From<HeaderMap> for Fields {
    fn from(map: HeaderMap) -> Self {
        Self { map: map.into(), ..Self::default() }
    }
}

impl From<Fields> for HeaderMap {
    fn from(fields: Fields) -> Self {
        fields.map();
        fields.map.into_inner().unwrap_or_default()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.map() == other.map()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map().fmt(f)
    }
}

/// Tells of most names at once that there is no such field: a set of hashes of the names there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names(u64);

impl Names {
    pub(crate) fn note(&mut self, name: &[u8]) {
        self.0 |= Self::bit(name);
    }

    fn may_have(self, name: &[u8]) -> bool {
        self.0 & Self::bit(name) != 0
    }

    /// By the first letter, in either case, and the length.
    fn bit(name: &[u8]) -> u64 {
        let first = usize::from(name.first().unwrap_or(&0) & 0x1f);
        1 << ((name.len() * 5 + first) % 64)
    }
}

/// Name and value of each line.
pub(crate) fn lines(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (line, after) = rest.split_at_checked(memchr(b'\n', rest)? + 1)?;
        rest = after;
        let colon = line.iter().position(|&b| b == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((name, trim_ows(value.get(1..value.len() - 2)?)))
    })
}

#[cfg(test)]
mod tests {
    use http::header::{COOKIE, HOST, RANGE};

    use super::*;

    #[test]
    fn lines_and_map_say_the_same() {
        let lines = [("Host", "a:1"), ("aCCept", "b"), ("X", "1"), ("Accept", ""), ("x", " 2\t")];
        let (mut names, mut text) = (Names::default(), String::new());
        for (name, value) in lines {
            names.note(name.as_bytes());
            text += &format!("{name}:{value}\r\n");
        }
        let mut fields = Fields::default();
        fields.set_lines(text.into(), lines.len(), names);
        for _ in 0..2 {
            assert_eq!(fields.first(HOST), Some(&b"a:1"[..]));
            assert_eq!(fields.first("accept"), Some(&b"b"[..]));
            assert!(!fields.has(&COOKIE) && !fields.has(&RANGE));
            assert_eq!(fields.len(), 5);
        }
        let of_x: Vec<_> = fields.get_all("x").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(of_x, [b"1", b"2"]);
        fields.insert(RANGE, HeaderValue::from_static("bytes=0-"));
        assert!(fields.has(&RANGE) && fields.has(&HOST));
        fields.clear();
        assert!(fields.is_empty() && !fields.has(&HOST));
    }
}
