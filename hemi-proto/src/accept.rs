//! Which media types a client asks for by name (RFC 9110 section 12.5.1).

use http::header::{ACCEPT, HeaderMap};

pub use crate::quality::Quality;
use crate::quality::weighted;

/// The weight of a media type that an Accept field names; none if it does not, though a range such
/// as `*/*` may stand for it. Parameters other than the weight are not looked at.
///
/// Who asks for pages, or for data, names them: scripts, images and tools say `*/*`.
pub fn named(headers: &HeaderMap, media_type: &str) -> Option<Quality> {
    let mut elements = weighted(headers, ACCEPT);
    elements.find(|(name, _)| name.eq_ignore_ascii_case(media_type.as_bytes())).map(|(_, q)| q)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn by_name_alone() {
        for (accept, html, json) in [
            ("", None, None),
            ("*/*", None, None),
            ("text/*, application/json;q=0.5", None, Some(false)),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(false), None),
            ("Text/HTML;level=1 ; q=0", Some(true), None),
            ("text/html;q=0.0, application/json", Some(true), Some(false)),
            ("text/html;q=x, text/html2", None, None),
        ] {
            let value = HeaderValue::from_str(accept).expect("value");
            let headers = HeaderMap::from_iter([(ACCEPT, value)]);
            assert_eq!(named(&headers, "text/html").map(Quality::is_zero), html, "{accept}");
            assert_eq!(named(&headers, "application/json").map(Quality::is_zero), json, "{accept}");
        }
        assert_eq!(named(&HeaderMap::new(), "text/html"), None);
    }

    #[test]
    fn weights_are_compared() {
        let value = HeaderValue::from_static("a/a;q=0.5, b/b;q=0.25, c/c, d/d;q=1.000");
        let headers = HeaderMap::from_iter([(ACCEPT, value)]);
        let [a, b, c, d] = ["a/a", "b/b", "c/c", "d/d"].map(|name| named(&headers, name));
        assert!(b < a && a < c && c == d);
    }
}
