//! The request target in its four forms (RFC 9112 section 3.2).

use std::ops::Range;

use bytes::{Buf, Bytes};
use http::Method;

use super::HeadError;
use crate::ascii::hex_value;
use crate::authority::Authority;

/// A checked request target that shares the bytes of its head.
///
/// All bytes are visible ASCII, every percent escape is well formed, and there is no fragment.
/// Besides what the URI grammar allows, `|`, `[` and `]` may stand in a path, and those and
/// `` \ ^ ` { } `` in a query, since browsers send them there as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    form: TargetForm,
    /// Path and query; the authority in authority-form.
    text: Bytes,
    /// Where the path ends in `text`.
    path_end: usize,
    /// The path is as [`normalize`](crate::path::normalize) would have it. Others may be, too.
    normal: bool,
}

/// Which of the four forms a target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`
    Absolute(Scheme),
    /// `host:port`, only for CONNECT
    Authority,
    /// `*`, only for OPTIONS
    Asterisk,
}

/// The scheme of an absolute-form target; others than these are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Default for Target {
    /// The target of nothing: an empty path.
    fn default() -> Self {
        Self { form: TargetForm::Origin, text: Bytes::new(), path_end: 0, normal: false }
    }
}

impl Target {
    /// Parses what stands between method and version, with the authority if the form carries one.
    pub fn parse(method: &Method, raw: Bytes) -> Result<(Self, Option<Authority>), HeadError> {
        let (mut target, at) = (Self::default(), 0..raw.len());
        let authority = target.read(method, raw, at)?;
        Ok((target, authority))
    }

    /// The same for a part of some bytes, and in the place of another target.
    pub(crate) fn read(
        &mut self,
        method: &Method,
        head: Bytes,
        at: Range<usize>,
    ) -> Result<Option<Authority>, HeadError> {
        self.text = head;
        self.text.truncate(at.end);
        self.text.advance(at.start);
        if self.text.first() == Some(&b'/') && *method != Method::CONNECT {
            self.check_path(TargetForm::Origin)?;
            return Ok(None);
        }
        let raw = std::mem::take(&mut self.text);
        let (target, authority) = match raw.first() {
            _ if *method == Method::CONNECT => parse_authority_form(raw)?,
            Some(b'*') if raw.len() == 1 => (Self::asterisk(method, TargetForm::Asterisk)?, None),
            _ => parse_absolute_form(method, raw)?,
        };
        *self = target;
        Ok(authority)
    }

