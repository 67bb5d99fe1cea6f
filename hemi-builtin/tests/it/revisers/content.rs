//! `replace`, `wrap` and `head`, and the order of all.

use hemi_test::Site;

use super::{ask, decoded, gzip, mirror, text};
use crate::server::{Running, mistake, site};

const HTML: &str = "Reply-Content-Type: text/html; charset=utf-8";
const WHOLE: &str = "Whole: 1";

fn mirrored(revisers: &str) -> Running {
    site("", &format!("rule {{ mirror {{}} {revisers} }}"))
}

#[test]
fn text_is_replaced_in_contents_that_are_there_and_that_come() {
    let server = mirrored(r#"replace { .texts = ["lorem": "LOREM!", "</p>": ""] }"#);
    for len in [100, 10_000, 300_000] {
        let content = text(len);
        let expected = String::from_utf8(content.clone()).unwrap();
        let expected = expected.replace("lorem", "LOREM!").replace("</p>", "");
        for lines in [&[HTML][..], &[HTML, WHOLE]] {
            let reply = mirror(&server, &content, lines);
            assert!(reply.text() == expected, "{len} {lines:?}");
        }
    }
    let server = mirrored(r#"replace { .patterns = ["([a-z]+) ([0-9]+)": "$2-$1"] }"#);
    assert_eq!(mirror(&server, b"sit 12, amet 3", &[HTML]).text(), "12-sit, 3-amet");
}

#[test]
fn a_text_is_found_across_the_border_of_pieces() {
    let server = mirrored(r#"replace { .texts = ["hello": "bye"] }"#);
    let mut client = server.connect();
    client
        .send("POST / HTTP/1.0\r\nReply-Content-Type: text/html\r\nContent-Length: 12\r\n\r\n>>he")
        .unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b">>") {
        got.extend(client.read_some().unwrap());
    }
    client.send("llo<<hel").unwrap();
    got.extend(client.read_to_end().unwrap());
    assert!(got.ends_with(b"\r\n\r\n>>bye<<hel"), "{}", String::from_utf8_lossy(&got));
}

#[test]
fn contents_of_other_types_or_in_a_coding_stay() {
    let revisers = r#"replace { .texts = ["a": "b"] } wrap { .before = "a" }"#;
    let server = mirrored(revisers);
    for lines in [
        &["Reply-Content-Type: text/plain"][..],
        &[HTML, "Reply-Content-Encoding: gzip"],
        &[HTML, "Reply-Status: 206", "Reply-Content-Range: bytes 0-2/9"],
        &[],
    ] {
        let reply = mirror(&server, b"aaa", &[lines, &["Reply-ETag: \"a\""]].concat());
        assert_eq!(
            (reply.text().as_str(), reply.header("etag")),
            ("aaa", Some("\"a\"")),
            "{lines:?}"
        );
    }
}

#[test]
fn changed_contents_lose_what_they_were_recognised_by() {
    let files = Site::new().unwrap().file("a.html", "hello").unwrap();
    let files = files.file("a.txt", "hello").unwrap();
    let root = files.root().display();
    let revisers = r#"replace { .texts = ["hello": "good bye"] } wrap { .after = "!" }"#;
    let server = site("", &format!(".webRoot = \"{root}\" rule {{ static {{}} {revisers} }}"));
    let reply = server.get("/a.html");
    assert_eq!((reply.text().as_str(), reply.header("content-length")), ("good bye!", Some("9")));
    for name in ["etag", "last-modified", "accept-ranges"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    // No part can be had of what it was.
    let part = server.ask("GET", "/a.html", &["Range: bytes=0-1"]);
    assert_eq!((part.status, part.text().as_str()), (200, "good bye!"));
    let head = server.ask("HEAD", "/a.html", &[]);
    assert_eq!((head.status, head.header("content-length")), (200, None));
    assert!(server.get("/a.txt").header("etag").is_some());
}

#[test]
fn contents_are_wrapped() {
    let server = mirrored(r#"wrap { .before = "<!-- " + $method + " -->" .after = "<hr>" }"#);
    for len in [0, 1, 100_000] {
        let expected = [b"<!-- POST -->", &text(len)[..], b"<hr>"].concat();
        for lines in [&[HTML][..], &[HTML, WHOLE]] {
            assert!(mirror(&server, &text(len), lines).body == expected, "{len}");
        }
    }
    let mut client = server.connect();
    client
        .send(
            "POST / HTTP/1.1\r\nHost: x\r\nReply-Content-Type: text/html\r\n\
             Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
        )
        .unwrap();
    let reply = client.read_response().unwrap();
    assert_eq!(reply.text(), "<!-- POST -->a<hr>");
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "1".to_owned())]);
}

#[test]
fn fields_are_changed_on_the_way() {
    let server = mirrored(
        r#"head {
            .setRequest = ["reply-x-set": $method]
            .addRequest = ["reply-x-added": "later"]
            .delRequest = ("reply-x-gone")
            .setResponse = ["x-answer": $header_x_own]
            .addResponse = ["x-set": "again"]
            .delResponse = ("x-secret")
        }"#,
    );
    let lines = ["Reply-X-Set: a", "Reply-X-Gone: a", "Reply-X-Secret: a", "X-Own: mine"];
    let reply = mirror(&server, b"", &lines);
    let values = |name| reply.header_values(name).collect::<Vec<_>>();
    assert_eq!(values("x-set"), ["POST", "again"]);
    assert_eq!(values("x-added"), ["later"]);
    assert_eq!(values("x-answer"), ["mine"]);
    assert_eq!((values("x-gone").len(), values("x-secret").len()), (0, 0));
}

