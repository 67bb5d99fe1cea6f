//! The fields of a message: lines for those who look for one, a map for those who want more.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use crate::ascii::{is_forbidden_control, trim_ows};

/// The fields of a head, in the order of their arrival.
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

    /// Whether the map was made: then it is what counts.
    pub fn is_map(&self) -> bool {
        self.map.get().is_some()
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

    /// The values of all fields of this name, without making a map.
    pub fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let may_have = self.map.get().is_some() || self.names.may_have(name.as_str().as_bytes());
        let lines = may_have.then(|| self.lines()).into_iter().flatten();
        lines.filter(|(of, _)| of.eq_ignore_ascii_case(name.as_str().as_bytes())).map(|(_, v)| v)
    }

    /// Name and value of each field, without making a map. A name may have letters in upper case.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let map = self.map.get();
        let of_map = map.into_iter().flatten();
        let of_map = of_map.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        of_map.chain(lines(if map.is_some() { &[] } else { &self.lines }))
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

/// Fields as HTTP/1 sends them, one after the other: for who passes a message on.
#[derive(Debug, Default)]
pub struct FieldLines(BytesMut);

impl FieldLines {
    /// None yet, with room in this buffer.
    #[must_use]
    pub fn in_buffer(mut buffer: BytesMut) -> Self {
        buffer.clear();
        Self(buffer)
    }

    /// The memory.
    #[must_use]
    pub fn into_buffer(self) -> BytesMut {
        self.0
    }

    /// Adds a field of a head that was read.
    pub fn pass(&mut self, name: &[u8], value: &[u8]) {
        debug_assert!(!value.iter().any(|&b| is_forbidden_control(b)), "checked when it was read");
        self.0.reserve(name.len() + value.len() + 4);
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }

    /// Adds a field.
    pub fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.pass(name.as_str().as_bytes(), value.as_bytes());
    }

    /// Adds a field whose value is a list of these; nothing if they are empty. Those that no field can have
    /// are left out.
    pub fn put_list<'a>(&mut self, name: &HeaderName, elements: impl Iterator<Item = &'a [u8]>) {
        let start = self.0.len();
        self.0.extend_from_slice(name.as_str().as_bytes());
        self.0.extend_from_slice(b": ");
        let values = self.0.len();
        for element in elements {
            if element.iter().any(|&b| is_forbidden_control(b)) || element.is_empty() {
                continue;
            }
            if self.0.len() > values {
                self.0.extend_from_slice(b", ");
            }
            self.0.extend_from_slice(element);
        }
        match self.0.len() > values {
            true => self.0.extend_from_slice(b"\r\n"),
            false => self.0.truncate(start),
        }
    }

    /// All of them, each with its line end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Name and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        lines(&self.0)
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

    #[test]
    fn lines_are_found_before_and_after_a_map_is_made() {
        let (mut names, text) = (Names::default(), "A: 1\r\nb: 2\r\na: 3\r\n");
        names.note(b"A");
        names.note(b"b");
        let mut fields = Fields::default();
        fields.set_lines(text.into(), 3, names);
        let name = HeaderName::from_static("a");
        for _ in 0..2 {
            assert_eq!(fields.all(&name).collect::<Vec<_>>(), [b"1", b"3"]);
            assert_eq!(fields.all(&COOKIE).count(), 0);
            assert_eq!(fields.lines().count(), 3);
            assert_eq!(fields.len(), 3);
        }
    }

    #[test]
    fn no_element_begins_another_line() {
        let mut out = FieldLines::default();
        out.put(&HOST, &HeaderValue::from_static("a"));
        out.put_list(&COOKIE, [&b"a"[..], b"b\r\nx: y", b"", b"c"].into_iter());
        out.put_list(&RANGE, [&b"\n"[..]].into_iter());
        assert_eq!(out.as_bytes(), b"host: a\r\ncookie: a, c\r\n");
        assert_eq!(out.iter().count(), 2);
    }
}
