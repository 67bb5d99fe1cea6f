//! Paths: which names find files, and that none leads out of the root or to what is hidden.

use hemi_test::Site;

use super::serve;
use crate::server::ask;

#[test]
fn every_name_can_be_asked_for() {
    let mut files = Site::new().unwrap();
    let cases = [
        ("a b.txt", "/a%20b.txt"),
        ("é.txt", "/%C3%A9.txt"),
        ("日本/語.txt", "/%E6%97%A5%E6%9C%AC/%e8%aa%9e.txt"),
        ("100%.txt", "/100%25.txt"),
        ("%41.txt", "/%2541.txt"),
        ("a+b.txt", "/a+b.txt"),
        ("q?.txt", "/q%3F.txt"),
        ("h#.txt", "/h%23.txt"),
        ("semi;colon=x,y.txt", "/semi;colon=x,y.txt"),
        ("a..b.txt", "/a..b.txt"),
        ("CAPS.txt", "/CAPS.txt"),
        ("sub/a.txt", "/sub/./x/../%61.txt"),
    ];
    for (name, _) in cases {
        files = files.file(name, name).unwrap();
    }
    let server = serve(&files);
    for (name, target) in cases {
        let reply = server.get(target);
        assert_eq!((reply.status, reply.text().as_str()), (200, name), "{target}");
    }
    for target in ["/caps.txt", "/A%20B.txt", "/a%2520b.txt"] {
        assert_eq!(server.get(target).status, 404, "{target}");
    }
}

#[test]
fn hidden_files_are_left_out_however_they_are_spelt() {
    let mut files = Site::new().unwrap();
    for name in
        [".git/config", ".htpasswd", "..a", "sub/.env", "sub/.git/HEAD", ".well-known/a", "sub/a"]
    {
        files = files.file(name, name).unwrap();
    }
    let server = serve(&files);
    for target in [
        "/.git/config",
        "/%2egit/config",
        "/%2Egit/config",
        "/.%67it/config",
        "//.git/config",
        "/./.git/config",
        "/x/../.git/config",
        "/.git//config",
        "/.git",
        "/.git/",
        "/.htpasswd",
        "/%2ehtpasswd",
        "/sub/.env",
        "/sub/%2eenv",
        "/sub/.git/HEAD",
        "/.well-known/../.git/config",
        "/.well-known/.git",
        "/..a",
    ] {
        assert_eq!(server.get(target).status, 404, "{target}");
    }
    for target in ["/.well-known/a", "/%2ewell-known/a", "/sub/a"] {
        assert_eq!(server.get(target).status, 200, "{target}");
    }
}

#[test]
fn copies_of_files_are_left_out() {
    let mut files = Site::new().unwrap();
    let copies = ["a.php~", "a.php.bak", "a.BAK", "sub/a.old", "a.orig", "a.save", "a.swp"];
    let others = ["bak", "a.baker", "a~b", "a.bak/b"];
    for name in copies.iter().chain(&others) {
        files = files.file(name, name).unwrap();
    }
    let server = serve(&files);
    for (names, status) in [(&copies[..], 404), (&others, 200)] {
        for name in names {
            assert_eq!(server.get(&format!("/{name}")).status, status, "{name}");
        }
    }
    assert_eq!(server.get("/a.php%7E").status, 404);
}

