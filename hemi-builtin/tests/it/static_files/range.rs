//! Ranges (RFC 9110, 14).

use std::time::{Duration, SystemTime};

use hemi_test::Site;

use super::{one_file, serve, set_modified};

/// Of a file of ten bytes: what is asked for, the status, `content-range`, and the bytes that come.
const RANGES: &[(&str, u16, Option<&str>, &str)] = &[
    ("bytes=0-0", 206, Some("bytes 0-0/10"), "0"),
    ("bytes=0-3", 206, Some("bytes 0-3/10"), "0123"),
    ("bytes=0-9", 206, Some("bytes 0-9/10"), "0123456789"),
    ("bytes=5-", 206, Some("bytes 5-9/10"), "56789"),
    ("bytes=9-", 206, Some("bytes 9-9/10"), "9"),
    ("bytes=-1", 206, Some("bytes 9-9/10"), "9"),
    ("bytes=-100", 206, Some("bytes 0-9/10"), "0123456789"),
    ("bytes=8-100", 206, Some("bytes 8-9/10"), "89"),
    ("bytes=8-99999999999999999999999", 206, Some("bytes 8-9/10"), "89"),
    ("BYTES=1-1", 206, Some("bytes 1-1/10"), "1"),
    // Ranges that touch or overlap are one.
    ("bytes=0-1,2-3", 206, Some("bytes 0-3/10"), "0123"),
    ("bytes=0-1,99-", 206, Some("bytes 0-1/10"), "01"),
    // Beyond the end.
    ("bytes=10-", 416, Some("bytes */10"), ""),
    ("bytes=10-20", 416, Some("bytes */10"), ""),
    ("bytes=-0", 416, Some("bytes */10"), ""),
    // Several parts are sent as the whole.
    ("bytes=0-1,5-6", 200, None, "0123456789"),
    // What is malformed or unknown is ignored.
    ("bytes=", 200, None, "0123456789"),
    ("bytes=5-2", 200, None, "0123456789"),
    ("bytes=a-b", 200, None, "0123456789"),
    ("bytes 0-1", 200, None, "0123456789"),
    ("lines=0-1", 200, None, "0123456789"),
];

#[test]
fn ranges_of_small_and_large_files() {
    let files = one_file("0123456789");
    for small in ["64K", "5"] {
        let cache = format!("fcache {{ .smallFileSize = {small} }}");
        let server = super::serve_with(&files, &cache, "");
        for (range, status, content_range, body) in RANGES {
            let case = format!("{range}, small up to {small}");
            let reply = server.ask("GET", "/a.txt", &[&format!("Range: {range}")]);
            assert_eq!(reply.status, *status, "{case}");
            assert_eq!(reply.header("content-range"), *content_range, "{case}");
            if *status == 416 {
                continue;
            }
            assert_eq!(reply.text(), *body, "{case}");
            assert_eq!(reply.header("content-length"), Some(&*body.len().to_string()), "{case}");
            assert_eq!(reply.header_values("content-type").count(), 1, "{case}");
            for name in ["etag", "last-modified", "accept-ranges"] {
                assert!(reply.header(name).is_some(), "{name}, {case}");
            }
        }
    }
}

#[test]
fn only_get_has_ranges_and_only_once() {
    let files = one_file("0123456789");
    let server = serve(&files);
    let head = server.ask("HEAD", "/a.txt", &["Range: bytes=0-1"]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!(head.header("content-range"), None);
    let twice = server.ask("GET", "/a.txt", &["Range: bytes=0-1", "Range: bytes=0-1"]);
    assert_eq!((twice.status, twice.text().as_str()), (200, "0123456789"));
}

#[test]
fn if_range_wants_a_strong_validator() {
    let files = one_file("0123456789");
    let server = serve(&files);
    let tag = server.get("/a.txt").header("etag").unwrap().to_owned();
    for (validator, status) in [
        (tag.as_str(), 206),
        (&format!("W/{tag}"), 200),
        ("\"x\"", 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 206),
        ("Sun Nov  6 08:49:37 1994", 206),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("yesterday", 200),
    ] {
        let line = format!("If-Range: {validator}");
        let reply = server.ask("GET", "/a.txt", &["Range: bytes=0-1", &line]);
        assert_eq!(reply.status, status, "{line}");
        // A range beyond the end of another version is not unsatisfiable.
        let reply = server.ask("GET", "/a.txt", &["Range: bytes=50-", &line]);
        assert_eq!(reply.status, if status == 206 { 416 } else { 200 }, "{line}");
    }
}

#[test]
fn the_date_of_a_file_that_may_still_change_is_no_strong_validator() {
    let files = one_file("0123456789");
    let later = SystemTime::now() + Duration::from_secs(3600);
    set_modified(&files.root().join("a.txt"), later);
    let server = serve(&files);
    let date = server.get("/a.txt").header("last-modified").unwrap().to_owned();
    let line = format!("If-Range: {date}");
    assert_eq!(server.ask("GET", "/a.txt", &["Range: bytes=0-1", &line]).status, 200);
}

#[test]
fn an_empty_file_has_no_ranges() {
    let files = Site::new().unwrap().file("empty.txt", "").unwrap();
    let server = serve(&files);
    let whole = server.get("/empty.txt");
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("0")));
    for (range, status, content_range) in [
        ("bytes=0-", 416, Some("bytes */0")),
        ("bytes=0-0", 416, Some("bytes */0")),
        ("bytes=-5", 200, None),
    ] {
        let reply = server.ask("GET", "/empty.txt", &[&format!("Range: {range}")]);
        assert_eq!((reply.status, reply.header("content-range")), (status, content_range));
    }
}

#[test]
fn a_large_file_arrives_as_it_is() {
    const SIZE: usize = 10 << 20;
    let bytes: Vec<u8> =
        (0..SIZE as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let files = Site::new().unwrap().file("large.bin", &bytes).unwrap();
    let server = serve(&files);
    let reply = server.get("/large.bin");
    assert_eq!(reply.header("content-length"), Some(&*SIZE.to_string()));
    assert!(reply.body == bytes, "other bytes");
    let reply = server.ask("GET", "/large.bin", &["Range: bytes=1048577-9437184"]);
    assert_eq!(reply.status, 206);
    assert!(reply.body == bytes[1_048_577..=9_437_184], "other bytes of the range");
}
