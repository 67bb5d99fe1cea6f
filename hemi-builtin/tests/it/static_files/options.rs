//! Properties that change how files are found and what is said of them.

use std::os::unix::fs::lchown;

use hemi_test::Site;

use super::{one_file, serve_with, webapp};
use crate::server::{load, site};

#[test]
fn a_prefix_stands_for_the_directory() {
    let site_files = Site::new().unwrap().file("index.html", "site").unwrap();
    let files = Site::new().unwrap().file("a.css", "a").unwrap();
    let files = files.file("assets/b.css", "b").unwrap().file("dir/index.html", "dir").unwrap();
    let files = files.file("index.html", "assets").unwrap().file("../secret", "").unwrap();
    let config = |properties: &str| {
        format!(
            r#".webRoot = "{}"
            rule {{ static {{ .stripPrefix = "/the/assets/"  .webRoot = "{}"  {properties} }} }}
            rule {{ .returnCode = 418 }}"#,
            site_files.root().display(),
            files.root().display()
        )
    };
    let server = site("", &config(""));
    for (target, status, text) in [
        ("/the/assets/a.css", 200, "a"),
        ("/the/assets/assets/b.css", 200, "b"),
        ("/the/assets/", 200, "assets"),
        ("/the/assets/dir/", 200, "dir"),
        ("/x/../the//assets/a.css", 200, "a"),
        // Whole segments, and nothing above.
        ("/the/assets../a.css", 418, ""),
        ("/the/assetsa.css", 418, ""),
        ("/the/assets-too/a.css", 418, ""),
        ("/the/Assets/a.css", 418, ""),
        ("/the/a.css", 418, ""),
        ("/a.css", 418, ""),
        ("/", 418, ""),
        ("/the/assets/..", 418, ""),
        ("/the/assets/../secret", 418, ""),
        ("/the/assets/.%2e/secret", 418, ""),
        ("/the/assets..%2fsecret", 418, ""),
        ("/the/assets%2fa.css", 418, ""),
        ("/the/assets/%2e%2e%2fsecret", 418, ""),
        ("/the/assets/none.css", 418, ""),
    ] {
        let reply = server.get(target);
        assert_eq!(reply.status, status, "{target}");
        assert!(status == 418 || reply.text() == text, "{target}: {}", reply.text());
    }
    for (target, location) in
        [("/the/assets", "/the/assets/"), ("/the/assets/dir?a", "/the/assets/dir/?a")]
    {
        let reply = server.get(target);
        assert_eq!((reply.status, reply.header("location")), (301, Some(location)), "{target}");
    }
    // All paths are those of requests.
    let list = r#".tryFiles = ($path, $path + ".css", "/the/assets/" + $query_f)"#;
    let server = site("", &config(list));
    assert_eq!(server.get("/the/assets/a").text(), "a");
    assert_eq!(server.get("/the/assets/none?f=assets/b.css").text(), "b");
    assert_eq!(server.get("/the/none?f=a.css").status, 418);
    let server = site("", &config(r#".spaFallback = "/the/assets/index.html""#));
    let page = ["Accept: text/html"];
    assert_eq!(server.ask("GET", "/the/assets/x/y", &page).text(), "assets");
    assert_eq!(server.ask("GET", "/the/other", &page).status, 418);
}

#[test]
fn links_are_followed_as_the_config_says() {
    let files = Site::new().unwrap().file("real/a.txt", "a").unwrap();
    let files = files.link("mine", "real/a.txt").unwrap().link("theirs", "real/a.txt").unwrap();
    let files = files.link("dir", "real").unwrap().link("out", "/etc/passwd").unwrap();
    let given = lchown(files.root().join("theirs"), Some(12_345), None);
    if let Err(e) = &given {
        // Only root may give it away.
        println!("without a link of another owner: {e}");
    }
    let owned = if given.is_ok() { 404 } else { 200 };
    for (policy, mine, theirs) in [("beneath", 200, 200), ("owner", 200, owned), ("none", 404, 404)]
    {
        let server =
            serve_with(&files, "", &format!(".symlinks = \"{policy}\"  .autoIndex = true"));
        for (target, status) in [
            ("/real/a.txt", 200),
            ("/mine", mine),
            ("/dir/a.txt", mine),
            ("/theirs", theirs),
            ("/out", 404),
        ] {
            assert_eq!(server.get(target).status, status, "{policy} {target}");
        }
        // What is not served is not listed either.
        let listing = server.get("/?format=json").text();
        for (name, status) in [("real", 200), ("mine", mine), ("theirs", theirs), ("out", 404)] {
            assert_eq!(listing.contains(name), status == 200, "{policy} {name}: {listing}");
        }
    }
}

#[test]
fn hidden_files_and_copies_are_served_if_that_is_wanted() {
    let files = Site::new().unwrap().file(".a/b", "a").unwrap().file("c.bak", "c").unwrap();
    for (properties, hidden, copy) in [
        ("", 404, 404),
        (".serveHidden = true", 200, 404),
        (".serveCopies = true", 404, 200),
        (".serveHidden = true  .serveCopies = true", 200, 200),
    ] {
        let server = serve_with(&files, "", properties);
        assert_eq!(server.get("/.a/b").status, hidden, "{properties}");
        assert_eq!(server.get("/c.bak").status, copy, "{properties}");
    }
}

#[test]
fn fields_are_those_of_the_config() {
    let files = one_file("hello");
    let server = serve_with(&files, "", r#".cacheControl = "public, max-age=60"  .etag = false"#);
    let whole = server.get("/a.txt");
    assert_eq!(whole.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(whole.header("etag"), None);
    let date = format!("If-Modified-Since: {}", whole.header("last-modified").unwrap());
    let same = server.ask("GET", "/a.txt", &[&date]);
    assert_eq!((same.status, same.header("cache-control")), (304, Some("public, max-age=60")));
    assert_eq!(server.ask("GET", "/a.txt", &["If-None-Match: \"x\""]).status, 200);
    let part = server.ask("GET", "/a.txt", &["Range: bytes=0-0"]);
    assert_eq!((part.status, part.header("cache-control")), (206, Some("public, max-age=60")));
    assert_eq!(server.get("/none").header("cache-control"), None);

    for (charset, media_type) in [
        ("utf-8", "text/plain; charset=utf-8"),
        ("UTF-8", "text/plain; charset=utf-8"),
        ("iso-8859-1", "text/plain; charset=iso-8859-1"),
        ("", "text/plain"),
    ] {
        let server = serve_with(&files, "", &format!(".charset = \"{charset}\""));
        assert_eq!(server.get("/a.txt").header("content-type"), Some(media_type), "{charset}");
    }
}

#[test]
fn properties_that_make_no_sense_are_refused() {
    for (properties, told) in [
        (".symlinks = \"all\"", "\"owner\""),
        (".precompressed = (\"deflate\")", "\"zstd\""),
        (".charset = \"utf 8\"", "is not the name of a charset"),
        (".cacheControl = \"a\\nb\"", "header"),
        (".maxEntries = 0", "zero"),
        (".stripPrefix = \"/\"", "is no path"),
        (".autoIndex = \"yes\"", "true or false"),
    ] {
        let webapp = webapp(std::path::Path::new("/nowhere"), properties);
        let config = format!("stage {{ webapp \"w\" {{ .hostnames = (\"*\")  {webapp} }} }}");
        let error = load(1, &config).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(told), "{properties}: {error}");
    }
}
