//! `gzip`, `brotli` and `zstd`: what is compressed, for whom, and how it is told.

use std::process::Command;

use hemi_test::{Site, peer};

use super::{decoded, mirror, text};
use crate::server::{Running, mistake, site};

const ALL: &str = "zstd {} brotli {} gzip {}";
const HTML: &str = "Reply-Content-Type: text/html; charset=utf-8";
const WHOLE: &str = "Whole: 1";

fn mirrored(revisers: &str) -> Running {
    site("", &format!("rule {{ mirror {{}} {revisers} }}"))
}

#[test]
fn the_client_gets_the_coding_it_likes_best_and_then_the_server() {
    let (server, content) = (mirrored(ALL), text(20_000));
    for (accepted, coding) in [
        ("", None),
        ("identity", None),
        ("deflate, compress", None),
        ("gzip", Some("gzip")),
        ("x-gzip", Some("gzip")),
        ("br", Some("br")),
        ("zstd", Some("zstd")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, br", Some("br")),
        ("*", Some("zstd")),
        ("gzip;q=1.0, br;q=0.9, zstd;q=0.8", Some("gzip")),
        ("gzip;q=0, br;q=0", None),
        ("zstd;q=0, *", Some("br")),
        ("gzip;q=0.5, identity", None),
        ("identity;q=0, gzip;q=0.1", Some("gzip")),
    ] {
        for lines in [vec![HTML], vec![HTML, WHOLE]] {
            let accept = format!("Accept-Encoding: {accepted}");
            let lines = [&lines[..], &[&accept]].concat();
            let reply = mirror(&server, &content, &lines);
            assert_eq!(reply.header("content-encoding"), coding, "{accepted}");
            assert_eq!(
                reply.header_values("content-encoding").count(),
                usize::from(coding.is_some())
            );
            assert_eq!(reply.header("vary"), Some("accept-encoding"), "{accepted}");
            assert!(decoded(&reply) == content, "{accepted}");
            assert_eq!(reply.body.len() < content.len() / 2, coding.is_some(), "{accepted}");
        }
    }
}

#[test]
fn the_order_of_the_config_decides_among_equals() {
    for (revisers, coding) in [("gzip {} brotli {}", "gzip"), ("brotli {} gzip {}", "br")] {
        let server = mirrored(revisers);
        let reply = mirror(&server, &text(1000), &[HTML, "Accept-Encoding: br, gzip"]);
        assert_eq!(reply.header("content-encoding"), Some(coding));
    }
    // Those of the rule come before those of the webapp.
    let server = site("", "gzip {} rule { mirror {} brotli {} }");
    for (accepted, coding) in [("br, gzip", "br"), ("gzip", "gzip"), ("gzip, br;q=0.5", "br")] {
        let accept = format!("Accept-Encoding: {accepted}");
        let reply = mirror(&server, &text(1000), &[HTML, &accept]);
        assert_eq!(reply.header("content-encoding"), Some(coding), "{accepted}");
        assert_eq!(reply.header_values("vary").collect::<Vec<_>>(), ["accept-encoding"]);
        assert_eq!(decoded(&reply), text(1000));
    }
}

#[test]
fn what_should_not_be_compressed_is_not_touched() {
    let (server, content) = (mirrored(ALL), text(1000));
    let etag = "Reply-ETag: \"a\"";
    for lines in [
        vec!["Reply-Content-Type: image/png"],
        vec!["Reply-Content-Type: text"],
        vec![],
        vec![HTML, "Reply-Content-Encoding: br"],
        vec![HTML, "Reply-Content-Encoding: gzip, gzip"],
        vec![HTML, "Reply-Cache-Control: public, No-Transform"],
        vec![HTML, "Reply-Status: 206", "Reply-Content-Range: bytes 0-999/2000"],
        vec![HTML, "Reply-Content-Range: bytes 0-999/2000"],
    ] {
        for whole in [None, Some(WHOLE)] {
            let mut lines = lines.clone();
            lines.extend(whole);
            lines.extend([etag, "Accept-Encoding: gzip, br, zstd"]);
            let reply = mirror(&server, &content, &lines);
            assert_eq!(reply.body, content, "{lines:?}");
            assert_eq!(reply.header("vary"), None, "{lines:?}");
            assert_eq!(reply.header("etag"), Some("\"a\""), "{lines:?}");
            assert_eq!(reply.header("content-length"), Some("1000"), "{lines:?}");
        }
    }
    for status in ["204", "304"] {
        let status = format!("Reply-Status: {status}");
        let reply = mirror(&server, b"", &[HTML, etag, &status, "Accept-Encoding: gzip"]);
        assert_eq!((reply.header("content-encoding"), reply.header("vary")), (None, None));
        assert_eq!(reply.header("etag"), Some("\"a\""));
    }
}

#[test]
fn small_content_is_not_worth_it() {
    let accept = "Accept-Encoding: gzip";
    for (properties, least) in [("", 256), (".minLength = 1K", 1024), (".minLength = 0", 0)] {
        let server = mirrored(&format!("gzip {{ {properties} }}"));
        for whole in [None, Some(WHOLE)] {
            let lines: Vec<_> = [HTML, accept].into_iter().chain(whole).collect();
            let reply = mirror(&server, &text(least.max(100)), &lines);
            assert_eq!(reply.header("content-encoding"), Some("gzip"), "{properties}");
            if least > 0 {
                let reply = mirror(&server, &text(least - 1), &lines);
                assert_eq!(reply.header("content-encoding"), None, "{properties}");
                assert_eq!(reply.header("vary"), None, "{properties}");
            }
        }
    }
    // What would become longer stays as it is, though it had been taken up.
    let noise: Vec<u8> = (0..60u8).map(|i| i.wrapping_mul(151)).collect();
    let server = mirrored("gzip { .minLength = 0 }");
    let reply = mirror(&server, &noise, &[HTML, accept, WHOLE]);
    assert_eq!(
        (reply.header("content-encoding"), reply.header("vary")),
        (None, Some("accept-encoding"))
    );
    assert_eq!(reply.body, noise);
}

#[test]
fn fields_tell_of_the_compressed_content() {
    let (server, content) = (mirrored(ALL), text(1000));
    for (tag, weak) in
        [("\"a\"", Some("W/\"a\"")), ("W/\"a\"", Some("W/\"a\"")), ("nonsense", None)]
    {
        let etag = format!("Reply-ETag: {tag}");
        let lines = [
            HTML,
            WHOLE,
            &etag,
            "Accept-Encoding: gzip",
            "Reply-Accept-Ranges: bytes",
            "Reply-Content-Encoding: identity",
            "Reply-Repr-Digest: sha-256=:x:",
            "Reply-Content-MD5: x",
            "Reply-Vary: Origin, ACCEPT-encoding",
            "Reply-Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
        ];
        let reply = mirror(&server, &content, &lines);
        assert_eq!(reply.header_values("content-encoding").collect::<Vec<_>>(), ["gzip"]);
        assert_eq!(reply.header("etag"), weak);
        for gone in ["accept-ranges", "repr-digest", "content-md5"] {
            assert_eq!(reply.header(gone), None, "{gone}");
        }
        assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()));
        assert_eq!(reply.header_values("vary").collect::<Vec<_>>(), ["Origin, ACCEPT-encoding"]);
        assert!(reply.header("last-modified").is_some());
        assert_eq!(decoded(&reply), content);
    }
}

