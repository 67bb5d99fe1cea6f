//! The program starts; guests sign, and are remembered.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;

use hemi_test::{Program, Reply};

const CONF: &str = r#"stage {
    memoryHstate "sessions" {}
    webapp "guestbook" {
        .hostnames = ("*")
        .withHstate = "sessions"
        rule { guestbook { .title = "Guests & friends"  .maxEntries = 2 } }
    }
    httpxServer "main" { .address = "127.0.0.1:@PORT@"  .webapps = ("guestbook") }
}"#;

fn ask(program: &Program, line: &str, cookie: &str, form: &str) -> Reply {
    let mut client = program.connect().unwrap();
    let length = form.len();
    let fields = format!(
        "Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}"
    );
    client.send(format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{form}")).unwrap();
    client.read_response().unwrap()
}

/// The token of the form on a page.
fn token(page: &Reply) -> String {
    let page = page.text();
    let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn guests_sign_and_are_remembered() {
    let program = Program::serve(env!("CARGO_BIN_EXE_guestbook"), CONF).unwrap();
    let first = ask(&program, "GET /", "a=b", "");
    assert!(first.text().contains("<h1>Guests &#38; friends</h1>"), "{}", first.text());
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();

    // Without the token of the form nobody signs.
    let forged = ask(&program, "POST /", &cookie, "token=x&name=Eve&words=spam");
    assert_eq!(forged.status, 403);

    let form = |words: &str| format!("token={}&name=Ada+%3Cb%3E&words={words}", token(&first));
    assert_eq!(ask(&program, "POST /", &cookie, &form("one")).status, 303);
    let page = ask(&program, "GET /", &cookie, "").text();
    assert!(page.contains("<p class=\"notice\">Thank you, Ada &#60;b&#62;.</p>"), "{page}");
    assert!(page.contains("<b>Ada &#60;b&#62;</b>: one"), "{page}");
    // The form knows the name; the thanks are said once.
    let page = ask(&program, "GET /", &cookie, "").text();
    assert!(page.contains("value=\"Ada &#60;b&#62;\"") && !page.contains("Thank you"), "{page}");

    assert_eq!(ask(&program, "POST /", &cookie, &form("+")).status, 303);
    assert!(ask(&program, "GET /", &cookie, "").text().contains("class=\"error\""));
    for words in ["two", "three"] {
        ask(&program, "POST /", &cookie, &form(words));
    }
    let page = ask(&program, "GET /", "a=b", "").text();
    assert!(
        page.contains(": two") && page.contains(": three") && !page.contains(": one"),
        "{page}"
    );
}

#[test]
fn the_config_of_the_tutorial_is_a_good_one() {
    let mut check = Command::new(env!("CARGO_BIN_EXE_guestbook"));
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/guestbook.conf");
    let output = check.args(["check", "--config", config]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut fmt = Command::new(env!("CARGO_BIN_EXE_guestbook"));
    let canonical = fmt.args(["fmt", config]).output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&canonical), std::fs::read_to_string(config).unwrap());
}
