//! Preconditions (RFC 9110, 13).

use super::{one_file, serve};

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

#[test]
fn preconditions_are_evaluated_in_their_order() {
    let files = one_file("hello");
    let server = serve(&files);
    let tag = server.get("/a.txt").header("etag").unwrap().to_owned();
    for (lines, status) in [
        // If-Match compares strongly, over all its lines.
        (vec!["If-Match: TAG"], 200),
        (vec!["If-Match: *"], 200),
        (vec!["If-Match: \"x\", TAG"], 200),
        (vec!["If-Match: \"x\"", "If-Match: \"y\", TAG"], 200),
        (vec!["If-Match: \"x\""], 412),
        (vec!["If-Match: W/TAG"], 412),
        (vec!["If-Match: x"], 412),
        // If-Unmodified-Since, in three forms; only without If-Match.
        (vec!["If-Unmodified-Since: SAME"], 200),
        (vec!["If-Unmodified-Since: AFTER"], 200),
        (vec!["If-Unmodified-Since: BEFORE"], 412),
        (vec!["If-Unmodified-Since: Sunday, 06-Nov-94 08:49:36 GMT"], 412),
        (vec!["If-Unmodified-Since: Sun Nov  6 08:49:36 1994"], 412),
        (vec!["If-Unmodified-Since: yesterday"], 200),
        (vec!["If-Match: TAG", "If-Unmodified-Since: BEFORE"], 200),
        // If-None-Match compares weakly, over all its lines.
        (vec!["If-None-Match: TAG"], 304),
        (vec!["If-None-Match: W/TAG"], 304),
        (vec!["If-None-Match: *"], 304),
        (vec!["If-None-Match: \"x\", TAG"], 304),
        (vec!["If-None-Match: \"x\"", "If-None-Match: \"y\" , TAG"], 304),
        (vec!["If-None-Match: \"x\"", "If-None-Match: \"y\""], 200),
        // If-Modified-Since, in three forms; only without If-None-Match.
        (vec!["If-Modified-Since: SAME"], 304),
        (vec!["If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"], 304),
        (vec!["If-Modified-Since: Sun Nov  6 08:49:37 1994"], 304),
        (vec!["If-Modified-Since: AFTER"], 304),
        (vec!["If-Modified-Since: BEFORE"], 200),
        (vec!["If-Modified-Since: yesterday"], 200),
        (vec!["If-Modified-Since: SAME", "If-Modified-Since: SAME"], 200),
        (vec!["If-None-Match: \"x\"", "If-Modified-Since: SAME"], 200),
        // The first pair goes before the second.
        (vec!["If-Match: \"x\"", "If-None-Match: TAG"], 412),
        (vec!["If-Match: TAG", "If-None-Match: TAG"], 304),
        (vec!["If-Unmodified-Since: BEFORE", "If-Modified-Since: SAME"], 412),
        // And both before a range.
        (vec!["If-None-Match: TAG", "Range: bytes=0-0"], 304),
        (vec!["If-Match: \"x\"", "Range: bytes=99-"], 412),
    ] {
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line.replace("TAG", &tag).replace("SAME", SAME))
            .map(|line| line.replace("BEFORE", BEFORE).replace("AFTER", AFTER))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for method in ["GET", "HEAD"] {
            let reply = server.ask(method, "/a.txt", &lines);
            assert_eq!(reply.status, status, "{method} {lines:?}");
        }
    }
}

#[test]
fn a_304_says_what_a_cache_needs_and_no_more() {
    let files = one_file("hello");
    let server = serve(&files);
    let whole = server.get("/a.txt");
    let tag = whole.header("etag").unwrap();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
    let unchanged = server.ask("GET", "/a.txt", &[&format!("If-None-Match: {tag}")]);
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(tag)));
    assert_eq!(unchanged.header("last-modified"), Some(SAME));
    for name in ["content-type", "content-length", "accept-ranges", "vary"] {
        assert_eq!(unchanged.header(name), None, "{name}");
    }
}

#[test]
fn a_request_without_host_has_preconditions_too() {
    let files = one_file("hello");
    let server = serve(&files);
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.0\r\nIf-None-Match: *\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().status, 304);
}

#[test]
fn what_is_not_there_has_no_preconditions() {
    let files = one_file("hello");
    let server = serve(&files);
    for line in ["If-None-Match: *", "If-Match: *", "Range: bytes=0-0"] {
        assert_eq!(server.ask("GET", "/b.txt", &[line]).status, 404, "{line}");
    }
}