#[test]
fn head_is_answered_as_get_would_be() {
    let files = Site::new().unwrap().file("a.html", text(5000)).unwrap();
    let files = files.file("small.txt", "small").unwrap().file("a.png", text(5000)).unwrap();
    let root = files.root().display();
    let server = site("", &format!(".webRoot = \"{root}\"  {ALL} rule {{ static {{}} }}"));
    for (path, accepted) in [
        ("/a.html", "gzip"),
        ("/a.html", "br"),
        ("/a.html", ""),
        ("/small.txt", "gzip"),
        ("/a.png", "gzip"),
    ] {
        let accept = format!("Accept-Encoding: {accepted}");
        let head = server.ask("HEAD", path, &[&accept]);
        let get = server.ask("GET", path, &[&accept]);
        for name in ["content-encoding", "vary", "etag", "content-type", "accept-ranges"] {
            assert_eq!(head.header(name), get.header(name), "{path} {accepted} {name}");
        }
        if get.header("content-encoding").is_none() {
            assert_eq!(head.header("content-length"), get.header("content-length"));
        }
    }
}

#[test]
fn files_are_compressed_whatever_their_size_and_parts_are_not() {
    let large = text(3 << 20);
    let files = Site::new().unwrap().file("small.html", &large[..3000]).unwrap();
    let files = files.file("middle.html", &large[..50_000]).unwrap();
    let files = files.file("large.html", &large).unwrap();
    let root = files.root().display();
    let server = site("", &format!(".webRoot = \"{root}\"  rule {{ static {{}} {ALL} }}"));
    for (path, len) in
        [("/small.html", 3000), ("/middle.html", 50_000), ("/large.html", large.len())]
    {
        for coding in ["gzip", "br", "zstd"] {
            let accept = format!("Accept-Encoding: {coding}");
            // The second time it may come from memory.
            for _ in 0..2 {
                let reply = server.ask("GET", path, &[&accept]);
                assert_eq!(reply.header("content-encoding"), Some(coding));
                assert!(decoded(&reply) == large[..len], "{path} {coding}");
                let etag = reply.header("etag").unwrap();
                assert!(etag.starts_with("W/\""), "{etag}");
                // The tag is good for asking again, and comes back as it was.
                let again = server.ask("GET", path, &[&accept, &format!("If-None-Match: {etag}")]);
                assert_eq!((again.status, again.header("etag")), (304, Some(etag)));
                assert_eq!(again.header("vary"), Some("accept-encoding"));
            }
            let part = server.ask("GET", path, &[&accept, "Range: bytes=0-999"]);
            assert_eq!((part.status, part.header("content-encoding")), (206, None));
            assert_eq!(part.body, large[..1000]);
        }
    }
}