    /// Has what was refused be shown: its bytes, those that no target has encoded.
    #[cold]
    pub(crate) fn show_refused(&mut self) {
        let mut shown = Vec::with_capacity(self.text.len());
        for &b in &*self.text {
            if is_target_byte(b) {
                shown.push(b);
            } else {
                let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value & 15)];
                shown.extend([b'%', digit(b >> 4), digit(b)]);
            }
        }
        let path_end = shown.iter().position(|&b| b == b'?').unwrap_or(shown.len());
        *self = Self { text: shown.into(), path_end, ..Self::default() };
    }

    /// Which form the target has.
    pub fn form(&self) -> TargetForm {
        self.form
    }

    /// The path as it was sent: starts with `/`, or is `*`, or is empty in authority-form.
    pub fn path(&self) -> &str {
        self.as_str().get(..self.path_end).unwrap_or_default()
    }

    /// The same, as the bytes it was sent as.
    pub fn raw_path(&self) -> &[u8] {
        self.text.get(..self.path_end).unwrap_or_default()
    }

    /// Whether the path is seen at once to be decoded and normalised, as most are.
    pub fn has_normal_path(&self) -> bool {
        self.normal
    }

    /// The query as it was sent, without its `?`; `Some("")` for a bare `?`.
    pub fn query(&self) -> Option<&str> {
        self.as_str().get(self.path_end + 1..)
    }

    /// Path and query as they were sent; what an origin-form target consists of.
    pub fn path_and_query(&self) -> &str {
        if self.form == TargetForm::Authority { "" } else { self.as_str() }
    }

    /// The bytes of [`path_and_query`](Self::path_and_query), shared.
    pub fn path_and_query_bytes(&self) -> Bytes {
        if self.form == TargetForm::Authority { Bytes::new() } else { self.text.clone() }
    }

    /// The bytes of [`path`](Self::path), shared.
    pub fn path_bytes(&self) -> Bytes {
        self.text.slice(..self.path_end)
    }

    /// The bytes of [`query`](Self::query), shared.
    pub fn query_bytes(&self) -> Option<Bytes> {
        (self.path_end < self.text.len()).then(|| self.text.slice(self.path_end + 1..))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    fn with_path(form: TargetForm, text: Bytes) -> Result<Self, HeadError> {
        let mut target = Self { text, ..Self::default() };
        target.check_path(form)?;
        Ok(target)
    }

    /// Completes a target whose text is path and query.
    fn check_path(&mut self, form: TargetForm) -> Result<(), HeadError> {
        let text = &*self.text;
        let simple = simple_len(text);
        self.normal = matches!(text.get(simple), None | Some(b'?'));
        self.path_end = if simple == text.len() { simple } else { check_path_and_query(text)? };
        self.form = form;
        Ok(())
    }

    fn asterisk(method: &Method, form: TargetForm) -> Result<Self, HeadError> {
        if *method != Method::OPTIONS {
            return Err(HeadError::TargetForm);
        }
        Ok(Self { form, text: Bytes::from_static(b"*"), path_end: 1, normal: false })
    }
}

fn parse_authority_form(raw: Bytes) -> Result<(Target, Option<Authority>), HeadError> {
    if raw.contains(&b'/') || raw.as_ref() == b"*" {
        return Err(HeadError::TargetForm);
    }
    let authority = parse_authority(raw)?;
    // RFC 9110 section 9.3.6: a missing or invalid port is an error, there is no default.
    if authority.is_empty() || authority.port().is_none_or(|port| port == 0) {
        return Err(HeadError::MalformedAuthority);
    }
    Ok((Target { form: TargetForm::Authority, ..Target::default() }, Some(authority)))
}

fn parse_absolute_form(
    method: &Method,
    raw: Bytes,
) -> Result<(Target, Option<Authority>), HeadError> {
    let (scheme, start) = [(Scheme::Http, "http://"), (Scheme::Https, "https://")]
        .into_iter()
        .find(|(_, prefix)| {
            raw.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        })
        .map(|(scheme, prefix)| (scheme, prefix.len()))
        .ok_or(HeadError::MalformedTarget)?;
    let rest = raw.slice(start..);
    let authority_end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let authority = parse_authority(rest.slice(..authority_end))?;
    if authority.is_empty() {
        return Err(HeadError::MalformedAuthority);
    }
    let form = TargetForm::Absolute(scheme);
    let target = match rest.get(authority_end) {
        Some(b'/') => Target::with_path(form, rest.slice(authority_end..))?,
        // An empty path means `*` to OPTIONS (RFC 9112 section 3.2.4) and `/` to the others.
        None if *method == Method::OPTIONS => Target::asterisk(method, form)?,
        _ => {
            let query = rest.get(authority_end..).unwrap_or_default();
            Target::with_path(form, Bytes::from([b"/", query].concat()))?
        }
    };
    Ok((target, Some(authority)))
}

pub(super) fn parse_authority(text: Bytes) -> Result<Authority, HeadError> {
    Authority::parse(text).map_err(|_| HeadError::MalformedAuthority)
}

/// How many bytes at the start are those of a path in which nothing has to be decoded or taken out.
fn simple_len(text: &[u8]) -> usize {
    let mut previous = b'a';
    let mut is_simple = |b: u8| {
        let simple = SIMPLE[usize::from(b)] || (matches!(b, b'/' | b'.') && previous != b'/');
        previous = b;
        simple
    };
    text.iter().position(|&b| !is_simple(b)).unwrap_or(text.len())
}