#[test]
fn ranks_order_the_revisers_wherever_they_are_written() {
    // Wrapped, then replaced, then compressed.
    let all = r#"gzip { .minLength = 0 } replace { .texts = ["a": "b"] } wrap { .after = "a" }"#;
    let server = mirrored(all);
    for (lines, coding) in [(&[HTML, "Accept-Encoding: gzip"][..], Some("gzip")), (&[HTML], None)] {
        let reply = mirror(&server, b"aa", lines);
        assert_eq!(reply.header("content-encoding"), coding);
        assert_eq!(decoded(&reply), b"bbb");
    }
    let server = mirrored(r#"wrap { .after = "a" .rank = 20 } replace { .texts = ["a": "b"] }"#);
    assert_eq!(mirror(&server, b"aa", &[HTML]).text(), "bba");
    // What comes compressed is decompressed first, so that it can be changed.
    let server = mirrored(r#"wrap { .after = "!" } gunzip {}"#);
    let lines = [HTML, "Reply-Content-Encoding: gzip"];
    assert_eq!(mirror(&server, &gzip(b"hello"), &lines).text(), "hello!");
    let mistake = mistake("", r#"rule { mirror {} wrap { .rank = 26 } }"#);
    assert!(
        mistake.contains("26 is no rank for this reviser: write one from 6 to 25"),
        "{mistake}"
    );
}

#[test]
fn mistakes_in_replacements_are_told() {
    for (properties, told) in [
        ("", "there is nothing to replace"),
        (r#".texts = ["": "a"]"#, "a text to be replaced has 1 to 4096 bytes"),
        (r#".patterns = ["(": "a"]"#, "unclosed group"),
        (r#".texts = ["a": "b"] .patterns = ["a": "b"]"#, "there are both"),
    ] {
        let mistake = mistake("", &format!("rule {{ mirror {{}} replace {{ {properties} }} }}"));
        assert!(mistake.contains(told), "{mistake}");
    }
}

#[test]
fn a_head_request_is_answered_without_content() {
    let server = mirrored(r#"replace { .texts = ["a": "b"] }"#);
    let reply = ask(&mut server.connect(), "HEAD", b"", &[HTML, "Reply-Content-Length: 5"]);
    assert_eq!((reply.status, reply.header("content-length")), (200, None));
}