#[test]
fn links_are_followed_inside_the_root_alone() {
    let outside = Site::new().unwrap().file("secret", SECRET).unwrap();
    let files = Site::new().unwrap().file("real/a.txt", "inside").unwrap();
    let files = files.link("to-file.txt", "real/a.txt").unwrap();
    let files = files.link("to-dir", "real").unwrap();
    let files = files.link("real/up", "..").unwrap();
    let files = files.link("chain", "to-file.txt").unwrap();
    let files = files.link("absolute", outside.root().join("secret")).unwrap();
    let files = files.link("dir-out", outside.root()).unwrap();
    let above = std::path::Path::new("..").join(outside.root().file_name().unwrap());
    let files = files.link("relative", above.join("secret")).unwrap();
    let files = files.link("to-link-out", "absolute").unwrap();
    let files = files.link("nowhere", "missing").unwrap();
    let files = files.link("loop", "loop").unwrap();
    let files = files.link("proc", "/proc/self/environ").unwrap();
    let server = serve(&files);
    for target in ["/to-file.txt", "/to-dir/a.txt", "/real/up/real/a.txt", "/chain"] {
        assert_eq!(server.get(target).text(), "inside", "{target}");
    }
    for target in [
        "/absolute",
        "/dir-out/secret",
        "/dir-out",
        "/relative",
        "/to-link-out",
        "/real/up/absolute",
        "/nowhere",
        "/loop",
        "/proc",
    ] {
        let reply = server.get(target);
        assert_eq!(reply.status, 404, "{target}");
        assert!(!reply.text().contains(SECRET), "{target}");
    }
}

const SECRET: &str = "4bd0c1-what-nobody-may-see";

#[test]
fn no_spelling_of_a_path_leads_above_the_root() {
    let base = Site::new().unwrap().file("secret.txt", SECRET).unwrap();
    let base = base.file("root/index.html", "index").unwrap().file("root/sub/a.txt", "a").unwrap();
    let base = base.file("root/.well-known/a.txt", "a").unwrap();
    let base = base.file("root-too/secret.txt", SECRET).unwrap();
    // The secret is there for those who may see it.
    assert_eq!(serve(&base).get("/secret.txt").text(), SECRET);
    let webapp = super::webapp(&base.root().join("root"), "");
    let server = crate::server::site("", &webapp);
    let targets = traversals(base.root().join("secret.txt").to_str().unwrap());
    assert!(targets.len() > 5_000, "{}", targets.len());
    let mut client = server.connect();
    for target in &targets {
        let reply =
            ask(&mut client, "GET", target, &[]).unwrap_or_else(|e| panic!("{target}: {e}"));
        assert!(!reply.text().contains(SECRET), "{target}");
        assert!(matches!(reply.status, 200 | 301 | 400 | 404), "{target}: {}", reply.status);
        if reply.header("connection") == Some("close") {
            client = server.connect();
        }
    }
}

/// Ways to write "the directory above" and "a separator", in all their combinations.
fn traversals(absolute: &str) -> Vec<String> {
    const UPS: &[&str] = &[
        "..",
        "%2e%2e",
        ".%2E",
        "%2e.",
        "%252e%252e",
        "%25%32%65%25%32%65",
        "%c0%ae%c0%ae",
        "%e0%80%ae%e0%80%ae",
        "%f0%80%80%ae%f0%80%80%ae",
        "%uff0e%uff0e",
        "%EF%BC%8E%EF%BC%8E",
        "..%00",
        "%00..",
        "..%20",
        "..;",
        "..;x=y",
        "....",
        ".../...",
        "..%0d%0a",
        "..%ff",
    ];
    const SEPARATORS: &[&str] = &[
        "/",
        "//",
        "/./",
        "\\",
        "%2f",
        "%2F",
        "%5c",
        "%252f",
        "%255c",
        "%c0%af",
        "%c1%9c",
        "%e0%80%af",
        "%u2215",
        "%EF%BC%8F",
        "\\/",
        "%2f/",
        "%00/",
        ";/",
    ];
    const STARTS: &[&str] =
        &["/", "//", "/sub/", "/sub%2f", "/.well-known/", "/index.html/", "/root-too/"];
    let mut targets = Vec::new();
    for start in STARTS {
        for separator in SEPARATORS {
            for up in UPS {
                for depth in [1, 2, 5] {
                    let ups = format!("{up}{separator}").repeat(depth);
                    targets.push(format!("{start}{ups}secret.txt"));
                }
            }
            targets.push(format!("{start}..{separator}root-too{separator}secret.txt"));
            targets.push(format!("{start}{}", absolute.replace('/', separator)));
        }
    }
    targets.push(format!("file://{absolute}"));
    targets
}
