//! Media types by file name extension.

use std::borrow::Cow;

use hemi_core::config::ConfigType;
use http::HeaderValue;
use serde::Deserialize;

/// A media type (RFC 9110, 8.3.1), such as `text/html; charset=utf-8`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MediaType(HeaderValue);

/// A text that is no media type.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a media type: write one such as \"text/plain\"")]
pub struct NoMediaType(String);

impl MediaType {
    /// That of an extension, in lower case, by the built-in table.
    #[must_use]
    pub fn of(extension: &str) -> Option<Self> {
        let at = TABLE.binary_search_by_key(&extension, |(e, _)| e).ok()?;
        TABLE.get(at).map(|(_, text)| Self(HeaderValue::from_static(text)))
    }

    /// That of bytes nothing is known about.
    #[must_use]
    pub fn octet_stream() -> Self {
        Self(HeaderValue::from_static("application/octet-stream"))
    }

    /// As the value of `content-type`.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    /// It without parameters, such as `text/html`.
    pub(super) fn essence(&self) -> Cow<'_, str> {
        let text = self.0.as_bytes();
        let end = text.iter().position(|b| *b == b';').unwrap_or(text.len());
        String::from_utf8_lossy(text.get(..end).unwrap_or_default().trim_ascii_end())
    }

    /// The same for text in this charset, where the built-in table says that it is text.
    pub(super) fn in_charset(self, charset: &Charset) -> Self {
        let named = self.0.to_str().ok().and_then(|text| text.strip_suffix("; charset=utf-8"));
        let Some(essence) = named.filter(|_| charset.0 != "utf-8") else { return self };
        let text = match &*charset.0 {
            "" => essence.to_owned(),
            charset => format!("{essence}; charset={charset}"),
        };
        HeaderValue::try_from(text).map_or(self, Self)
    }
}

impl TryFrom<String> for MediaType {
    type Error = NoMediaType;

    fn try_from(text: String) -> Result<Self, NoMediaType> {
        let parts = text.split(';').next().and_then(|essence| essence.trim().split_once('/'));
        let named = parts.is_some_and(|(kind, subkind)| !kind.is_empty() && !subkind.is_empty());
        let value = HeaderValue::from_str(&text).ok().filter(|_| named);
        value.map(Self).ok_or(NoMediaType(text))
    }
}

impl ConfigType for MediaType {
    fn kind() -> Cow<'static, str> {
        "media type".into()
    }

    fn show(&self) -> String {
        String::from_utf8_lossy(self.0.as_bytes()).into_owned().show()
    }
}

/// The name of a charset, such as `utf-8`; empty if none is to be named.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Charset(String);

/// A text that names no charset.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not the name of a charset: write one such as \"utf-8\"")]
pub struct NoCharset(String);

impl Charset {
    /// That of most text.
    pub(super) fn utf_8() -> Self {
        Self("utf-8".to_owned())
    }
}

impl TryFrom<String> for Charset {
    type Error = NoCharset;

    fn try_from(text: String) -> Result<Self, NoCharset> {
        // RFC 2978, 2.3.
        let valid = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'+-^_`{}~".contains(&b);
        if text.bytes().all(valid) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(NoCharset(text))
        }
    }
}

impl ConfigType for Charset {
    fn kind() -> Cow<'static, str> {
        String::kind()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// Sorted by extension.
const TABLE: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apk", "application/vnd.android.package-archive"),
    ("apng", "image/apng"),
    ("atom", "application/atom+xml"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("bin", "application/octet-stream"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("deb", "application/vnd.debian.binary-package"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("heic", "image/heic"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("iso", "application/x-iso9660-image"),
    ("jar", "application/java-archive"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("mpeg", "video/mpeg"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("rar", "application/vnd.rar"),
    ("rss", "application/rss+xml"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("svgz", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml"),
    ("ts", "video/mp2t"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "application/xml"),
    ("xz", "application/x-xz"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_entry_is_found() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for (extension, text) in TABLE {
            assert_eq!(MediaType::of(extension).unwrap().0, text);
            assert!(MediaType::try_from((*text).to_owned()).is_ok());
        }
        assert_eq!(MediaType::of("nothing"), None);
    }

    #[test]
    fn texts_that_are_none_are_refused() {
        for text in ["", "text", "/plain", "text/", "a\nb/c", ";text/plain"] {
            assert!(MediaType::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
