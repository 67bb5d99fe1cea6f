//! Pairs of a query, and cookies, read the same after they were written; look-ups find the first of a
//! name.
#![no_main]

use hemi_proto::cookie::SetCookie;
use hemi_proto::{cookie, query};
use http::header::{COOKIE, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    check_query(input);
    check_cookie(input);
    check_set_cookie(input);
});

fn check_query(input: &[u8]) {
    let pairs: Vec<_> = query::pairs(input).collect();
    for (name, _) in &pairs {
        let first = pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value);
        assert_eq!(query::value(input, name).as_ref(), first);
    }
    let mut written = String::new();
    for (name, value) in &pairs {
        for b in name.iter() {
            written.push_str(&format!("%{b:02X}"));
        }
        written.push('=');
        for b in value.iter() {
            written.push_str(&format!("%{b:02x}"));
        }
        written.push('&');
    }
    assert_eq!(query::pairs(written.as_bytes()).collect::<Vec<_>>(), pairs);
}

fn check_cookie(input: &[u8]) {
    let Ok(line) = HeaderValue::from_bytes(input) else { return };
    let headers = HeaderMap::from_iter([(COOKIE, line)]);
    let pairs: Vec<_> = cookie::pairs(input).collect();
    for (name, _) in &pairs {
        let first = pairs.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
        assert_eq!(cookie::value(&headers, name), first);
        assert!(!name.is_empty() && !name.contains(&b';'));
    }
}

/// Takes name, value, domain and path from the lines of the input.
fn check_set_cookie(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (name, value) = (line(), line());
    let Ok(mut cookie) = SetCookie::new(name, value) else { return };
    let mut attributes = 0;
    if let Ok(with) = cookie.clone().domain(line()) {
        (cookie, attributes) = (with, attributes + 1);
    }
    if let Ok(with) = cookie.clone().path(line()) {
        (cookie, attributes) = (with, attributes + 1);
    }
    let sent = cookie.to_header_value();
    let mut parts = sent.as_bytes().split(|&b| b == b';');
    let pair = parts.next().expect("a pair");
    assert_eq!(cookie::pairs(pair).next(), Some((name.as_bytes(), value.as_bytes())));
    // The prefix of the name may add two of its own.
    assert!((attributes..=attributes + 2).contains(&parts.count()));
}
