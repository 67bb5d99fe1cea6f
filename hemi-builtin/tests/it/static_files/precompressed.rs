//! Compressed files beside their originals.

use std::process::Command;
use std::time::{Duration, SystemTime};

use hemi_test::{Reply, Site, peer};

use super::{MODIFIED, serve, serve_with, set_modified};

const ALL: &str = r#".precompressed = ("br", "zstd", "gzip")"#;

/// `a.css` and `dir/index.html` with all that may stand beside them, `b.css` with one, `c.css` alone.
fn files() -> Site {
    let mut files = Site::new().unwrap();
    for name in ["a.css", "dir/index.html"] {
        files = files.file(name, "original").unwrap();
        for extension in ["br", "zst", "gz"] {
            files = files.file(format!("{name}.{extension}"), extension).unwrap();
        }
    }
    let files = files.file("b.css", "original").unwrap().file("b.css.gz", "gz").unwrap();
    files.file("c.css", "original").unwrap()
}

fn accept(coding: &str) -> String {
    format!("Accept-Encoding: {coding}")
}

fn is(reply: &Reply, text: &str) {
    let coding = match text {
        "original" => None,
        "br" => Some("br"),
        "zst" => Some("zstd"),
        "gz" => Some("gzip"),
        other => panic!("{other}"),
    };
    assert_eq!((reply.status, reply.text().as_str()), (200, text));
    assert_eq!(reply.header("content-encoding"), coding);
    assert_eq!(reply.header("vary"), Some("accept-encoding"));
    assert_eq!(reply.header("content-length"), Some(&*text.len().to_string()));
}

