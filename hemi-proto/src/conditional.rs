//! Conditional requests (RFC 9110 section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

use crate::date::parse_date;
use crate::etag::{ETag, is_any, tags};

/// What identifies the state of a representation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    /// Its entity tag.
    pub etag: Option<ETag<'a>>,
    /// When it was last modified. As a strong validator (If-Range) it counts only if nobody can
    /// have changed the representation twice in that second: leave it out for a file that was
    /// written less than two seconds ago (RFC 9110 section 8.8.2.2).
    pub last_modified: Option<SystemTime>,
}

/// What the preconditions of a request say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Perform the method.
    Proceed,
    /// Answer 304.
    NotModified,
    /// Answer 412.
    PreconditionFailed,
}

/// Evaluates the preconditions in the order of RFC 9110 section 13.2.2.
///
/// `current` describes the representation that the target has now; `None` if it has none. To be
/// called only when the answer without preconditions would be 2xx (or 412). If-Range, the last
/// step, is [`if_range_holds`].
pub fn evaluate(method: &Method, headers: &HeaderMap, current: Option<Validators<'_>>) -> Verdict {
    let safe = *method == Method::GET || *method == Method::HEAD;
    let etag = current.and_then(|current| current.etag);
    let last_modified = current.and_then(|current| current.last_modified).map(whole_seconds);

    if headers.contains_key(IF_MATCH) {
        let strong = |tag: &ETag<'_>| etag.is_some_and(|etag| etag.strong_eq(tag));
        if !matches(headers, IF_MATCH, current.is_some(), strong) {
            return Verdict::PreconditionFailed;
        }
    } else if let (Some(limit), Some(modified)) =
        (single_date(headers, IF_UNMODIFIED_SINCE), last_modified)
        && modified > limit
    {
        return Verdict::PreconditionFailed;
    }

    if headers.contains_key(IF_NONE_MATCH) {
        let weak = |tag: &ETag<'_>| etag.is_some_and(|etag| etag.weak_eq(tag));
        if matches(headers, IF_NONE_MATCH, current.is_some(), weak) {
            return if safe { Verdict::NotModified } else { Verdict::PreconditionFailed };
        }
    } else if safe
        && let (Some(limit), Some(modified)) =
            (single_date(headers, IF_MODIFIED_SINCE), last_modified)
        && modified <= limit
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a Range field may be obeyed: there is no If-Range, or it names the current state
/// (RFC 9110 section 13.1.5).
pub fn if_range_holds(headers: &HeaderMap, current: Validators<'_>) -> bool {
    let mut lines = headers.get_all(IF_RANGE).iter();
    match (lines.next(), lines.next()) {
        (None, _) => true,
        (Some(_), Some(_)) => false,
        (Some(line), None) => match ETag::parse(line.as_bytes()) {
            Some(tag) => current.etag.is_some_and(|etag| etag.strong_eq(&tag)),
            None => parse_date(line.as_bytes())
                .is_some_and(|date| current.last_modified.map(whole_seconds) == Some(date)),
        },
    }
}

/// Whether the tags of all lines of `name` include a current one, or stand for any.
fn matches(
    headers: &HeaderMap,
    name: HeaderName,
    exists: bool,
    is_current: impl Fn(&ETag<'_>) -> bool,
) -> bool {
    headers.get_all(name).iter().any(|line| {
        let line = line.as_bytes();
        if is_any(line) { exists } else { tags(line).any(|tag| is_current(&tag)) }
    })
}

/// The date of a field that is to be ignored unless it is one valid date.
fn single_date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => parse_date(line.as_bytes()),
        _ => None,
    }
}

