//! What directories hold.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use hemi_test::{Site, peer};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use super::{MODIFIED, serve_with, set_modified};
use crate::server::site;

const LISTED: &str = ".autoIndex = true";

fn files() -> Site {
    let mut files = Site::new().unwrap();
    for (name, size, age) in [("b.txt", 3, 1), ("A.txt", 2000, 3), ("c.txt", 3, 2)] {
        files = files.file(name, vec![b'x'; size]).unwrap();
        set_modified(
            &files.root().join(name),
            SystemTime::UNIX_EPOCH + MODIFIED - Duration::from_secs(age),
        );
    }
    let files = files.file("sub/in.txt", "in").unwrap().file("other/index.html", "index").unwrap();
    let files = files.file(".hidden", "").unwrap().file("b.txt~", "").unwrap();
    files.link("in", "sub/in.txt").unwrap().link("out", "/etc/passwd").unwrap()
}

/// The names in the order of a listing.
fn names(listing: &str) -> Vec<String> {
    let listing: Value = serde_json::from_str(listing).unwrap();
    let entries = listing["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn data_are_complete_and_in_order() {
    let files = files();
    mknodat(CWD, files.root().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let broken = OsStr::from_bytes(b"not utf-8 \xff");
    std::fs::write(files.root().join(broken), "").unwrap();
    let server = serve_with(&files, "", LISTED);
    let reply = server.ask("GET", "/", &["Accept: application/json"]);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.header("vary"), Some("accept"));
    let listing: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&listing["path"], &listing["complete"]), (&json!("/"), &json!(true)));
    let file = json!({
        "name": "A.txt", "type": "file", "size": 2000, "modified": "1994-11-06T08:49:34Z"
    });
    assert_eq!(listing["entries"][2], file);
    let directory = &listing["entries"][0];
    assert_eq!((&directory["name"], &directory["type"]), (&json!("other"), &json!("directory")));
    assert_eq!(directory.get("size"), None);

    for (query, order) in [
        ("", "A b c in"),
        ("sort=name", "A b c in"),
        ("sort=name&order=desc", "in c b A"),
        ("sort=size", "in b c A"),
        ("sort=size&order=desc", "A b c in"),
        ("sort=time", "A c b in"),
        ("order=desc&sort=time", "in b c A"),
        ("sort=else&order=else", "A b c in"),
    ] {
        let order = order
            .split(' ')
            .map(|name| name.replace("A", "A.txt").replace("b", "b.txt").replace("c", "c.txt"));
        let listing = server.get(&format!("/?format=json&{query}")).text();
        // Directories first, in either direction.
        let names = names(&listing);
        let (directories, files) = names.split_at(2);
        assert!(directories.iter().all(|name| ["other", "sub"].contains(&&**name)), "{query}");
        assert_eq!(files, order.collect::<Vec<_>>(), "{query}");
    }
}

#[test]
fn who_asks_for_data_gets_data() {
    let files = files();
    let server = serve_with(&files, "", LISTED);
    for (target, accept, json) in [
        ("/", "*/*", false),
        ("/", "text/html,*/*;q=0.8", false),
        ("/", "application/json, text/plain, */*", true),
        ("/", "application/json;q=0.9, text/html", false),
        ("/", "application/json, text/html;q=0.9", true),
        ("/", "application/json;q=0", false),
        ("/?format=json", "text/html", true),
        ("/?format=html", "application/json", false),
    ] {
        let reply = server.ask("GET", target, &[&format!("Accept: {accept}")]);
        let is_json = reply.header("content-type") == Some("application/json");
        assert_eq!((reply.status, is_json), (200, json), "{target} {accept}");
    }
}

#[test]
fn directories_with_an_index_and_other_methods() {
    let files = files();
    let server = serve_with(&files, "", LISTED);
    assert_eq!(server.get("/other/").text(), "index");
    for (target, location) in [("/sub", "/sub/"), ("/sub?sort=size", "/sub/?sort=size")] {
        let reply = server.get(target);
        assert_eq!((reply.status, reply.header("location")), (301, Some(location)));
    }
    let (get, head) = (server.get("/sub/"), server.ask("HEAD", "/sub/", &[]));
    assert_eq!((head.status, head.header("content-length")), (200, get.header("content-length")));
    assert_eq!(server.ask("POST", "/sub/", &[]).status, 405);
    for target in ["/none/", "/b.txt/", "/.hidden/", "/in/", "/out/"] {
        assert_eq!(server.get(target).status, 404, "{target}");
    }
    // Without the property there is none.
    assert_eq!(serve_with(&files, "", "").get("/sub/").status, 404);
    // On a connection with other requests around it.
    let mut client = server.connect();
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(request("/b.txt") + &request("/sub/") + &request("/b.txt")).unwrap();
    assert_eq!(client.read_response().unwrap().text(), "xxx");
    assert!(client.read_response().unwrap().text().contains("in.txt"));
    assert_eq!(client.read_response().unwrap().text(), "xxx");
}

