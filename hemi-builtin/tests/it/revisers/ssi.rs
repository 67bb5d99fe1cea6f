//! `ssi`: pages that are put together.

use std::fs::File;
use std::time::{Duration, SystemTime};

use hemi_test::Site;

use super::{decoded, text};
use crate::server::{Running, site};

const ERROR: &str = "[an error occurred while processing this directive]";

fn serve(files: &Site, properties: &str) -> Running {
    serve_with(files, &format!("ssi {{ {properties} }}"))
}

fn serve_with(files: &Site, revisers: &str) -> Running {
    let root = files.root().display();
    let handlet = r#"static { .mimeTypes = ["shtml": "text/html", "php": "text/x-php"] }"#;
    site("", &format!(".webRoot = \"{root}\"  rule {{ {handlet} {revisers} }}"))
}

/// What becomes of a page in `/dir/`, with these files beside it.
fn page(page: &str) -> String {
    let files = Site::new().unwrap().file("dir/page.html", page).unwrap();
    let files = files.file("top.html", "TOP").unwrap();
    let files = files.file("dir/part.html", "PART<!--#echo var=\"v\" -->").unwrap();
    let files = files.file("dir/sub/deep.txt", "DEEP <!--#include file='deeper.txt' -->").unwrap();
    let files = files.file("dir/sub/deeper.txt", "DEEPER").unwrap();
    let files = files.file("dir/sub/.secret.html", "SECRET").unwrap();
    let files = files.file("code.php", "<?php SECRET").unwrap();
    let files = files.sparse_file("big.bin", 3 << 20).unwrap();
    let files = files.link("out.html", "/etc/hostname").unwrap();
    let big = File::options().write(true).open(files.root().join("big.bin")).unwrap();
    big.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)).unwrap();
    let server = serve(&files, "");
    let reply = server.ask(
        "GET",
        "/dir/page.html?a='b'&c",
        &["X-Own: \"<x>\"", "Cookie: k=v", "Range: bytes=0-3"],
    );
    assert_eq!(reply.status, 200);
    reply.text()
}

#[test]
fn files_are_included() {
    for (text, expected) in [
        ("no directives", "no directives"),
        ("a<!--#include virtual=\"/top.html\" -->b", "aTOPb"),
        ("<!--#include virtual=\"../top.html?x=y\" -->", "TOP"),
        ("<!--#include virtual=\"sub/%64eep.txt\" -->", "DEEP DEEPER"),
        ("<!--#include file=\"sub/deep.txt\" -->!", "DEEP DEEPER!"),
        ("<!--#set var='n' value='top' --><!--#include virtual='/${n}.html' -->", "TOP"),
        ("<!--#set var='v' value='1' --><!--#include file='part.html' -->", "PART1"),
    ] {
        assert_eq!(page(text), expected, "{text}");
    }
}

#[test]
fn what_may_not_be_included_is_not() {
    for directive in [
        "include file='../top.html'",
        "include file='/top.html'",
        "include file='sub/../part.html'",
        "include virtual='/../../../etc/hostname'",
        "include virtual='/out.html'",
        "include virtual='sub/.secret.html'",
        "include virtual='sub/%2esecret.html'",
        "include virtual='/code.php'",
        "include virtual='/big.bin'",
        "include virtual='/none.html'",
        "include virtual='/dir'",
        "include virtual='a%2fb.html'",
        "include path='/top.html'",
        "include",
        "exec cmd='id'",
        "printenv",
        "echo encoding='rot13' var='a'",
        "fsize virtual='/none.html'",
        "endif",
        "else",
        "if expr='('",
    ] {
        let shown = page(&format!("a<!--#{directive} -->b"));
        assert!(shown.starts_with(&format!("a{ERROR}")), "{directive}: {shown}");
        assert!(!shown.contains("SECRET"));
    }
}

#[test]
fn variables_are_shown_as_text() {
    for (text, expected) in [
        ("<!--#echo var='QUERY_STRING' -->", "a=&#39;b&#39;&amp;c"),
        ("<!--#echo encoding='none' var='QUERY_STRING' -->", "a='b'&c"),
        ("<!--#echo encoding='url' var='QUERY_STRING' -->", "a%3D%27b%27%26c"),
        ("<!--#echo var='HTTP_X_OWN' -->", "&quot;&lt;x&gt;&quot;"),
        (
            "<!--#echo var='DOCUMENT_URI' --> <!--#echo var='DOCUMENT_NAME' -->",
            "/dir/page.html page.html",
        ),
        ("<!--#echo var='REMOTE_ADDR' --> <!--#echo var='REQUEST_METHOD' -->", "127.0.0.1 GET"),
        ("<!--#echo var='SERVER_NAME' -->", "site.test"),
        ("<!--#echo var='none' --> <!--#echo default='-' var='none' -->", "(none) -"),
        (
            "<!--#set var='a' value='1 $none\\$ ${QUERY_STRING}' --><!--#echo var='a' -->",
            "1 $ a=&#39;b&#39;&amp;c",
        ),
        ("<!--#config echomsg='?' errmsg='oops' --><!--#echo var='x' --><!--#x -->", "?oops"),
        ("<!--#config timefmt='%Y' --><!--#flastmod virtual='/big.bin' -->", "1994"),
        ("<!--#flastmod virtual='/big.bin' -->", "Sunday, 06-Nov-1994 08:49:37 UTC"),
        ("<!--#fsize virtual='/big.bin' --> <!--#fsize file='part.html' -->", "3.0M 25"),
        ("<!--#config sizefmt='bytes' --><!--#fsize virtual='/big.bin' -->", "3145728"),
    ] {
        assert_eq!(page(text), expected, "{text}");
    }
    // The value of one variable may be that of another many times over, up to a bound.
    let doubled = "<!--#set var='a' value='$a$a$a$a$a$a$a$a' -->".repeat(6);
    let shown = page(&format!("<!--#set var='a' value='xxxxxxxx' -->{doubled}"));
    assert_eq!(shown, ERROR.repeat(3));
}

