//! Percent-decodes and normalises paths, for matching rules and finding files.
//!
//! Rules and files see the same normalised path, so no spelling of a path gets around a rule:
//!
//! - percent escapes are decoded once; `.` and `..` segments are removed after that,
//! - a `..` that would leave the root is an error, not the root,
//! - repeated slashes count as one,
//! - NUL and other control bytes, encoded or not, are an error,
//! - an encoded separator (`%2F`, `%5C`) is an error or stays encoded, as the caller chooses; a
//!   backslash is always an error.
//!
//! A proxy that must pass a path on unchanged sends the raw one.

use std::borrow::Cow;
use std::fmt::Write;

use thiserror::Error;

use crate::ascii::hex_value;

/// What to do with `%2F` and `%5C`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodedSeparators {
    /// They are an error: right for files, where they name nothing.
    #[default]
    Refuse,
    /// They stay encoded, in upper case, as part of their segment: for proxied applications that
    /// carry names with slashes in a segment.
    Keep,
}

/// Why a path can't be used. All of these are answered with 400.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// The path does not start with a slash.
    #[error("path is not absolute")]
    NotAbsolute,
    /// A percent sign without two hexadecimal digits.
    #[error("malformed percent escape in path")]
    Escape,
    /// NUL or another control byte, encoded or not.
    #[error("control byte in path")]
    ControlByte,
    /// An encoded slash or a backslash.
    #[error("encoded separator in path")]
    Separator,
    /// A `..` segment that leads above the root.
    #[error("path leads above the root")]
    AboveRoot,
}

/// Whether a segment is `.` or `..`, in any spelling.
#[must_use]
pub fn is_dot_segment(segment: &str) -> bool {
    let (mut rest, mut dots) = (segment, 0);
    while !rest.is_empty() && dots < 3 {
        let dot = [".", "%2e", "%2E"].into_iter().find_map(|dot| rest.strip_prefix(dot));
        let Some(after) = dot else { return false };
        (rest, dots) = (after, dots + 1);
    }
    matches!(dots, 1 | 2)
}

impl PathError {
    /// A short stable name for logs and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path-not-absolute",
            Self::Escape => "path-escape",
            Self::ControlByte => "path-control-byte",
            Self::Separator => "path-separator",
            Self::AboveRoot => "path-above-root",
        }
    }
}

/// Decodes and normalises `raw`, which is a path without query.
///
/// The result starts with a slash, has no empty, `.` or `..` segment (save that it may end with a
/// slash) and may hold any byte but control bytes and backslashes. A path that is already normal
/// costs no allocation.
pub fn normalize(raw: &[u8], separators: EncodedSeparators) -> Result<Cow<'_, [u8]>, PathError> {
    if raw.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    if is_normal(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let decoded = decode(raw, separators)?;
    remove_dot_segments(&decoded).map(Cow::Owned)
}

/// Appends a decoded path as links have it (RFC 3986 section 2.1): slashes stay, and all else that may
/// mean something is encoded.
pub fn push_encoded(link: &mut String, path: &str) {
    for b in path.bytes() {
        match b {
            b'/' | b'-' | b'.' | b'_' | b'~' => link.push(char::from(b)),
            _ if b.is_ascii_alphanumeric() => link.push(char::from(b)),
            // Writing to memory does not fail.
            _ => drop(write!(link, "%{b:02X}")),
        }
    }
}

/// Whether no byte of `path` needs a closer look.
fn is_normal(path: &[u8]) -> bool {
    let mut previous = b'a';
    path.iter().all(|&b| {
        // Also hidden names such as `/.well-known`, which are rare.
        let normal = PLAIN[usize::from(b)] || (matches!(b, b'/' | b'.') && previous != b'/');
        previous = b;
        normal
    })
}

/// The bytes that are normal wherever they stand.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut b = 0;
    while b < 256 {
        plain[b] = !(b as u8).is_ascii_control() && !matches!(b as u8, b'/' | b'.' | b'%' | b'\\');
        b += 1;
    }
    plain
};

fn decode(raw: &[u8], separators: EncodedSeparators) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [b, after @ ..] = rest {
        rest = after;
        if *b != b'%' {
            check_byte(*b)?;
            decoded.push(*b);
            continue;
        }
        let [high, low, after @ ..] = rest else { return Err(PathError::Escape) };
        let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else {
            return Err(PathError::Escape);
        };
        rest = after;
        match (high << 4 | low, separators) {
            (b'/', EncodedSeparators::Keep) => decoded.extend_from_slice(b"%2F"),
            (b'\\', EncodedSeparators::Keep) => decoded.extend_from_slice(b"%5C"),
            (b'/', EncodedSeparators::Refuse) => return Err(PathError::Separator),
            (b, _) => {
                check_byte(b)?;
                decoded.push(b);
            }
        }
    }
    Ok(decoded)
}

