//! The handlet `requestId`.

use std::collections::HashSet;

use crate::server::{mistake, site};

const ECHO: &str =
    r#"rule { .returnCode = 200  .returnText = $header_x_request_id + " " + $requestId }"#;

#[test]
fn requests_get_ids_of_their_own() {
    let server = site("", &format!("rule {{ requestId {{}} }} {ECHO}"));
    let mut seen = HashSet::new();
    for _ in 0..100 {
        // What a stranger brings does not count.
        let reply = server.ask("GET", "/", &["X-Request-Id: mine", "X-Request-Id: too"]);
        let id = reply.header("x-request-id").unwrap();
        assert_eq!(reply.text(), format!("{id} {id}"));
        assert!(is_uuid_7(id), "{id}");
        assert!(seen.insert(id.to_owned()), "{id}");
    }
}

fn is_uuid_7(text: &str) -> bool {
    const SHAPE: &str = "hhhhhhhh-hhhh-7hhh-vhhh-hhhhhhhhhhhh";
    text.len() == SHAPE.len()
        && text.chars().zip(SHAPE.chars()).all(|(c, shape)| match shape {
            'h' => c.is_ascii_digit() || ('a'..='f').contains(&c),
            'v' => "89ab".contains(c),
            other => c == other,
        })
}

#[test]
fn an_id_that_is_well_formed_is_kept_if_it_is_trusted() {
    let server = site("", &format!("rule {{ requestId {{ .trust = true }} }} {ECHO}"));
    let longest = "x".repeat(128);
    for (brought, kept) in [
        ("abc-DEF_0.~+/=:@", true),
        (&*longest, true),
        (&*format!("{longest}x"), false),
        ("", false),
        ("a b", false),
        ("a\tb", false),
        ("a\"b", false),
        ("é", false),
        ("a,b", false),
    ] {
        let reply = server.ask("GET", "/", &[&format!("X-Request-Id: {brought}")]);
        let id = reply.header("x-request-id").unwrap();
        assert_eq!(id == brought, kept, "{brought}: {id}");
        assert_eq!(reply.text(), format!("{id} {id}"));
    }
    let twice = server.ask("GET", "/", &["X-Request-Id: a", "X-Request-Id: b"]);
    assert!(is_uuid_7(twice.header("x-request-id").unwrap()));
}

#[test]
fn the_field_has_the_name_it_was_given() {
    let server = site("", r#"rule { requestId { .field = "X-Correlation-Id" } }"#);
    let reply = server.get("/none");
    assert_eq!((reply.status, reply.header("x-request-id")), (404, None));
    assert!(is_uuid_7(reply.header("x-correlation-id").unwrap()));
    let error = mistake("", r#"rule { requestId { .field = "content-length" } }"#);
    assert!(error.contains("is about the connection"), "{error}");
}