/// Checks every byte of `text` and finds where its path ends.
fn check_path_and_query(text: &[u8]) -> Result<usize, HeadError> {
    let mut path_end = None;
    let mut bytes = text.iter().enumerate();
    while let Some((at, &b)) = bytes.next() {
        match CLASSES[usize::from(b)] {
            Class::Plain => {}
            Class::Percent => {
                let escape = (bytes.next(), bytes.next());
                let (Some((_, &high)), Some((_, &low))) = escape else {
                    return Err(HeadError::MalformedTarget);
                };
                if hex_value(high).is_none() || hex_value(low).is_none() {
                    return Err(HeadError::MalformedTarget);
                }
            }
            Class::Question => path_end = path_end.or(Some(at)),
            Class::QueryOnly if path_end.is_some() => {}
            Class::QueryOnly | Class::Forbidden => return Err(HeadError::MalformedTarget),
        }
    }
    Ok(path_end.unwrap_or(text.len()))
}

/// Whether `b` may stand anywhere in a target that is written to a peer.
pub(super) fn is_target_byte(b: u8) -> bool {
    !matches!(CLASSES[usize::from(b)], Class::Forbidden)
}

/// The bytes of which a path may have any number in a row.
const SIMPLE: [bool; 256] = {
    let mut simple = [false; 256];
    let mut b = 0;
    while b < 256 {
        let dot_or_slash = matches!(b as u8, b'.' | b'/');
        simple[b] = matches!(CLASSES[b], Class::Plain) && !dot_or_slash;
        b += 1;
    }
    simple
};

