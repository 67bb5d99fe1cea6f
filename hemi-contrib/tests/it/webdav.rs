//! The handlet `webdav`.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use hemi_test::{Site, TempDir, peer};

use crate::server::{Running, site};

fn webapp(root: &Site, webapp: &str, properties: &str) -> String {
    let root = root.root().display();
    format!(
        r#"{webapp} rule $path ^= "/dav" {{
            webdav {{ .webRoot = "{root}"  .stripPrefix = "/dav"  {properties} }}
        }}"#
    )
}

fn serve(root: &Site, properties: &str) -> Running {
    site("", &webapp(root, "", properties))
}

#[test]
fn litmus_is_content() {
    let Some(litmus) = peer("litmus") else { return };
    let root = Site::new().unwrap();
    let server = serve(&root, "");
    // It leaves logs where it runs.
    let logs = TempDir::new().unwrap();
    let mut command = Command::new(litmus);
    command.arg("--keep-going").arg(format!("http://{}/dav/", server.addr()));
    let output = command.current_dir(logs.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    for suite in ["basic", "copymove", "props", "locks", "http"] {
        let summary = format!("summary for `{suite}'");
        let line = text.lines().find(|line| line.contains(&summary));
        assert!(line.is_some_and(|line| line.contains(" 0 failed")), "{suite}: {text}");
    }
    assert!(!text.contains("SKIPPED"), "{text}");
}

/// The names of all there is in a directory.
fn names(root: &Site) -> Vec<String> {
    let entries = std::fs::read_dir(root.root()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn no_link_leads_anywhere() {
    let outside = Site::new().unwrap().file("secret.txt", "secret").unwrap();
    let root = Site::new()
        .and_then(|root| root.file("dir/a.txt", "a"))
        .and_then(|root| root.link("dir/out", outside.root()))
        .and_then(|root| root.link("out", outside.root()))
        .and_then(|root| root.link("out.txt", outside.root().join("secret.txt")))
        .and_then(|root| root.link("in", "dir"))
        .unwrap();
    let server = serve(&root, "");
    for target in ["/dav/out/secret.txt", "/dav/out.txt", "/dav/in/a.txt", "/dav/dir/out"] {
        for (method, line) in [
            ("GET", "Depth: 0"),
            ("PROPFIND", "Depth: 1"),
            ("COPY", "Destination: /dav/copy"),
            ("MOVE", "Destination: /dav/copy"),
            ("DELETE", "Depth: infinity"),
        ] {
            let status = server.send(method, target, &[line], "").status;
            assert!(matches!(status, 403 | 404), "{method} {target}: {status}");
        }
    }
    for target in ["/dav/out/new", "/dav/out/secret.txt", "/dav/in/new"] {
        assert!(matches!(server.send("PUT", target, &[], "x").status, 403 | 409), "{target}");
        assert!(matches!(server.send("MKCOL", target, &[], "").status, 403 | 409), "{target}");
        let line = format!("Destination: {target}");
        let status = server.send("COPY", "/dav/dir/a.txt", &[&line], "").status;
        assert!(matches!(status, 403 | 409), "{target}: {status}");
    }
    let listed = server.send("PROPFIND", "/dav/", &["Depth: 1"], "").text();
    assert!(listed.contains("/dav/dir/") && !listed.contains("out") && !listed.contains("/in"));
    // What is copied are files and directories, not links; what is removed are links, not their targets.
    let copied = server.send("COPY", "/dav/dir/", &["Destination: /dav/copy"], "");
    assert_eq!(copied.status, 201);
    assert!(root.root().join("copy/a.txt").is_file() && !root.root().join("copy/out").exists());
    assert_eq!(server.send("DELETE", "/dav/dir", &[], "").status, 204);
    assert_eq!(std::fs::read(outside.root().join("secret.txt")).unwrap(), b"secret");
    // A link itself is replaced, and what it points to stays as it is.
    assert!(matches!(server.send("PUT", "/dav/out.txt", &[], "x").status, 201 | 403));
    assert_eq!(std::fs::read(outside.root().join("secret.txt")).unwrap(), b"secret");
}

#[test]
fn destinations_stay_below_the_root() {
    let root = Site::new().unwrap().file("a.txt", "a").unwrap().file("d/b.txt", "b").unwrap();
    let server = serve(&root, "");
    for (target, destination, status) in [
        ("/dav/a.txt", "http://other.test/dav/b", 502),
        ("/dav/a.txt", "/elsewhere/b", 403),
        ("/dav/a.txt", "/dav/../b", 403),
        ("/dav/a.txt", "/../b", 400),
        ("/dav/a.txt", "/dav/%2e%2e/%2e%2e/b", 400),
        ("/dav/a.txt", "b", 400),
        ("/dav/a.txt", "/dav/b#c", 400),
        ("/dav/a.txt", "/dav/.hemi-dav-1-1", 403),
        ("/dav/a.txt", "/dav/a.txt", 403),
        ("/dav/a.txt", "/dav/a.txt/b", 403),
        ("/dav/a.txt", "/dav/no/b", 409),
        ("/dav/d", "/dav/d/e", 403),
        ("/dav/d/b.txt", "/dav/d", 403),
        ("/dav/d", "/dav/", 403),
        ("/dav/", "/dav/x", 403),
        ("/dav/no", "/dav/x", 404),
    ] {
        let line = format!("Destination: {destination}");
        for method in ["COPY", "MOVE"] {
            let answered = server.send(method, target, &[&line], "").status;
            assert_eq!(answered, status, "{method} {target} to {destination}");
        }
    }
    assert_eq!(server.send("DELETE", "/dav/", &[], "").status, 403);
    assert_eq!(server.send("GET", "/david", &[], "").status, 404);
    assert_eq!(names(&root), ["a.txt", "d"]);
    let line = "Destination: https://site.test/dav/c%20d.txt";
    assert_eq!(server.send("MOVE", "/dav/a.txt", &[line], "").status, 201);
    assert_eq!(names(&root), ["c d.txt", "d"]);
}

#[test]
fn files_appear_whole_or_not_at_all() {
    let root = Site::new().unwrap().file("a.txt", "before").unwrap().file("d/b.txt", "b").unwrap();
    let webapp = webapp(&root, ".maxBodySize = 1M", "");
    let server = site("", &webapp);
    let large = "x".repeat((1 << 20) + 1);
    let chunked = |content: &str, end: &str| {
        let mut client = hemi_test::raw::Client::connect(server.addr()).unwrap();
        let head =
            "PUT /dav/a.txt HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{:x}\r\n{content}\r\n{end}", content.len())).unwrap();
        client.finish().unwrap();
        client.read_response()
    };
    assert_eq!(server.send("PUT", "/dav/a.txt", &[], &large).status, 413);
    assert_eq!(chunked(&large, "0\r\n\r\n").unwrap().status, 413);
    // Broken off: whether there is an answer is the connection's business.
    let _ = chunked("half", "");
    let is_left = |names: Vec<String>| names.iter().any(|name| name.starts_with('.'));
    let gone = || !is_left(names(&root));
    assert!(hemi_test::eventually(std::time::Duration::from_secs(20), gone), "{:?}", names(&root));
    assert_eq!(server.send("GET", "/dav/a.txt", &[], "").text(), "before");
    assert_eq!(chunked("whole", "0\r\n\r\n").unwrap().status, 204);
    assert_eq!(server.send("GET", "/dav/a.txt", &[], "").text(), "whole");
    for (target, line, status) in [
        ("/dav/a.txt", "If-None-Match: *", 412),
        ("/dav/a.txt", "If-Match: \"x\"", 412),
        ("/dav/new.txt", "If-Match: *", 412),
        ("/dav/a.txt", "Content-Range: bytes 0-0/5", 400),
        ("/dav/a.txt", "If: (<urn:uuid:no>)", 412),
        ("/dav/a.txt", "If: (<urn:uuid:no>", 400),
        ("/dav/d", "Depth: 0", 405),
        ("/dav/", "Depth: 0", 405),
        ("/dav/no/new.txt", "Depth: 0", 409),
        ("/dav/a.txt/new.txt", "Depth: 0", 409),
        ("/dav/.hemi-dav-1-1", "Depth: 0", 404),
        ("/dav/new.txt", "If-None-Match: *", 201),
    ] {
        let answered = server.send("PUT", target, &[line], "x").status;
        assert_eq!(answered, status, "{target} {line}");
    }
    let current = server.send("GET", "/dav/a.txt", &[], "");
    let line = format!("If-Match: {}", current.header("etag").unwrap());
    let put = server.send("PUT", "/dav/a.txt", &[&line], "by tag");
    assert_eq!(put.status, 204);
    assert_ne!(put.header("etag"), current.header("etag"));
    assert_eq!(server.send("PUT", "/dav/a.txt", &[&line], "again").status, 412);
    assert_eq!(server.send("POST", "/dav/a.txt", &[], "").status, 405);
}

#[test]
fn what_a_replaced_file_had_stays() {
    let root = Site::new().unwrap().file("a.txt", "before").unwrap();
    let path = root.root().join("a.txt");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let server = serve(&root, "");
    if !takes_properties(&server) {
        return;
    }
    assert_eq!(server.send("PUT", "/dav/a.txt", &[], "after").status, 204);
    let copied = server.send("COPY", "/dav/a.txt", &["Destination: /dav/b.txt"], "");
    assert_eq!(copied.status, 201);
    for name in ["a.txt", "b.txt"] {
        let meta = std::fs::metadata(root.root().join(name)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o640, "{name}");
        let found = server.send("PROPFIND", &format!("/dav/{name}"), &["Depth: 0"], "");
        let property = r#"<mood xmlns="urn:x" xml:lang="en">good &amp; <very xmlns=""/></mood>"#;
        assert!(found.text().contains(property), "{}", found.text());
    }
}

/// Gives `a.txt` a property; false if the file system has none.
fn takes_properties(server: &Running) -> bool {
    let update = r#"<u:propertyupdate xmlns:u="DAV:" xml:lang="en"><u:set><u:prop>
        <x:mood xmlns:x="urn:x">good &amp; <very/></x:mood></u:prop></u:set></u:propertyupdate>"#;
    let patched = server.send("PROPPATCH", "/dav/a.txt", &[], update);
    assert_eq!(patched.status, 207);
    let text = patched.text();
    assert!(text.contains("200 OK") || text.contains("403 Forbidden"), "{text}");
    text.contains("200 OK")
}

#[test]
fn properties_are_all_changed_or_none() {
    let root = Site::new().unwrap().file("a.txt", "a").unwrap();
    let server = serve(&root, "");
    if !takes_properties(&server) {
        return;
    }
    let set = |properties: &str| {
        let update = format!(
            r#"<propertyupdate xmlns="DAV:"><set><prop>{properties}</prop></set></propertyupdate>"#
        );
        server.send("PROPPATCH", "/dav/a.txt", &[], &update).text()
    };
    let text = set(r#"<b xmlns="urn:x">1</b><getetag>2</getetag>"#);
    assert!(text.contains("403 Forbidden") && text.contains("424 Failed Dependency"), "{text}");
    // More than the file system takes.
    let long = "x".repeat(50_000);
    let text = set(&format!(r#"<b xmlns="urn:x">{long}</b>"#));
    assert!(text.contains("507 Insufficient Storage"), "{text}");
    let all = server.send("PROPFIND", "/dav/a.txt", &["Depth: 0"], "").text();
    assert!(all.contains("<mood ") && !all.contains("<b "), "{all}");
}

#[test]
fn xml_is_bounded() {
    let root = Site::new().unwrap().file("a.txt", "a").unwrap();
    let server = serve(&root, "");
    let ask = |content: &str| server.send("PROPFIND", "/dav/a.txt", &["Depth: 0"], content).status;
    let named = |names: &str| format!(r#"<propfind xmlns="DAV:"><prop>{names}</prop></propfind>"#);
    for (content, status) in [
        (named("<getetag/>"), 207),
        (named(&"<a/>".repeat(4000)), 207),
        (named(&"<a/>".repeat(4100)), 400),
        (named(&("<a>".repeat(40) + &"</a>".repeat(40))), 400),
        (named(&" ".repeat(64 << 10)), 413),
        (format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{}", named("&b;")), 400),
        (named("<a>&b;</a>"), 400),
        (named("<"), 400),
        (r#"<propfind xmlns="DAV:"><prop/><allprop/></propfind>"#.to_owned(), 400),
        ("<propfind><allprop/></propfind>".to_owned(), 400),
    ] {
        assert_eq!(ask(&content), status, "{content:.100}");
    }
    for lines in [&["Depth: infinity"][..], &[]] {
        let refused = server.send("PROPFIND", "/dav/", lines, "");
        assert_eq!(refused.status, 403);
        assert!(refused.text().contains("<D:propfind-finite-depth>"), "{}", refused.text());
    }
    assert_eq!(server.send("PROPFIND", "/dav/", &["Depth: 2"], "").status, 400);
    assert_eq!(server.send("DELETE", "/dav/a.txt", &[], "<a/>").status, 415);
}

#[test]
fn long_collections_are_told_piece_by_piece() {
    let mut root = Site::new().unwrap();
    for number in 0..1000 {
        root = root.file(format!("{number}.txt"), "x").unwrap();
    }
    let server = serve(&root, "");
    let content = r#"<propfind xmlns="DAV:"><prop><getcontentlength/></prop></propfind>"#;
    let all = server.send("PROPFIND", "/dav/", &["Depth: 1"], content);
    assert_eq!((all.status, all.header("transfer-encoding")), (207, Some("chunked")));
    let text = all.text();
    assert!(text.ends_with("</D:multistatus>\n"));
    assert_eq!(text.matches("<D:response>").count(), 1001);
    assert_eq!(text.matches("<D:getcontentlength>1</D:getcontentlength>").count(), 1000);
}

const LOCK: &str = r#"<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope>
    <locktype><write/></locktype><owner>me &amp; I</owner></lockinfo>"#;

#[test]
fn locks_are_bounded_and_outlive_reloads() {
    let root = Site::new().unwrap().file("a.txt", "a").unwrap().file("d/b.txt", "b").unwrap();
    let mut server = serve(&root, ".maxLocks = 2  .lockTimeout = 100s");
    let lock =
        |server: &Running, target: &str, lines: &[&str]| server.send("LOCK", target, lines, LOCK);
    let first = lock(&server, "/dav/a.txt", &["Timeout: Infinite, Second-4100000000"]);
    let text = first.text();
    assert_eq!(first.status, 200);
    assert!(text.contains("Second-100") || text.contains("Second-99"), "{text}");
    assert!(text.contains(r#"<owner xmlns="DAV:">me &amp; I</owner>"#), "{text}");
    let second = lock(&server, "/dav/d/new", &["Depth: 0", "Timeout: Second-5"]);
    assert_eq!(second.status, 201);
    assert!(second.text().contains("Second-5") || second.text().contains("Second-4"));
    assert_eq!(lock(&server, "/dav/third", &[]).status, 507);
    assert!(!root.root().join("third").exists());
    let conflict = lock(&server, "/dav/a.txt", &[]);
    assert_eq!(conflict.status, 423);
    assert!(conflict.text().contains("<D:no-conflicting-lock><D:href>/dav/a.txt</D:href>"));
    let long = LOCK.replace("me", &"x".repeat(2000));
    assert_eq!(server.send("LOCK", "/dav/d/b.txt", &[], &long).status, 413);
    assert_eq!(server.send("LOCK", "/dav/a.txt", &[], "").status, 412);
    // With other limits, but the locks that were taken before.
    server.reload("", &webapp(&root, "", ".maxLocks = 3"));
    let refused = server.send("PUT", "/dav/a.txt", &[], "x");
    assert_eq!(refused.status, 423);
    assert!(refused.text().contains("<D:lock-token-submitted><D:href>/dav/a.txt</D:href>"));
    assert_eq!(server.send("DELETE", "/dav/d", &[], "").status, 423);
    let token = first.header("lock-token").unwrap();
    let shown = format!("If: ({token})");
    assert_eq!(server.send("PUT", "/dav/a.txt", &[&shown], "x").status, 204);
    let named = format!("Lock-Token: {token}");
    assert_eq!(server.send("UNLOCK", "/dav/d", &[&named], "").status, 409);
    assert_eq!(server.send("UNLOCK", "/dav/a.txt", &[&named], "").status, 204);
    assert_eq!(server.send("PUT", "/dav/a.txt", &[], "x").status, 204);
    assert_eq!(lock(&server, "/dav/third", &[]).status, 201);
}

#[test]
fn reading_only() {
    let root = Site::new().unwrap().file("a.txt", "a").unwrap();
    let server = serve(&root, ".readOnly = true");
    let options = server.send("OPTIONS", "/dav/", &[], "");
    assert_eq!(options.header("dav"), Some("1"));
    for method in ["PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK", "UNLOCK"] {
        let refused = server.send(method, "/dav/a.txt", &["Destination: /dav/b"], "");
        assert_eq!(refused.status, 405, "{method}");
        assert_eq!(refused.header("allow"), Some("OPTIONS, GET, HEAD, PROPFIND"), "{method}");
    }
    assert_eq!(server.send("PROPFIND", "/dav/a.txt", &["Depth: 0"], "").status, 207);
    assert_eq!(names(&root), ["a.txt"]);
}

#[test]
fn files_are_sent_in_parts_and_only_when_new() {
    let root = Site::new().unwrap().file("a.txt", "0123456789").unwrap().file("d/b", "").unwrap();
    let server = serve(&root, "");
    assert_eq!(server.send("OPTIONS", "/dav/", &[], "").header("dav"), Some("1, 2"));
    let whole = server.send("GET", "/dav/a.txt", &[], "");
    assert_eq!((whole.status, &*whole.text()), (200, "0123456789"));
    assert_eq!(whole.header("content-type"), Some("application/octet-stream"));
    let etag = whole.header("etag").unwrap();
    for (line, status, text) in [
        ("Range: bytes=2-4".to_owned(), 206, "234"),
        ("Range: bytes=-1".to_owned(), 206, "9"),
        ("Range: bytes=0-1,5-6".to_owned(), 200, "0123456789"),
        (format!("Range: bytes=2-4\r\nIf-Range: {etag}"), 206, "234"),
        ("Range: bytes=2-4\r\nIf-Range: \"x\"".to_owned(), 200, "0123456789"),
        (format!("If-None-Match: {etag}"), 304, ""),
    ] {
        let part = server.send("GET", "/dav/a.txt", &[&line], "");
        assert_eq!((part.status, &*part.text()), (status, text), "{line}");
    }
    let beyond = server.send("GET", "/dav/a.txt", &["Range: bytes=10-"], "");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    assert_eq!(server.send("HEAD", "/dav/a.txt", &[], "").header("content-length"), Some("10"));
    // A collection is left to the next handlet, of which there is none.
    assert_eq!(server.send("GET", "/dav/d", &[], "").status, 404);
    assert_eq!(server.send("GET", "/dav/no", &[], "").status, 404);
}

#[test]
fn trees_are_removed_and_copied_to_a_depth() {
    let root = Site::new().unwrap();
    let deep = "d/".repeat(120);
    std::fs::create_dir_all(root.root().join(&deep)).unwrap();
    let server = serve(&root, "");
    let copied = server.send("COPY", "/dav/d", &["Destination: /dav/copy"], "");
    assert_eq!(copied.status, 207);
    assert!(copied.text().contains("507 Insufficient Storage"), "{}", copied.text());
    assert_eq!(server.send("DELETE", "/dav/d", &[], "").status, 207);
    let inner = format!("/dav/{}", "d/".repeat(60));
    assert_eq!(server.send("DELETE", &inner, &[], "").status, 204);
    assert_eq!(server.send("DELETE", "/dav/d", &[], "").status, 204);
    assert_eq!(server.send("DELETE", "/dav/copy", &[], "").status, 204);
    assert_eq!(names(&root), Vec::<String>::new());
}