#[test]
fn clients_get_what_they_like_best_of_what_there_is() {
    let files = files();
    let server = serve_with(&files, "", ALL);
    for (accepted, a, b) in [
        ("gzip, deflate, br, zstd", "br", "gz"),
        ("gzip;q=0.9, zstd", "zst", "gz"),
        ("gzip, br;q=0.5", "gz", "gz"),
        ("br;q=0, zstd;q=0, gzip", "gz", "gz"),
        ("br, gzip;q=0", "br", "original"),
        ("*", "br", "gz"),
        ("*;q=0.1, br;q=0", "zst", "gz"),
        ("identity, gzip;q=0.5", "original", "original"),
        ("deflate", "original", "original"),
        ("gzip;q=0", "original", "original"),
        ("", "original", "original"),
    ] {
        for (target, expected) in
            [("/a.css", a), ("/dir/", a), ("/b.css", b), ("/c.css", "original")]
        {
            let reply = server.ask("GET", target, &[&accept(accepted)]);
            println!("{target} {accepted}");
            is(&reply, expected);
            let media_type = if target == "/dir/" { "text/html" } else { "text/css" };
            let media_type = format!("{media_type}; charset=utf-8");
            assert_eq!(reply.header("content-type"), Some(&*media_type), "{target} {accepted}");
        }
    }
    is(&server.get("/a.css"), "original");
    // Who refuses all there is is told so.
    for (target, accepted, status) in [
        ("/c.css", "identity;q=0", 406),
        ("/c.css", "br, *;q=0", 406),
        ("/b.css", "br, identity;q=0", 406),
        ("/b.css", "gzip, identity;q=0", 200),
    ] {
        let reply = server.ask("GET", target, &[&accept(accepted)]);
        assert_eq!((reply.status, reply.header("vary")), (status, Some("accept-encoding")));
    }
    // The order among equals is the config's, and no other files are looked for.
    let server = serve_with(&files, "", r#".precompressed = ("gzip", "br")"#);
    is(&server.ask("GET", "/a.css", &[&accept("br, gzip, zstd")]), "gz");
    is(&server.ask("GET", "/a.css", &[&accept("zstd")]), "original");
    let reply = serve(&files).ask("GET", "/a.css", &[&accept("br, identity;q=0")]);
    assert_eq!((reply.text().as_str(), reply.header("vary")), ("original", None));
}

#[test]
fn each_representation_has_validators_and_ranges_of_its_own() {
    let files = Site::new().unwrap().file("a.css", "original").unwrap();
    let files = files.file("a.css.gz", "0123456789").unwrap();
    for small in ["64K", "5"] {
        let stage = format!("fcache {{ .smallFileSize = {small} }}");
        let server = serve_with(&files, &stage, ALL);
        let ask = |lines: &[&str]| server.ask("GET", "/a.css", lines);
        let gzip = "Accept-Encoding: gzip";
        let (original, packed) = (ask(&[]), ask(&[gzip]));
        let tag = |reply: &Reply| reply.header("etag").unwrap().to_owned();
        assert_ne!(tag(&original), tag(&packed));
        let none_match = |reply: &Reply| format!("If-None-Match: {}", tag(reply));
        let same = ask(&[gzip, &none_match(&packed)]);
        assert_eq!((same.status, same.header("etag")), (304, packed.header("etag")));
        assert_eq!(same.header("vary"), Some("accept-encoding"));
        assert_eq!(ask(&[gzip, &none_match(&original)]).status, 200);
        assert_eq!(ask(&[&none_match(&packed)]).status, 200);

        let part = ask(&[gzip, "Range: bytes=8-"]);
        assert_eq!((part.status, part.text().as_str()), (206, "89"));
        assert_eq!(part.header("content-range"), Some("bytes 8-9/10"));
        assert_eq!(part.header("content-encoding"), Some("gzip"));
        assert_eq!(ask(&["Range: bytes=8-"]).header("content-range"), Some("bytes */8"));
        let if_range = format!("If-Range: {}", tag(&original));
        assert_eq!(ask(&[gzip, &if_range, "Range: bytes=8-"]).status, 200);

        // By its own name it is just another file.
        let itself = server.get("/a.css.gz");
        assert_eq!(itself.header("content-type"), Some("application/gzip"));
        assert_eq!((itself.header("content-encoding"), itself.text()), (None, packed.text()));
        let head = server.ask("HEAD", "/a.css", &[gzip]);
        assert_eq!(head.header("content-length"), Some("10"));
        assert_eq!(head.header("content-encoding"), Some("gzip"));
        assert_eq!(server.ask("POST", "/a.css", &[gzip]).status, 405);
    }
}

#[test]
fn what_is_older_than_its_original_or_no_file_is_not_sent() {
    let files = files();
    let at = |name: &str| files.root().join(name);
    let original = SystemTime::UNIX_EPOCH + MODIFIED;
    set_modified(&at("a.css"), original);
    set_modified(&at("a.css.br"), original - Duration::from_millis(1));
    set_modified(&at("a.css.zst"), original);
    std::fs::remove_file(at("b.css.gz")).unwrap();
    std::fs::create_dir(at("b.css.gz")).unwrap();
    let server = serve_with(&files, "", ALL);
    is(&server.ask("GET", "/a.css", &[&accept("br, zstd;q=0.5, gzip;q=0.1")]), "zst");
    is(&server.ask("GET", "/b.css", &[&accept("gzip")]), "original");
    // Nor is one whose original is gone.
    std::fs::remove_file(at("dir/index.html")).unwrap();
    assert_eq!(server.ask("GET", "/dir/", &[&accept("gzip")]).status, 404);
}

#[test]
fn curl_unpacks_what_it_gets() {
    let Some(curl) = peer("curl") else { return };
    let packed: &[u8] = &[
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9,
        0x57, 0xc8, 0x40, 0x90, 0x5c, 0x00, 0x3b, 0x7c, 0x8a, 0xdf, 0x12, 0x00, 0x00, 0x00,
    ];
    let files = Site::new().unwrap().file("a.txt", "original").unwrap();
    let files = files.file("a.txt.gz", packed).unwrap();
    let server = serve_with(&files, "", ALL);
    let url = format!("http://{}/a.txt", server.addr());
    let output = Command::new(curl).args(["-sS", "--compressed", &url]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello hello hello\n");
}