#[derive(Clone, Copy)]
enum Class {
    Plain,
    Percent,
    Question,
    QueryOnly,
    Forbidden,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Forbidden; 256];
    let mut b = 0x21;
    while b < 0x7f {
        classes[b as usize] = match b {
            b'%' => Class::Percent,
            b'?' => Class::Question,
            b'\\' | b'^' | b'`' | b'{' | b'}' => Class::QueryOnly,
            b'"' | b'#' | b'<' | b'>' => Class::Forbidden,
            _ => Class::Plain,
        };
        b += 1u8;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, raw: &str) -> Result<(Target, Option<Authority>), HeadError> {
        let method = Method::from_bytes(method.as_bytes()).expect("method");
        Target::parse(&method, Bytes::copy_from_slice(raw.as_bytes()))
    }

    #[test]
    fn four_forms() {
        use TargetForm::{Absolute, Asterisk, Authority, Origin};
        for (method, raw, form, path, query, authority) in [
            ("GET", "/", Origin, "/", None, None),
            ("GET", "/a/b?c=d?e", Origin, "/a/b", Some("c=d?e"), None),
            ("GET", "/a?", Origin, "/a", Some(""), None),
            ("GET", "//a//b", Origin, "//a//b", None, None),
            ("GET", "/%2F%00%7e", Origin, "/%2F%00%7e", None, None),
            ("GET", "/a|[b]?{c}^`\\|", Origin, "/a|[b]", Some("{c}^`\\|"), None),
            ("OPTIONS", "/a", Origin, "/a", None, None),
            ("OPTIONS", "*", Asterisk, "*", None, None),
            ("GET", "http://A.b/c?d", Absolute(Scheme::Http), "/c", Some("d"), Some("a.b")),
            ("GET", "HTTPS://a:1", Absolute(Scheme::Https), "/", None, Some("a:1")),
            ("GET", "http://a?x", Absolute(Scheme::Http), "/", Some("x"), Some("a")),
            ("OPTIONS", "http://a", Absolute(Scheme::Http), "*", None, Some("a")),
            ("CONNECT", "a:443", Authority, "", None, Some("a:443")),
            ("CONNECT", "[::1]:1", Authority, "", None, Some("[::1]:1")),
        ] {
            let (target, found) = parse(method, raw).expect(raw);
            assert_eq!(target.form(), form, "{raw}");
            assert_eq!(target.path(), path, "{raw}");
            assert_eq!(target.path_bytes(), path, "{raw}");
            assert_eq!(target.query(), query, "{raw}");
            assert_eq!(target.query_bytes().as_deref(), query.map(str::as_bytes), "{raw}");
            assert_eq!(found.as_ref().map(|found| found.as_str()), authority, "{raw}");
        }
    }

    #[test]
    fn what_was_refused_can_be_shown() {
        for (raw, shown, path) in [
            ("/caf\u{e9}?\u{e9}\"", "/caf%C3%A9?%C3%A9%22", "/caf%C3%A9"),
            ("/%zz\x7f", "/%zz%7F", "/%zz%7F"),
        ] {
            let (mut target, raw) = (Target::default(), Bytes::from_static(raw.as_bytes()));
            let at = 0..raw.len();
            assert!(target.read(&Method::GET, raw, at).is_err());
            target.show_refused();
            assert_eq!((target.path_and_query(), target.path()), (shown, path));
        }
    }

    #[test]
    fn a_path_that_is_seen_to_be_normal_is() {
        use crate::path::{EncodedSeparators, normalize};
        for (raw, seen) in [
            ("/", true),
            ("/a/b.c/", true),
            ("/a?/../%2e", true),
            ("/a.", true),
            ("//", false),
            ("/a//b", false),
            ("/./a", false),
            ("/a/..", false),
            ("/.a", false),
            ("/%61", false),
            ("/a?b%", false),
        ] {
            let Ok((target, _)) = parse("GET", raw) else { continue };
            assert_eq!(target.has_normal_path(), seen, "{raw}");
            let normal = normalize(target.raw_path(), EncodedSeparators::Keep).expect(raw);
            assert!(!seen || *normal == *target.raw_path(), "{raw}");
        }
        assert!(!parse("OPTIONS", "*").expect("asterisk").0.has_normal_path());
    }

    #[test]
    fn refused() {
        use HeadError::{MalformedAuthority, MalformedTarget, TargetForm};
        for (method, raw, error) in [
            ("GET", "", MalformedTarget),
            ("GET", "a", MalformedTarget),
            ("GET", "?a", MalformedTarget),
            ("GET", "*", TargetForm),
            ("OPTIONS", "**", MalformedTarget),
            ("GET", "/a#b", MalformedTarget),
            ("GET", "/a?b#c", MalformedTarget),
            ("GET", "/\"", MalformedTarget),
            ("GET", "/<", MalformedTarget),
            ("GET", "/a\\b", MalformedTarget),
            ("GET", "/{a}", MalformedTarget),
            ("GET", "/a b", MalformedTarget),
            ("GET", "/\x7f", MalformedTarget),
            ("GET", "/\u{e9}", MalformedTarget),
            ("GET", "/%", MalformedTarget),
            ("GET", "/%4", MalformedTarget),
            ("GET", "/%4g", MalformedTarget),
            ("GET", "/%%41", MalformedTarget),
            ("GET", "/a?%zz", MalformedTarget),
            ("GET", "a.b:80", MalformedTarget),
            ("GET", "http:/a", MalformedTarget),
            ("GET", "ftp://a/", MalformedTarget),
            ("GET", "http://", MalformedAuthority),
            ("GET", "http:///a", MalformedAuthority),
            ("GET", "http://u@a/", MalformedAuthority),
            ("GET", "http://a:99999/", MalformedAuthority),
            ("GET", "http://a/#f", MalformedTarget),
            ("CONNECT", "/", TargetForm),
            ("CONNECT", "*", TargetForm),
            ("CONNECT", "http://a:1/", TargetForm),
            ("CONNECT", "a", MalformedAuthority),
            ("CONNECT", "a:", MalformedAuthority),
            ("CONNECT", "a:0", MalformedAuthority),
            ("CONNECT", ":443", MalformedAuthority),
            ("CONNECT", "u@a:443", MalformedAuthority),
        ] {
            assert_eq!(parse(method, raw).err(), Some(error), "{method} {raw:?}");
        }
    }
}
