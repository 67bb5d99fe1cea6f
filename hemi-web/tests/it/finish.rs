//! What an answer goes through after it was made: error pages, late changes, revisers.

use hemi_test::{Reply, TempDir};

use crate::site::Site;

fn get(site: &Site, path: &str) -> Reply {
    let mut client = site.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
    client.read_response().unwrap()
}

fn site(inside: &str) -> Site {
    Site::of(&format!(
        r#"stage {{
            webapp "w" {{ .hostnames = ("*")  {inside} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w") }}
        }}"#
    ))
}

#[test]
fn late_changes_are_made_whoever_answers() {
    let site = site(
        r#"rule { probe {} }
        rule $path == "/mark/found" { .returnCode = 200  .returnText = "found" }"#,
    );
    for (path, status) in [("/mark/found", 200), ("/mark/none", 404), ("/mark/panic", 500)] {
        let reply = get(&site, path);
        assert_eq!((reply.status, reply.header("mark")), (status, Some("late")), "{path}");
    }
    // On the next request nothing of it is left.
    let mut client = site.connect();
    for (path, mark) in [("/mark/found", Some("late")), ("/now", None)] {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        assert_eq!(client.read_response().unwrap().header("mark"), mark, "{path}");
    }
}

#[test]
fn revisers_of_a_webapp_see_all_and_stand_around_those_of_rules() {
    let site = site(
        r#"trace { .name = "b"  .rank = 2 }
        trace { .name = "a"  .rank = 1 }
        rule $path ^= "/in" { trace { .name = "inner"  .rank = 0 }  .returnCode = 200 }
        rule { probe {} }"#,
    );
    let rows = [
        ("/in", vec!["inner", "a", "b"]),
        ("/now", vec!["a", "b"]),
        ("/wait/0", vec!["a", "b"]),
        ("/none", vec!["a", "b"]),
        ("/panic", vec!["a", "b"]),
        ("/now/panic", vec!["a", "b"]),
    ];
    for (path, expected) in rows {
        assert_eq!(get(&site, path).header_values("trace").collect::<Vec<_>>(), expected, "{path}");
    }
}

#[test]
fn error_pages_stand_in_for_stock_ones_only() {
    let dir = TempDir::new().unwrap();
    dir.write("404.html", "<p>lost").unwrap();
    dir.write("sorry.json", "{}").unwrap();
    let root = dir.path().display();
    let site = site(&format!(
        r#".webRoot = "{root}"
        .errorPages = ["404": "/404.html", "4xx": "/none.html", "5xx": "sorry.json"]
        rule $path == "/own" {{ .returnCode = 404  .returnText = "my own" }}
        rule $path == "/gone" {{ .returnCode = 410 }}
        rule {{ probe {{}} }}"#
    ));
    let rows = [
        ("/nothing", 404, "<p>lost", "text/html; charset=utf-8"),
        ("/own", 404, "my own", "text/plain; charset=utf-8"),
        ("/panic", 500, "{}", "application/json"),
    ];
    for (path, status, text, media_type) in rows {
        let reply = get(&site, path);
        assert_eq!((reply.status, &*reply.text()), (status, text), "{path}");
        assert_eq!(reply.header("content-type"), Some(media_type), "{path}");
    }
    // A page that is not there leaves the stock one.
    let reply = get(&site, "/gone");
    assert_eq!(reply.status, 410);
    assert!(reply.text().contains("<b>410</b>"), "{}", reply.text());
}

#[test]
fn a_rule_answers_by_itself_what_its_handlets_leave() {
    let site = site(
        r#"rule $path ^= "/" { probe {}  .returnCode = 418  .returnText = "no " + $path + "?" }"#,
    );
    assert_eq!(get(&site, "/now").text(), "now");
    let reply = get(&site, "/tea");
    assert_eq!((reply.status, &*reply.text()), (418, "no /tea?"));
}

#[test]
fn early_hints_come_before_the_answer_but_not_to_http_1_0() {
    let site = Site::with("");
    let mut client = site.connect();
    client.send("GET /hints HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    for _ in 0..2 {
        let hint = client.read_response().unwrap();
        assert_eq!((hint.status, hint.header("link")), (103, Some("</a.css>")));
    }
    assert_eq!(client.read_response().unwrap().text(), "hinted");
    let mut old = site.connect();
    old.send("GET /hints HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(old.read_response().unwrap().status, 200);
    // There is an end to them, and the next request has its own.
    for _ in 0..2 {
        client.send("GET /hints/100 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        for _ in 0..16 {
            assert_eq!(client.read_response().unwrap().status, 103);
        }
        assert_eq!(client.read_response().unwrap().text(), "16");
    }
}
