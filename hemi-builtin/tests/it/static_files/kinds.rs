//! Methods, media types, directories, and what is no file.

use std::os::unix::net::UnixListener;

use hemi_test::Site;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::{serve, serve_with};

#[test]
fn files_answer_get_and_head_alone() {
    let files = Site::new().unwrap().file("a.txt", "hello").unwrap();
    let files = files.file("dir/index.html", "index").unwrap();
    let server = serve(&files);
    let (get, head) = (server.get("/a.txt"), server.ask("HEAD", "/a.txt", &[]));
    assert_eq!((get.status, get.text().as_str()), (200, "hello"));
    let fields = |reply: &hemi_test::Reply| {
        let mut fields = reply.headers.clone();
        fields.retain(|(name, _)| name != "date");
        fields
    };
    assert_eq!((head.status, fields(&head)), (200, fields(&get)));
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        for target in ["/a.txt", "/dir", "/dir/"] {
            let reply = server.ask(method, target, &[]);
            let allow = reply.header("allow");
            assert_eq!((reply.status, allow), (405, Some("GET, HEAD")), "{method} {target}");
        }
        assert_eq!(server.ask(method, "/none.txt", &[]).status, 404, "{method}");
    }
}

#[test]
fn media_types_go_by_extension() {
    let mut files = Site::new().unwrap();
    let cases = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.HTM", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.min.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        // Of the config.
        ("a.wat", "text/plain"),
        ("a.WAT", "text/plain"),
        ("a.txt", "text/x-mine; charset=latin1"),
        ("a.unknown", "application/x-default"),
        ("none", "application/x-default"),
        ("dots.", "application/x-default"),
        // The extension of the directory is not the file's.
        ("dir.html/none", "application/x-default"),
    ];
    for (name, _) in cases {
        files = files.file(name, "x").unwrap();
    }
    let properties = r#".mimeTypes = [".wat": "text/plain", "TXT": "text/x-mine; charset=latin1"]
        .defaultType = "application/x-default""#;
    let server = serve_with(&files, "", properties);
    for (name, media_type) in cases {
        let reply = server.get(&format!("/{name}"));
        let types: Vec<&str> = reply.header_values("content-type").collect();
        assert_eq!((reply.status, types), (200, vec![media_type]), "{name}");
        assert_eq!(reply.header("vary"), None, "{name}");
    }
}

#[test]
fn directories_are_their_index_files() {
    let files = Site::new().unwrap().file("index.html", "top").unwrap();
    let files = files.file("dir/index.html", "below").unwrap().file("bare/a.txt", "a").unwrap();
    let files = files.file("odd/index.html/a.txt", "a").unwrap();
    let server = serve(&files);
    for (target, status, body) in [
        ("/", 200, "top"),
        ("/?a=b", 200, "top"),
        ("/dir/", 200, "below"),
        ("/dir/.", 200, "below"),
        ("/dir//", 200, "below"),
        ("/bare/", 404, ""),
        ("/bare", 404, ""),
        ("/odd/", 404, ""),
        ("/odd", 404, ""),
        ("/a.txt/", 404, ""),
        ("/bare/a.txt/", 404, ""),
        ("/dir/index.html/", 404, ""),
    ] {
        let reply = server.get(target);
        assert_eq!(reply.status, status, "{target}");
        assert!(status == 404 || reply.text() == body, "{target}: {}", reply.text());
        if status == 200 {
            assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{target}");
        }
    }
    let server = serve_with(&files, "", r#".indexFile = "a.txt""#);
    assert_eq!(server.get("/bare/").header("content-type"), Some("text/plain; charset=utf-8"));
    let server = serve_with(&files, "", r#".indexFile = """#);
    for target in ["/", "/dir", "/dir/"] {
        assert_eq!(server.get(target).status, 404, "{target}");
    }
}

#[test]
fn redirects_to_directories_stay_on_the_site_and_keep_the_query() {
    let files = Site::new().unwrap().file("dir/index.html", "x").unwrap();
    let files = files.file("a b/index.html", "x").unwrap().file("é/index.html", "x").unwrap();
    let server = serve(&files);
    for (target, location) in [
        ("/dir", "/dir/"),
        ("/dir?a=b&c=//d", "/dir/?a=b&c=//d"),
        ("/dir?", "/dir/?"),
        ("//dir", "/dir/"),
        ("///dir", "/dir/"),
        ("/.//dir", "/dir/"),
        ("/x/..//dir", "/dir/"),
        ("/%64ir", "/dir/"),
        ("/a%20b", "/a%20b/"),
        ("/%C3%A9", "/%C3%A9/"),
        ("http://site.test/dir", "/dir/"),
    ] {
        let reply = server.get(target);
        assert_eq!((reply.status, reply.header("location")), (301, Some(location)), "{target}");
    }
}

#[test]
fn what_is_no_file_is_not_opened_for_long() {
    let files = Site::new().unwrap().file("a.txt", "a").unwrap();
    let at = |name: &str| files.root().join(name);
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, at("fifo"), FileType::Fifo, mode, 0).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    let zero = mknodat(CWD, at("zero"), FileType::CharacterDevice, mode, makedev(1, 5));
    if let Err(e) = zero {
        // Only root may make one.
        println!("without a device: {e}");
    }
    let server = serve(&files);
    let mut client = server.connect();
    for target in ["/fifo", "/fifo/", "/socket", "/zero"] {
        let reply = crate::server::ask(&mut client, "GET", target, &[]).unwrap();
        assert_eq!(reply.status, 404, "{target}");
    }
    assert_eq!(server.get("/a.txt").text(), "a");
}
