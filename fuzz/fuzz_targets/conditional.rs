//! Preconditions agree with the validators they name.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use hemi_proto::conditional::{Validators, Verdict, evaluate, if_range_holds};
use hemi_proto::date::{format_date, parse_date};
use hemi_proto::etag::{ETag, tags};
use http::Method;
use http::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};
use libfuzzer_sys::fuzz_target;

const NAMES: [HeaderName; 5] =
    [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE];

fuzz_target!(|input: &[u8]| {
    // Lines: the current tag, then fields whose name the first byte chooses.
    let mut lines = input.split(|&b| b == b'\n');
    let etag = lines.next().and_then(ETag::parse);
    let current =
        Validators { etag, last_modified: Some(UNIX_EPOCH + Duration::from_secs(784_111_777)) };
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some((choice, value)) = line.split_first() else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        check_date(value.as_bytes());
        check_tags(value.as_bytes());
        headers.append(&NAMES[usize::from(*choice) % NAMES.len()], value);
    }
    evaluate(&Method::GET, &headers, Some(current));
    if_range_holds(&headers, current);
    assert_ne!(evaluate(&Method::GET, &headers, None), Verdict::NotModified);
    assert_ne!(evaluate(&Method::PUT, &headers, Some(current)), Verdict::NotModified);
});

/// A date that was understood reads the same after it was written.
fn check_date(value: &[u8]) {
    if let Some(date) = parse_date(value) {
        assert_eq!(parse_date(&format_date(date)), Some(date));
    }
}

/// Each tag of a list matches itself, alone and in that list.
fn check_tags(value: &[u8]) {
    let Ok(line) = HeaderValue::from_bytes(value) else { return };
    for tag in tags(value) {
        assert!(tag.weak_eq(&tag));
        assert_eq!(tag.strong_eq(&tag), !tag.is_weak());
        let current = Validators { etag: Some(tag), last_modified: None };
        let with = |name: HeaderName| HeaderMap::from_iter([(name, line.clone())]);
        let verdict = evaluate(&Method::GET, &with(IF_NONE_MATCH), Some(current));
        assert_eq!(verdict, Verdict::NotModified);
        let verdict = evaluate(&Method::PUT, &with(IF_MATCH), Some(current));
        assert!(tag.is_weak() || verdict == Verdict::Proceed);
    }
}
