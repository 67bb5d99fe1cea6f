//! Lists of paths to try, and the page of applications in one page.

use hemi_test::Site;

use super::{serve_with, webapp};
use crate::server::{load, site};

const PAGE: &str = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

fn files() -> Site {
    let files = Site::new().unwrap().file("index.html", "app").unwrap();
    let files = files.file("a.txt", "a").unwrap().file("page.html", "page").unwrap();
    let files = files.file("dir/index.html", "index").unwrap().file("bare/b.txt", "b").unwrap();
    files.file("site.test/own.txt", "own").unwrap().file(".secret", "secret").unwrap()
}

#[test]
fn candidates_are_tried_in_order() {
    let files = files();
    let list = r#".tryFiles = ($path, $path + "/", $path + ".html", "/" + $hostname + $path, "/" + $query_f, "=404")"#;
    let server = serve_with(&files, "", list);
    for (target, status, text) in [
        ("/a.txt", 200, "a"),
        ("/page", 200, "page"),
        ("/page.html", 200, "page"),
        ("/own.txt", 200, "own"),
        ("/", 200, "app"),
        ("/dir/", 200, "index"),
        ("/none?f=a.txt", 200, "a"),
        ("/none?f=dir/", 200, "index"),
        ("/none?f=dir", 404, ""),
        ("/none?f=.secret", 404, ""),
        ("/none?f=dir/../.secret", 404, ""),
        ("/none?f=../../../../etc/passwd", 404, ""),
        ("/none?f=/etc/passwd", 404, ""),
        ("/none?f=%00", 404, ""),
        ("/none?f=%ff", 404, ""),
        ("/none", 200, "app"),
        ("/bare/?f=none", 404, ""),
        ("/.secret", 404, ""),
    ] {
        let reply = server.get(target);
        assert_eq!(reply.status, status, "{target}");
        assert!(status == 404 || reply.text() == text, "{target}: {}", reply.text());
    }
    // Links in its page want a slash.
    let reply = server.get("/dir?a=b");
    assert_eq!((reply.status, reply.header("location")), (301, Some("/dir/?a=b")));
    assert_eq!(server.ask("POST", "/page", &[]).status, 405);
    assert_eq!(server.ask("POST", "/none?f=none", &[]).status, 404);
}

#[test]
fn what_no_candidate_is_goes_on_to_the_next_or_to_the_status() {
    let files = files();
    for (list, status) in [
        (r#"($path, $path + "/index.html")"#, 201),
        (r#"($path, $path + "/index.html", "=404")"#, 404),
        (r#"($path, $path + "/index.html", "=503")"#, 503),
        (r#"($path, "/none", "/index.html")"#, 200),
        // A file, and what has a slash at its end is none.
        (r#"($path, "/index.html/")"#, 201),
        (r#"("/bare")"#, 201),
        (r#"("/bare/")"#, 201),
    ] {
        let rules = format!(
            ".webRoot = \"{}\"  rule {{ static {{ .tryFiles = {list} }} }} rule {{ .returnCode = 201 }}",
            files.root().display()
        );
        let server = site("", &rules);
        assert_eq!(server.get("/none").status, status, "{list}");
    }
    let server = serve_with(&files, "", r#".tryFiles = ($path, $path + "/index.html")"#);
    for target in ["/dir/", "/dir"] {
        assert_eq!(server.get(target).text(), "index", "{target}");
    }
}

#[test]
fn the_fallback_is_for_people_who_open_pages() {
    let files = files();
    let server = serve_with(&files, "", r#".spaFallback = "/index.html""#);
    for (method, target, accept, status) in [
        ("GET", "/users/7", PAGE, 200),
        ("HEAD", "/users/7", PAGE, 200),
        ("GET", "/users/7?a=b.js", PAGE, 200),
        ("GET", "/users/j.doe", PAGE, 200),
        ("GET", "/users.js/7", PAGE, 200),
        ("GET", "/old.html", PAGE, 200),
        ("GET", "/bare/", PAGE, 200),
        ("GET", "/users/7", "Accept: application/json, text/html;q=0.1", 200),
        ("GET", "/users/7", "Accept: */*", 404),
        ("GET", "/users/7", "Accept: text/*", 404),
        ("GET", "/users/7", "Accept: text/html;q=0, */*", 404),
        ("GET", "/users/7", "A: b", 404),
        ("POST", "/users/7", PAGE, 404),
        ("GET", "/app.js", PAGE, 404),
        ("GET", "/assets/logo.PNG", PAGE, 404),
        ("GET", "/data.json", PAGE, 404),
        ("GET", "/.env", PAGE, 404),
        ("GET", "/config.bak", PAGE, 404),
    ] {
        let reply = server.ask(method, target, &[accept]);
        assert_eq!(reply.status, status, "{method} {target} {accept}");
        if status == 200 {
            assert!(method == "HEAD" || reply.text() == "app", "{target}");
            assert_eq!(reply.header("vary"), Some("accept"), "{target}");
            let tag = format!("If-None-Match: {}", reply.header("etag").unwrap());
            let again = server.ask(method, target, &[accept, &tag]);
            assert_eq!((again.status, again.header("vary")), (304, Some("accept")), "{target}");
        }
    }
    // What is there comes first.
    assert_eq!(server.ask("GET", "/a.txt", &[PAGE]).text(), "a");
    assert_eq!(server.ask("GET", "/dir/", &[PAGE]).text(), "index");
    assert_eq!(server.ask("GET", "/", &[PAGE]).header("vary"), None);
    // An extension of the config's is one of files too.
    let own = r#".spaFallback = "/index.html"  .mimeTypes = ["doe": "text/x-doe"]"#;
    assert_eq!(serve_with(&files, "", own).ask("GET", "/j.doe", &[PAGE]).status, 404);
    let missing = serve_with(&files, "", r#".spaFallback = "/app.html""#);
    assert_eq!(missing.ask("GET", "/users/7", &[PAGE]).status, 404);
    let both = r#".tryFiles = ($path, "/page.html")  .spaFallback = "/index.html""#;
    assert_eq!(serve_with(&files, "", both).ask("GET", "/users/7", &[PAGE]).text(), "page");
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    for (properties, told) in [
        (r#".tryFiles = ("a.txt")"#, "begin it with a slash"),
        (r#".tryFiles = ("=404", $path)"#, "put it last"),
        (r#".tryFiles = ($path, "=200")"#, "write one from 400 to 599"),
        (r#".tryFiles = ($path, "=no")"#, "write one from 400 to 599"),
        (".tryFiles = ($uri)", "write $path instead"),
        (".tryFiles = ($pth)", "did you mean `$path`?"),
        (r#".spaFallback = "index.html""#, "begin it with a slash"),
        (r#".spaFallback = "/../x""#, "leave out `.` and `..`"),
        (r#".tryFiles = ($path, "=404")  .spaFallback = "/a""#, "is never reached"),
        (r#".stripPrefix = "/app"  .spaFallback = "/a""#, r#"write "/app/a""#),
        (r#".stripPrefix = "/app"  .tryFiles = ($path, "/a")"#, r#"write "/app/a""#),
        (r#".stripPrefix = "app""#, "begin it with a slash"),
    ] {
        let webapp = webapp(std::path::Path::new("/nowhere"), properties);
        let config = format!("stage {{ webapp \"w\" {{ .hostnames = (\"*\")  {webapp} }} }}");
        let error = load(1, &config).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(told), "{properties}: {error}");
    }
}
