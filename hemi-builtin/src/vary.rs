//! What caches are told that an answer depends on (RFC 9110, 12.5.5).

use http::header::{HeaderMap, HeaderValue, VARY};

/// Tells that it depends on this field of the request, whose name is in lower case.
pub(crate) fn vary_by(answer: &mut HeaderMap, field: &'static str) {
    let lines = answer.get_all(VARY).iter();
    let mut names =
        lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    if !names.any(|name| name == b"*" || name.eq_ignore_ascii_case(field.as_bytes())) {
        answer.append(VARY, HeaderValue::from_static(field));
    }
}