#[test]
fn conditions_choose() {
    for (text, expected) in [
        ("<!--#if expr='1' -->a<!--#else -->b<!--#endif -->c", "ac"),
        ("<!--#if expr='$none' -->a<!--#else -->b<!--#endif -->c", "bc"),
        ("<!--#if expr='$QUERY_STRING = /^a=/' -->a<!--#endif -->c", "ac"),
        (
            "<!--#if expr='$none' -->a<!--#elif expr='$x' -->b<!--#elif expr='y' -->c<!--#elif expr='z' -->d<!--#else -->e<!--#endif -->",
            "c",
        ),
        (
            "<!--#if expr='1' -->a<!--#if expr='' -->b<!--#else -->c<!--#endif -->d<!--#endif -->",
            format!("a{ERROR}cd").as_str(),
        ),
        (
            "<!--#if expr='$none' -->a<!--#if expr='1' -->b<!--#else -->c<!--#endif -->d<!--#else -->e<!--#endif -->",
            "e",
        ),
        // What is not shown is not done either.
        (
            "<!--#if expr='$none' --><!--#set var='a' value='1' --><!--#exec cmd='id' --><!--#endif --><!--#echo var='a' -->",
            "(none)",
        ),
        ("<!--#if expr='1' -->open", "open"),
        ("<!--#if expr='1' --><!--#include file='part.html' --><!--#endif -->", "PART(none)"),
    ] {
        assert_eq!(page(text), expected, "{text}");
    }
    let nested = |depth| {
        format!("{}x{}", "<!--#if expr='1' -->".repeat(depth), "<!--#endif -->".repeat(depth))
    };
    assert_eq!(page(&nested(64)), "x");
    assert_eq!(page(&nested(65)), format!("{ERROR}x{ERROR}"));
}

#[test]
fn depth_and_size_are_bounded() {
    let files =
        Site::new().unwrap().file("loop.html", "x<!--#include file='loop.html' -->").unwrap();
    let files = files.file("empty.html", "").unwrap();
    let many = "<!--#include file='empty.html' -->".repeat(101);
    let files = files.file("many.html", many).unwrap();
    let files = files.file("large.txt", text(150_000)).unwrap();
    let large = "<!--#include file='large.txt' -->|".repeat(3);
    let files = files.file("large.html", large).unwrap();
    let get = |properties: &str, path: &str| serve(&files, properties).get(path).text();
    assert_eq!(get("", "/loop.html"), format!("{}{ERROR}", "x".repeat(9)));
    assert_eq!(get(".maxDepth = 2", "/loop.html"), format!("xxx{ERROR}"));
    assert_eq!(get(".maxDepth = 0", "/loop.html"), format!("x{ERROR}"));
    assert_eq!(get(".maxSize = 6400", "/many.html"), ERROR);
    assert_eq!(get(".maxSize = 6464", "/many.html"), "");
    let once = String::from_utf8(text(150_000)).unwrap();
    assert!(get("", "/large.html") == format!("{once}|").repeat(3));
    assert!(get(".maxSize = 300K", "/large.html") == format!("{once}|{once}|{ERROR}|"));
    assert_eq!(get(".extensions = (\".TXT\")", "/loop.html"), format!("x{ERROR}"));
}

#[test]
fn only_pages_are_looked_through_and_what_they_become_is_compressed() {
    let directive = "<!--#echo var='DOCUMENT_NAME' -->";
    let files = Site::new().unwrap().file("a.txt", directive).unwrap();
    let files = files.file("a.shtml", format!("{directive}{}", "x".repeat(500))).unwrap();
    let server = serve_with(&files, "gzip {} ssi {}");
    let plain = server.get("/a.txt");
    assert_eq!(plain.text(), directive);
    assert!(plain.header("etag").is_some());
    let reply = server.ask("GET", "/a.shtml", &["Accept-Encoding: gzip"]);
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(reply.header("etag").or(reply.header("last-modified")), None);
    assert_eq!(decoded(&reply), format!("a.shtml{}", "x".repeat(500)).as_bytes());
    let head = server.ask("HEAD", "/a.shtml", &[]);
    assert_eq!((head.status, head.header("content-length")), (200, None));
    let post = server.ask("POST", "/a.shtml", &[]);
    assert_eq!(post.status, 405);
}