fn check_byte(b: u8) -> Result<(), PathError> {
    match b {
        b'\\' => Err(PathError::Separator),
        _ if b.is_ascii_control() => Err(PathError::ControlByte),
        _ => Ok(()),
    }
}

/// RFC 3986 section 5.2.4, with empty segments left out too.
fn remove_dot_segments(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut normal = Vec::with_capacity(path.len());
    let mut is_directory = false;
    for segment in path.split(|&b| b == b'/').skip(1) {
        is_directory = true;
        match segment {
            b"" | b"." => {}
            b".." => {
                let parent = memchr::memrchr(b'/', &normal).ok_or(PathError::AboveRoot)?;
                normal.truncate(parent);
            }
            name => {
                normal.push(b'/');
                normal.extend_from_slice(name);
                is_directory = false;
            }
        }
    }
    if is_directory {
        normal.push(b'/');
    }
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(raw: &str) -> Result<Cow<'_, [u8]>, PathError> {
        normalize(raw.as_bytes(), EncodedSeparators::Refuse)
    }

    #[test]
    fn normalised() {
        for (raw, path) in [
            ("/", "/"),
            ("/a/b.c", "/a/b.c"),
            ("/a/", "/a/"),
            ("/%61", "/a"),
            ("/a%20b", "/a b"),
            ("/%C3%a9", "/é"),
            ("/%2541", "/%41"),
            ("/a//b///c//", "/a/b/c/"),
            ("//a", "/a"),
            ("/./a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a//../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/%2e/a", "/a"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/..a/b..", "/..a/b.."),
            ("/a;b=c/..;/d", "/a;b=c/..;/d"),
            ("/a%3Fb%23", "/a?b#"),
        ] {
            assert_eq!(refuse(raw).as_deref(), Ok(path.as_bytes()), "{raw}");
        }
        assert_eq!(refuse("/%ff").as_deref(), Ok(&b"/\xff"[..]));
    }

    #[test]
    fn encoded_paths_mean_what_they_were() {
        for (path, encoded) in [
            ("/", "/"),
            ("/a-b/c_d.e~", "/a-b/c_d.e~"),
            ("/é?#&<%2F \"", "/%C3%A9%3F%23%26%3C%252F%20%22"),
        ] {
            let mut link = String::new();
            push_encoded(&mut link, path);
            assert_eq!(link, encoded);
            assert_eq!(refuse(encoded).as_deref(), Ok(path.as_bytes()));
        }
    }

    #[test]
    fn plain_paths_are_borrowed() {
        for raw in ["/", "/index.html", "/a/b/c/", "/a-b_c~d/e.f.g", "/é"] {
            assert!(matches!(refuse(raw), Ok(Cow::Borrowed(_))), "{raw}");
        }
    }

    #[test]
    fn refused() {
        use PathError::{AboveRoot, ControlByte, Escape, NotAbsolute, Separator};
        for (raw, error) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("a", NotAbsolute),
            ("/%", Escape),
            ("/%4", Escape),
            ("/%g0", Escape),
            ("/%u0041", Escape),
            ("/%00", ControlByte),
            ("/a\0", ControlByte),
            ("/%0d%0a", ControlByte),
            ("/%7F", ControlByte),
            ("/a%2fb", Separator),
            ("/a%2Fb", Separator),
            ("/a%5cb", Separator),
            ("/a\\b", Separator),
            ("/..%2f", Separator),
            ("/..", AboveRoot),
            ("/../a", AboveRoot),
            ("/a/../../b", AboveRoot),
            ("/%2e%2e/a", AboveRoot),
            ("//../a", AboveRoot),
        ] {
            assert_eq!(refuse(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn kept_separators() {
        let keep = |raw: &'static str| normalize(raw.as_bytes(), EncodedSeparators::Keep);
        for (raw, path) in [
            ("/@scope%2fname", "/@scope%2Fname"),
            ("/a%5Cb", "/a%5Cb"),
            ("/a/..%2f../b", "/a/..%2F../b"),
        ] {
            assert_eq!(keep(raw).as_deref(), Ok(path.as_bytes()), "{raw}");
        }
        assert_eq!(keep("/a\\b"), Err(PathError::Separator));
    }
}
