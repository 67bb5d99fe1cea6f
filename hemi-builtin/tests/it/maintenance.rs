//! The handlet `maintenance`.

use std::time::Duration;

use hemi_test::raw::Client;
use hemi_test::{TempDir, eventually};

use crate::server::{Running, ask, mistake, site};

const SOON: Duration = Duration::from_secs(20);

fn shop(webapp: &str, properties: &str) -> Running {
    let rules = format!("rule {{ maintenance {{ {properties} }} }} rule {{ .returnCode = 204 }}");
    site("", &format!("{webapp} {rules}"))
}

#[test]
fn a_closed_site_says_when_it_opens() {
    let reply = shop("", ".on = true").get("/");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("300")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let reply = shop("", ".on = true  .retryAfter = 10ms").get("/");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    let reply = shop("", ".on = true  .retryAfter = 0s").get("/");
    assert_eq!((reply.status, reply.header("retry-after")), (503, None));
    assert_eq!(shop("", "").get("/").status, 204);
}

#[test]
fn a_file_opens_and_closes_it() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("closed");
    let server = shop("", &format!(".file = \"{}\"", file.display()));
    assert_eq!(server.get("/").status, 204);
    dir.write("closed", "").unwrap();
    assert!(eventually(SOON, || server.get("/").status == 503));
    std::fs::remove_file(&file).unwrap();
    assert!(eventually(SOON, || server.get("/").status == 204));
    // A stage that starts while there is the file is closed from its first request on.
    dir.write("closed", "").unwrap();
    assert_eq!(shop("", &format!(".file = \"{}\"", file.display())).get("/").status, 503);
}

#[test]
fn some_are_let_in_all_the_same() {
    let server = shop("", r#".on = true  .allow = ("127.0.0.2", "127.1.0.0/16")"#);
    for (from, status) in [([127, 0, 0, 1], 503), ([127, 0, 0, 2], 204), ([127, 1, 2, 3], 204)] {
        let mut client = Client::connect_from(from.into(), server.addr()).unwrap();
        assert_eq!(ask(&mut client, "GET", "/", &[]).unwrap().status, status, "{from:?}");
    }
    let error = mistake("", r#"rule { maintenance { .allow = ("localhost") } }"#);
    assert!(error.contains("`.allow` has a name of a host"), "{error}");
}

#[test]
fn a_page_is_shown() {
    let dir = TempDir::new().unwrap();
    let page = dir.write("page.html", "back soon").unwrap();
    dir.write("root/503.html", "closed").unwrap();
    let reply = shop("", &format!(".on = true  .page = \"{}\"", page.display())).get("/");
    assert_eq!((reply.status, reply.text().as_str()), (503, "back soon"));
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    let pages = format!(
        ".webRoot = \"{}\"  .errorPages = [\"503\": \"503.html\"]",
        dir.path().join("root").display()
    );
    assert_eq!(shop(&pages, ".on = true").get("/").text(), "closed");
    let large = dir.write("large.html", " ".repeat((1 << 20) + 1)).unwrap();
    for (page, why) in
        [("/no/such/file", "No such file"), (large.to_str().unwrap(), "has more than 1048576")]
    {
        let error = mistake("", &format!("rule {{ maintenance {{ .page = \"{page}\" }} }}"));
        assert!(error.starts_with(&format!("cannot read {page}")), "{error}");
        assert!(error.contains(why), "{error}");
    }
}