/// Drops what a date in a field can't express.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const SAME_RFC850: &str = "Sunday, 06-Nov-94 08:49:37 GMT";
    const SAME_ASCTIME: &str = "Sun Nov  6 08:49:37 1994";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
                (name, HeaderValue::from_str(value).expect("value"))
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    fn current(etag: &'static str) -> Validators<'static> {
        Validators {
            etag: ETag::parse(etag.as_bytes()),
            // With a part of a second, as file systems give it.
            last_modified: Some(UNIX_EPOCH + Duration::from_millis(784_111_777_900)),
        }
    }

    #[test]
    fn order_and_meaning() {
        use Verdict::{NotModified, PreconditionFailed, Proceed};
        for (method, lines, verdict) in [
            ("GET", vec![], Proceed),
            // If-Match: strong comparison.
            ("GET", vec![("if-match", "\"a\"")], Proceed),
            ("PUT", vec![("if-match", "\"b\", \"a\"")], Proceed),
            ("PUT", vec![("if-match", "\"b\""), ("if-match", "\"a\"")], Proceed),
            ("PUT", vec![("if-match", "*")], Proceed),
            ("PUT", vec![("if-match", "\"b\"")], PreconditionFailed),
            ("PUT", vec![("if-match", "W/\"a\"")], PreconditionFailed),
            ("PUT", vec![("if-match", "a")], PreconditionFailed),
            // If-Unmodified-Since: only without If-Match.
            ("PUT", vec![("if-unmodified-since", SAME)], Proceed),
            ("PUT", vec![("if-unmodified-since", AFTER)], Proceed),
            ("PUT", vec![("if-unmodified-since", BEFORE)], PreconditionFailed),
            ("PUT", vec![("if-unmodified-since", "junk")], Proceed),
            ("PUT", vec![("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], Proceed),
            // If-None-Match: weak comparison.
            ("GET", vec![("if-none-match", "\"a\"")], NotModified),
            ("HEAD", vec![("if-none-match", "W/\"a\"")], NotModified),
            ("GET", vec![("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], NotModified),
            ("GET", vec![("if-none-match", "*")], NotModified),
            ("GET", vec![("if-none-match", "\"b\"")], Proceed),
            ("PUT", vec![("if-none-match", "\"a\"")], PreconditionFailed),
            ("PUT", vec![("if-none-match", "*")], PreconditionFailed),
            // If-Modified-Since: only without If-None-Match, and for GET and HEAD.
            ("GET", vec![("if-modified-since", SAME)], NotModified),
            ("GET", vec![("if-modified-since", SAME_RFC850)], NotModified),
            ("GET", vec![("if-modified-since", SAME_ASCTIME)], NotModified),
            ("HEAD", vec![("if-modified-since", AFTER)], NotModified),
            ("GET", vec![("if-modified-since", BEFORE)], Proceed),
            ("GET", vec![("if-modified-since", "junk")], Proceed),
            ("GET", vec![("if-modified-since", SAME), ("if-modified-since", SAME)], Proceed),
            ("POST", vec![("if-modified-since", SAME)], Proceed),
            ("GET", vec![("if-none-match", "\"b\""), ("if-modified-since", SAME)], Proceed),
            // The 412 of the first pair comes before the 304 of the second.
            ("GET", vec![("if-match", "\"b\""), ("if-none-match", "\"a\"")], PreconditionFailed),
            ("GET", vec![("if-match", "\"a\""), ("if-none-match", "\"a\"")], NotModified),
            ("GET", vec![("if-unmodified-since", SAME), ("if-modified-since", SAME)], NotModified),
        ] {
            let method = Method::from_bytes(method.as_bytes()).expect("method");
            let found = evaluate(&method, &headers(&lines), Some(current("\"a\"")));
            assert_eq!(found, verdict, "{method} {lines:?}");
        }
    }

    #[test]
    fn without_representation() {
        use Verdict::{PreconditionFailed, Proceed};
        for (lines, verdict) in [
            (vec![("if-match", "*")], PreconditionFailed),
            (vec![("if-match", "\"a\"")], PreconditionFailed),
            (vec![("if-none-match", "*")], Proceed),
            (vec![("if-none-match", "\"a\"")], Proceed),
            (vec![("if-unmodified-since", BEFORE)], Proceed),
        ] {
            assert_eq!(evaluate(&Method::PUT, &headers(&lines), None), verdict, "{lines:?}");
        }
    }

    #[test]
    fn if_range() {
        for (lines, etag, holds) in [
            (vec![], "\"a\"", true),
            (vec![("if-range", "\"a\"")], "\"a\"", true),
            (vec![("if-range", "\"b\"")], "\"a\"", false),
            (vec![("if-range", "W/\"a\"")], "\"a\"", false),
            (vec![("if-range", "W/\"a\"")], "W/\"a\"", false),
            (vec![("if-range", "\"a\"")], "W/\"a\"", false),
            (vec![("if-range", SAME)], "\"a\"", true),
            (vec![("if-range", SAME_ASCTIME)], "\"a\"", true),
            (vec![("if-range", BEFORE)], "\"a\"", false),
            (vec![("if-range", AFTER)], "\"a\"", false),
            (vec![("if-range", "junk")], "\"a\"", false),
            (vec![("if-range", "\"a\""), ("if-range", "\"a\"")], "\"a\"", false),
        ] {
            assert_eq!(if_range_holds(&headers(&lines), current(etag)), holds, "{lines:?} {etag}");
        }
    }
}
