//! Paths of a site, as configs write them.

use std::borrow::Cow;

use hemi_core::config::ConfigType;
use serde::Deserialize;

/// A path as requests have it, decoded: whole segments, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SitePath(String);

/// A text that is no such path.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is no path: begin it with a slash, as in \"/assets\", and leave out `.` and `..`")]
pub struct NoSitePath(String);

impl TryFrom<String> for SitePath {
    type Error = NoSitePath;

    fn try_from(text: String) -> Result<Self, NoSitePath> {
        let path = text.strip_suffix('/').unwrap_or(&text);
        let no_segment = |segment: &str| {
            matches!(segment, "" | "." | "..") || segment.contains(|c: char| c.is_ascii_control())
        };
        match path.strip_prefix('/') {
            Some(segments) if !segments.split('/').any(no_segment) => Ok(Self(path.to_owned())),
            _ => Err(NoSitePath(text)),
        }
    }
}

impl ConfigType for SitePath {
    fn kind() -> Cow<'static, str> {
        "path".into()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

impl SitePath {
    /// What follows it in a path: nothing, or a slash and more. None if that begins with other segments: `/assets` is no prefix of `/assets-too`.
    pub(crate) fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(&*self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub(crate) fn last_segment(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_whole_segments() {
        for (prefix, path, rest) in [
            ("/assets", "/assets/a.css", Some("/a.css")),
            ("/assets/", "/assets/a.css", Some("/a.css")),
            ("/assets", "/assets", Some("")),
            ("/assets", "/assets/", Some("/")),
            ("/assets", "/assets-too/a.css", None),
            ("/assets/", "/assetsa.css", None),
            ("/assets", "/Assets/a.css", None),
            ("/a/b", "/a/b/c", Some("/c")),
            ("/a/b", "/a", None),
        ] {
            let parsed = SitePath::try_from(prefix.to_owned()).unwrap();
            assert_eq!(parsed.strip(path), rest, "{prefix} {path}");
        }
        for none in ["", "/", "//", "a", "a/", "/a//b", "/a//", "/..", "/a/../b", "/./a", "/a\n"] {
            assert!(SitePath::try_from(none.to_owned()).is_err(), "{none:?}");
        }
    }
}
