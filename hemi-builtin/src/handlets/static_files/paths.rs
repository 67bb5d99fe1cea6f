//! Paths: the prefix that stands for the directory, and what is kept from everybody.

use std::borrow::Cow;

/// What is kept from everybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Segments that start with a dot.
    pub(super) hidden: bool,
    /// Copies of files.
    pub(super) copies: bool,
}

impl Kept {
    /// Whether a path is kept: below the root, without a slash in front.
    pub(super) fn keeps(self, path: &str) -> bool {
        let bytes = path.as_bytes();
        let mut extension = &[][..];
        // Most paths are too short for a better search to pay.
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'.') {
            let (before, after) = bytes.split_at(at);
            if self.hidden && matches!(before, [] | [.., b'/']) && !is_well_known(after) {
                return true;
            }
            extension = after;
        }
        self.copies && (path.ends_with('~') || is_copy(extension))
    }
}

/// RFC 8615.
fn is_well_known(path: &[u8]) -> bool {
    matches!(path.strip_prefix(b".well-known"), Some([] | [b'/', ..]))
}

/// Copies of scripts and configs show what the originals keep to themselves.
fn is_copy(extension: &[u8]) -> bool {
    const COPIES: [&[u8]; 5] = [b".bak", b".old", b".orig", b".save", b".swp"];
    COPIES.iter().any(|copy| extension.eq_ignore_ascii_case(copy))
}

/// The path of an entry of a directory; that of the root is empty.
pub(super) fn join<'n>(directory: &str, name: &'n str) -> Cow<'n, str> {
    if directory.is_empty() { name.into() } else { format!("{directory}/{name}").into() }
}
