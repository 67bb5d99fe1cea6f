//! What a path of a request names below the root, and how answers name it.

use std::borrow::{Borrow, Cow};
use std::fmt;

use bytes::Bytes;
use hemi_core::config::ConfigType;
use hemi_proto::authority::Authority;
use hemi_proto::http1::Target;
use hemi_proto::path::{EncodedSeparators, normalize, push_encoded};
use http::Method;
use serde::Deserialize;

/// Files on their way to their place have names that begin so. No request can name them.
pub(super) const TEMPORARY: &str = ".hemi-dav-";

/// The beginning of paths that stands for the root.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix(String);

/// A text that is no such beginning.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is no path: begin it with a slash, as in \"/files\", and leave out `.` and `..`")]
pub struct NoPrefix(String);

impl TryFrom<String> for Prefix {
    type Error = NoPrefix;

    fn try_from(text: String) -> Result<Self, NoPrefix> {
        let path = text.strip_suffix('/').unwrap_or(&text);
        let no_segment = |segment: &str| {
            matches!(segment, "" | "." | "..") || segment.contains(|c: char| c.is_ascii_control())
        };
        match path.strip_prefix('/') {
            None if path.is_empty() => Ok(Self::default()),
            Some(segments) if !segments.split('/').any(no_segment) => Ok(Self(path.to_owned())),
            _ => Err(NoPrefix(text)),
        }
    }
}

impl ConfigType for Prefix {
    fn kind() -> Cow<'static, str> {
        "path".into()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// A path below the root, without slashes at its ends; empty for the root itself. One resource has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DavPath(Box<str>);

/// Why a URI names nothing below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// It is no URI.
    Malformed,
    /// It is of another host.
    OtherHost,
    /// It is outside the root.
    Outside,
}

impl Prefix {
    /// What a decoded and normalised path names.
    pub(super) fn below(&self, path: &str) -> Option<DavPath> {
        let rest = path.strip_prefix(&*self.0)?;
        if !rest.is_empty() && !rest.starts_with('/') || path == "*" {
            return None;
        }
        let rest = rest.trim_matches('/');
        let hidden = rest.split('/').any(|segment| segment.starts_with(TEMPORARY));
        (!hidden).then(|| DavPath(rest.into()))
    }

    /// What a URI names, of the host that `authority` is, or without one.
    pub(super) fn resolve(
        &self,
        uri: &[u8],
        authority: Option<&Authority>,
    ) -> Result<DavPath, Elsewhere> {
        let target = Target::parse(&Method::GET, Bytes::copy_from_slice(uri));
        let (target, of) = target.map_err(|_| Elsewhere::Malformed)?;
        // The scheme may be another: a proxy in front may speak TLS.
        if of.is_some_and(|of| Some(&of) != authority) {
            return Err(Elsewhere::OtherHost);
        }
        let path = normalize(target.raw_path(), EncodedSeparators::Keep);
        let path = path.map_err(|_| Elsewhere::Malformed)?;
        let path = std::str::from_utf8(&path).map_err(|_| Elsewhere::Malformed)?;
        self.below(path).ok_or(Elsewhere::Outside)
    }

    /// Appends the path that requests have for it.
    pub(super) fn push_href(&self, out: &mut String, path: &DavPath, is_collection: bool) {
        push_encoded(out, &self.0);
        out.push('/');
        push_encoded(out, &path.0);
        if is_collection && !path.0.is_empty() {
            out.push('/');
        }
    }
}

impl DavPath {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of what holds it, and its name there; none for the root.
    pub(super) fn split(&self) -> Option<(Self, &str)> {
        if self.0.is_empty() {
            return None;
        }
        let (parent, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        Some((Self(parent.into()), name))
    }

    /// It, and the paths of all that hold it, to the root.
    pub(super) fn and_outer(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(&*self.0), |path| match path.rsplit_once('/') {
            Some((outer, _)) => Some(outer),
            None => (!path.is_empty()).then_some(""),
        })
    }

    /// The path of what it holds by this name.
    pub(super) fn join(&self, name: &str) -> Self {
        Self(if self.0.is_empty() { name.into() } else { format!("{}/{name}", self.0).into() })
    }

    /// Whether it is `other`, or somewhere in it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        match self.0.strip_prefix(&*other.0) {
            Some(rest) => rest.is_empty() || other.0.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

/// Both have the same order.
impl Borrow<str> for DavPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DavPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// Whether requests can name an entry of a directory.
pub(super) fn is_nameable(name: &str) -> bool {
    let unusable = |c: char| c.is_ascii_control() || c == '\\';
    !name.contains(unusable) && !name.starts_with(TEMPORARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_resource_has_one_path() {
        let prefix = Prefix::try_from("/files/".to_owned()).unwrap();
        let host = Authority::parse("h.test:80".into()).unwrap();
        let resolve = |uri: &str| prefix.resolve(uri.as_bytes(), Some(&host));
        for uri in
            ["/files/a/b", "/files/a/b/", "//files//a//b", "/files/x/../a/./b", "/files/%61/b"]
        {
            assert_eq!(resolve(uri).unwrap().as_str(), "a/b", "{uri}");
        }
        for uri in ["http://h.test:80/files", "https://h.test:80/files/", "/files"] {
            assert_eq!(resolve(uri).unwrap().as_str(), "", "{uri}");
        }
        for (uri, why) in [
            ("http://other.test/files/a", Elsewhere::OtherHost),
            ("http://h.test/files/a", Elsewhere::OtherHost),
            ("/filesystem/a", Elsewhere::Outside),
            ("/a", Elsewhere::Outside),
            ("/files/../a", Elsewhere::Outside),
            ("/files/.hemi-dav-1", Elsewhere::Outside),
            ("/files/.hemi-dav-1/a", Elsewhere::Outside),
            ("/files/../../a", Elsewhere::Malformed),
            ("/files/%", Elsewhere::Malformed),
            ("/files/a#b", Elsewhere::Malformed),
            ("/files/%00", Elsewhere::Malformed),
            ("/files/%ff", Elsewhere::Malformed),
            ("files/a", Elsewhere::Malformed),
            ("", Elsewhere::Malformed),
        ] {
            assert_eq!(resolve(uri), Err(why), "{uri}");
        }
    }

    #[test]
    fn answers_name_what_requests_name() {
        for prefix in ["", "/", "/a b", "/a b/c"] {
            let prefix = Prefix::try_from(prefix.to_owned()).unwrap();
            for path in ["", "x", "x/%2F/ä?#&<", "x/y z"] {
                let path = DavPath(path.into());
                let mut href = String::new();
                prefix.push_href(&mut href, &path, true);
                assert!(href.ends_with('/'), "{href}");
                assert_eq!(prefix.resolve(href.as_bytes(), None), Ok(path), "{href}");
            }
        }
    }

    #[test]
    fn outer() {
        for (path, all) in
            [("", &[""][..]), ("a", &["a", ""]), ("a/b/c", &["a/b/c", "a/b", "a", ""])]
        {
            assert_eq!(DavPath(path.into()).and_outer().collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn within() {
        let path = |text: &str| DavPath(text.into());
        for (inner, outer, is) in [
            ("a", "a", true),
            ("a/b", "a", true),
            ("ab", "a", false),
            ("a", "", true),
            ("a", "a/b", false),
        ] {
            assert_eq!(path(inner).is_within(&path(outer)), is, "{inner} {outer}");
        }
    }
}