#[test]
fn names_mean_themselves_in_pages() {
    let evil = "<img src=x onerror=alert(1)> & \"q\" 'a'?#%41;.txt";
    let files = Site::new().unwrap().file(format!("d&<d>/{evil}"), "found").unwrap();
    let files = files.file("d&<d>/javascript:alert(1)", "script").unwrap();
    let server = serve_with(&files, "", LISTED);
    let page = server.get("/d%26%3Cd%3E/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let text = page.text();
    assert!(!text.contains("<img") && !text.contains("<d>") && !text.contains("<script"), "{text}");
    assert!(text.contains("&lt;img src=x onerror=alert(1)&gt; &amp; &quot;q&quot; &#39;a&#39;"));
    assert!(text.contains("<title>/d&amp;&lt;d&gt;/</title>"), "{text}");
    assert!(text.contains("href=\"javascript%3Aalert%281%29\""), "{text}");
    // Each link leads to its file.
    let links: Vec<&str> = text.split("<tr><td><a href=\"").skip(1).collect();
    let links: Vec<&str> = links.iter().filter_map(|link| link.split('"').next()).collect();
    assert_eq!(links.len(), 3, "{links:?}");
    let found = links.iter().filter(|link| **link != "../");
    let found: Vec<String> =
        found.map(|link| server.get(&format!("/d%26%3Cd%3E/{link}")).text()).collect();
    assert_eq!(found, ["found", "script"]);
}

#[test]
fn pages_lead_up_and_keep_their_order() {
    let files = Site::new().unwrap().file("a/b/c/x.txt", "").unwrap();
    let server = serve_with(&files, "", LISTED);
    let page = server.get("/a/b/?sort=time&order=desc").text();
    let crumbs = page.split("<h1>").nth(1).unwrap().split("</h1>").next().unwrap();
    let query = "?sort=time&amp;order=desc";
    assert_eq!(
        crumbs,
        format!(
            "<a href=\"../../{query}\">site.test</a><i>/</i><a href=\"../{query}\">a</a><i>/</i>b"
        )
    );
    assert!(page.contains(&format!("href=\"c/{query}\"")), "{page}");
    assert!(page.contains("<th aria-sort=\"descending\"><a href=\"?sort=time&amp;order=asc\">"));
    assert!(page.contains("<th><a href=\"?sort=size&amp;order=asc\">Size</a></th>"));
    let top = server.get("/").text();
    assert!(top.contains("<h1>site.test</h1>") && !top.contains("Parent directory"), "{top}");
    assert!(top.contains("<p>1 directory, 0 files</p>") && top.contains("href=\"a/\""), "{top}");

    // With a prefix the way ends where the directory does.
    let webapp = format!(
        "rule {{ static {{ .stripPrefix = \"/x/pub\"  .webRoot = \"{}\"  {LISTED} }} }}",
        files.root().display()
    );
    let server = site("", &webapp);
    let page = server.get("/x/pub/a/").text();
    assert!(page.contains("<h1><a href=\"../\">pub</a><i>/</i>a</h1>"), "{page}");
    assert!(server.get("/x/pub/").text().contains("<h1>pub</h1>"));
    assert_eq!(server.get("/x/pub").header("location"), Some("/x/pub/"));
}

#[test]
fn no_more_is_read_than_the_config_says() {
    let mut files = Site::new().unwrap();
    for number in 0..10 {
        files = files.file(format!("{number}.txt"), "").unwrap();
    }
    for (most, complete) in [(9, false), (10, true)] {
        let server = serve_with(&files, "", &format!("{LISTED}  .maxEntries = {most}"));
        let listing = server.get("/?format=json").text();
        assert_eq!(names(&listing).len(), most);
        assert!(listing.contains(&format!("\"complete\":{complete}")), "{listing}");
        let page = server.get("/").text();
        assert_eq!(page.contains("There is more than is shown here"), !complete);
    }
}

#[test]
fn who_comes_while_others_are_served_waits_for_a_turn() {
    let files = files();
    let server = serve_with(&files, "", LISTED);
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /sub/ HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    for mut client in clients {
        assert!(client.read_response().unwrap().text().contains("in.txt"));
    }
}

#[test]
fn a_list_of_paths_may_end_in_a_listing() {
    let files = files();
    let list = r#".tryFiles = ($path, $path + "/", "/sub/", "=404")"#;
    let server = serve_with(&files, "", &format!("{LISTED}  {list}"));
    assert_eq!(server.get("/b.txt").text(), "xxx");
    assert_eq!(server.get("/sub").header("location"), Some("/sub/"));
    for target in ["/sub/", "/none"] {
        assert!(server.get(target).text().contains("in.txt"), "{target}");
    }
}

#[test]
fn curl_can_mirror_what_is_listed() {
    let Some(curl) = peer("curl") else { return };
    let files = files();
    let server = serve_with(&files, "", LISTED);
    let url = format!("http://{}/", server.addr());
    let fetch = |url: &str| {
        let output = Command::new(&curl).args(["-sS", url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for name in names(&fetch(&format!("{url}?format=json"))) {
        let at = files.root().join(&name);
        if at.is_file() {
            assert_eq!(fetch(&format!("{url}{name}")).into_bytes(), std::fs::read(at).unwrap());
        }
    }
}