#[test]
fn curl_reads_every_coding() {
    let Some(curl) = peer("curl") else { return };
    let content = text(300_000);
    let files = Site::new().unwrap().file("a.html", &content).unwrap();
    let root = files.root().display();
    for reviser in ["gzip", "brotli", "zstd"] {
        let config = format!(".webRoot = \"{root}\"  {reviser} {{}} rule {{ static {{}} }}");
        let server = site("", &config);
        let url = format!("http://{}/a.html", server.addr());
        let output = Command::new(&curl).args(["-s", "--compressed", &url]).output().unwrap();
        assert!(output.status.success() && output.stdout == content, "{reviser}");
    }
}

#[test]
fn levels_and_types_outside_the_range_are_mistakes() {
    for (text, told) in [
        ("gzip { .level = 0 }", "0 is no level: write one from 1 to 9"),
        ("gzip { .level = 10 }", "10 is no level: write one from 1 to 9"),
        ("brotli { .level = 11 }", "11 is no level: write one from 1 to 9"),
        ("zstd { .level = 300 }", "300 is no level: write one from 1 to 12"),
        ("gzip { .onContentTypes = (\"text\") }", "\"text\" names no media type"),
    ] {
        let mistake = mistake("", &format!("rule {{ mirror {{}} {text} }}"));
        assert!(mistake.contains(told), "{mistake}");
    }
}

#[test]
fn every_level_can_be_read() {
    let content = text(100_000);
    for (sign, most, coding) in [("gzip", 9, "gzip"), ("brotli", 9, "br"), ("zstd", 12, "zstd")] {
        let mut lens = Vec::new();
        for level in 1..=most {
            let server = mirrored(&format!("{sign} {{ .level = {level} }}"));
            let accept = format!("Accept-Encoding: {coding}");
            let reply = mirror(&server, &content, &[HTML, &accept]);
            assert!(decoded(&reply) == content, "{sign} {level}");
            lens.push(reply.body.len());
        }
        assert!(lens.first() > lens.last(), "{sign} {lens:?}");
    }
}
