//! The handlet `cors`.

use hemi_test::Reply;

use crate::server::{Running, mistake, site};

fn shared(properties: &str) -> Running {
    let rules =
        format!(r#"rule {{ cors {{ {properties} }} }} rule $path == "/" {{ .returnCode = 200 }}"#);
    site("", &rules)
}

fn fields<'r>(reply: &'r Reply, names: &[&str]) -> Vec<Option<&'r str>> {
    names.iter().map(|name| reply.header(name)).collect()
}

fn origin(reply: &Reply) -> Vec<&str> {
    reply.header_values("access-control-allow-origin").collect()
}

#[test]
fn a_preflight_is_answered() {
    let server = shared(
        r#".origins = ("https://a.test")  .methods = ("PUT", "DELETE")  .headers = ("x-a", "x-b")
        .exposedHeaders = ("x-c")  .credentials = true  .maxAge = 2m"#,
    );
    let ask = |origin: &str| {
        let origin = format!("Origin: {origin}");
        server.ask("OPTIONS", "/none", &[&origin, "Access-Control-Request-Method: PUT"])
    };
    let reply = ask("https://a.test");
    assert_eq!((reply.status, reply.header("content-length")), (204, None));
    assert_eq!(origin(&reply), ["https://a.test"]);
    let names = [
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-allow-credentials",
        "access-control-max-age",
        "access-control-expose-headers",
        "vary",
    ];
    let values = ["PUT, DELETE", "x-a, x-b", "true", "120"].map(Some);
    assert_eq!(fields(&reply, &names), [&values[..], &[None, Some("origin")]].concat());
    let reply = ask("https://b.test");
    assert_eq!((reply.status, reply.header("vary")), (403, Some("origin")));
    assert!(!reply.headers.iter().any(|(name, _)| name.starts_with("access-control")));
    // Other questions are for the application.
    assert_eq!(server.ask("OPTIONS", "/none", &["Origin: https://a.test"]).status, 404);
    assert_eq!(server.ask("OPTIONS", "/none", &["Access-Control-Request-Method: PUT"]).status, 404);
}

#[test]
fn answers_say_which_pages_may_see_them() {
    let server = shared(
        r#".origins = ("https://a.test", "https://*.b.test:8443", "http://c.test:80")
        .exposedHeaders = ("x-c", "x-d")  .credentials = true"#,
    );
    for (asked, allowed) in [
        ("https://a.test", true),
        ("https://x.b.test:8443", true),
        ("https://x.y.b.test:8443", true),
        ("http://c.test", true),
        ("https://a.test:8443", false),
        ("http://a.test", false),
        ("https://b.test:8443", false),
        ("https://.b.test:8443", false),
        ("https://xb.test:8443", false),
        ("https://evil.test/.b.test:8443", false),
        ("https://evil.test#.b.test:8443", false),
        ("https://evil.test\\.b.test:8443", false),
        ("https://a.test.evil.test", false),
        ("null", false),
        ("", false),
        ("*", false),
    ] {
        let reply = server.ask("GET", "/", &[&format!("Origin: {asked}")]);
        assert_eq!(reply.header("vary"), Some("origin"), "{asked}");
        let names = ["access-control-expose-headers", "access-control-allow-credentials"];
        let expected = match allowed {
            true => (vec![asked], vec![Some("x-c, x-d"), Some("true")]),
            false => (vec![], vec![None, None]),
        };
        assert_eq!((origin(&reply), fields(&reply, &names)), expected, "{asked}");
    }
    let reply = server.get("/none");
    assert_eq!((reply.header("vary"), origin(&reply)), (Some("origin"), vec![]));
    let twice = server.ask("GET", "/none", &["Origin: https://a.test", "Origin: https://a.test"]);
    assert!(origin(&twice).is_empty());
}

#[test]
fn all_may_be_let_in_and_those_who_hide_if_they_are_named() {
    let server = shared(r#".origins = ("*")"#);
    for asked in ["https://a.test", "null"] {
        let reply = server.ask("GET", "/none", &[&format!("Origin: {asked}")]);
        assert_eq!((origin(&reply), reply.header("vary")), (vec!["*"], Some("origin")));
    }
    let server = shared(r#".origins = ("null")"#);
    assert_eq!(origin(&server.ask("GET", "/none", &["Origin: null"])), ["null"]);
    assert!(origin(&server.ask("GET", "/none", &["Origin: https://a.test"])).is_empty());
}

#[test]
fn what_would_let_anybody_act_for_a_user_is_a_mistake() {
    for (properties, message) in [
        (r#".origins = ("*")  .credentials = true"#, "nothing may be \"*\""),
        (
            r#".origins = ("https://a.test")  .credentials = true  .headers = ("*")"#,
            "nothing may be",
        ),
        (r#".origins = ("https://a.test", "null")  .credentials = true"#, "nothing may be"),
        (r#".origins = ("*", "https://a.test")"#, "\"*\" is all origins"),
        (r#".origins = ("https://a.test/")"#, "is not an origin"),
        (r#".origins = ("a.test")"#, "is not an origin"),
        (r#".origins = ("https://*")"#, "is not an origin"),
        (r#".origins = ("https://a.*.test")"#, "is not an origin"),
        (r#".origins = ("https://*a.test")"#, "is not an origin"),
        (r#".origins = ("https://u@a.test")"#, "is not an origin"),
        (r#".origins = ("https://a.test")  .methods = ("A B")"#, "is not the name of a method"),
        ("", "needs the property `.origins`"),
    ] {
        let error = mistake("", &format!("rule {{ cors {{ {properties} }} }}"));
        assert!(error.contains(message), "{properties}: {error}");
    }
}
