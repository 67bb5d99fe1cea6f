//! Media types, one by one or by their kind.

use std::borrow::Cow;

use hemi_core::config::ConfigType;
use http::HeaderValue;
use serde::Deserialize;

/// A media type such as `text/html`, or all of a kind: `text/*`, or `*/*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MediaRange(Cow<'static, str>);

/// A text that is neither.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" names no media type: write one such as \"text/html\", or \"text/*\"")]
pub struct NoMediaRange(String);

/// Formats of text, and others that are written without being compressed already.
const COMPRESSIBLE: &[&str] = &[
    "text/*",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/xml",
    "application/atom+xml",
    "application/rss+xml",
    "application/xhtml+xml",
    "application/wasm",
    "application/yaml",
    "application/toml",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
];

impl MediaRange {
    /// What is worth compressing.
    pub(super) fn compressible() -> Vec<Self> {
        COMPRESSIBLE.iter().map(|range| Self(Cow::Borrowed(range))).collect()
    }

    /// Pages.
    pub(super) fn html() -> Vec<Self> {
        Vec::from([Self(Cow::Borrowed("text/html"))])
    }

    /// Whether the value of a Content-Type is one of these, whatever its parameters.
    pub(super) fn holds(&self, content_type: &HeaderValue) -> bool {
        let bytes = content_type.as_bytes();
        let essence = bytes.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        match (self.0.as_bytes(), essence) {
            (b"*/*", _) => true,
            ([kind @ .., b'*'], _) => {
                essence.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
            }
            (exact, essence) => exact.eq_ignore_ascii_case(essence),
        }
    }
}

impl TryFrom<String> for MediaRange {
    type Error = NoMediaRange;

    fn try_from(text: String) -> Result<Self, NoMediaRange> {
        let is_name = |name: &str| {
            let is_part = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
            !name.is_empty() && name.bytes().all(is_part)
        };
        match text.split_once('/') {
            Some(("*", "*")) => Ok(Self(text.into())),
            Some((kind, name)) if is_name(kind) && (name == "*" || is_name(name)) => {
                Ok(Self(text.into()))
            }
            _ => Err(NoMediaRange(text)),
        }
    }
}

impl ConfigType for MediaRange {
    fn kind() -> Cow<'static, str> {
        "media type".into()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(range: &str, content_type: &'static str) -> bool {
        let range = MediaRange::try_from(range.to_owned()).unwrap();
        range.holds(&HeaderValue::from_static(content_type))
    }

    #[test]
    fn types_are_compared_without_case_and_parameters() {
        for (range, content_type) in [
            ("text/html", "text/html"),
            ("Text/html", "text/HTML ; charset=utf-8"),
            ("text/*", "TEXT/plain"),
            ("*/*", "nonsense"),
            ("application/ld+json", "application/ld+json;a=b"),
        ] {
            assert!(holds(range, content_type), "{range} {content_type}");
        }
        for (range, content_type) in [
            ("text/html", "text/htmlx"),
            ("text/html", "text/htm"),
            ("text/*", "texts/html"),
            ("text/*", "text"),
            ("text/html", ""),
        ] {
            assert!(!holds(range, content_type), "{range} {content_type}");
        }
    }

    #[test]
    fn texts_that_name_none_are_refused() {
        for text in
            ["", "text", "text/", "/html", "*/html", "text/h*", "text/html;q=1", "a b/c", "*"]
        {
            assert!(MediaRange::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_built_in_ones_are_such() {
        for range in COMPRESSIBLE {
            assert!(MediaRange::try_from((*range).to_owned()).is_ok(), "{range}");
        }
    }
}
