//! The handlet `headers`.

use crate::server::{mistake, site};

const ECHO: &str =
    r#"rule { .returnCode = 200  .returnText = $header_x_set + "|" + $header_x_gone }"#;

#[test]
fn fields_of_requests_are_changed_for_those_that_handle_them() {
    let edits = r#"
        .delRequest = ("x-gone")
        .setRequest = ["x-set": $remoteAddr + "!" + $query_a]
        .addRequest = ["x-set": "later"]"#;
    let server = site("", &format!("rule {{ headers {{ {edits} }} }} {ECHO}"));
    let lines = ["X-Set: mine", "X-Set: again", "X-Gone: here", "X-Gone: too"];
    assert_eq!(server.ask("GET", "/?a=b", &lines).text(), "127.0.0.1!b|");
}

#[test]
fn fields_of_answers_are_changed_whoever_makes_them() {
    let edits = r#"
        .setResponse = ["content-type": "text/x-own", "x-path": $path]
        .addResponse = ["x-a": "1", "x-b": ""]
        .delResponse = ("x-c")"#;
    let rules = format!(
        r#"rule {{ headers {{ {edits} }} headers {{ .addResponse = ["x-a": "2"] }} }}
        rule $path == "/" {{ .returnCode = 200  .returnText = "hello" }}"#
    );
    let server = site("", &rules);
    for (path, status) in [("/", 200), ("/none", 404)] {
        let reply = server.get(path);
        assert_eq!(reply.status, status);
        assert_eq!(reply.header_values("content-type").collect::<Vec<_>>(), ["text/x-own"]);
        assert_eq!(reply.header("x-path"), Some(path));
        assert_eq!(reply.header_values("x-a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(reply.header("x-b"), None);
    }
}

#[test]
fn no_variable_begins_a_line_and_none_lets_a_field_of_the_client_through() {
    let edits = r#"
        .setRequest = ["x-set": $query_a]
        .setResponse = ["x-answer": "a" + $query_a]
        .addResponse = ["x-answer": $path]"#;
    let server = site("", &format!("rule {{ headers {{ {edits} }} }} {ECHO}"));
    for (query, value) in [
        ("b", Some("b")),
        ("%0d%0aEvil:%201", None),
        ("%0a", None),
        ("%0d", None),
        ("%00", None),
        ("%7f", None),
        ("", None),
        ("%C3%A9", Some("é")),
    ] {
        let reply = server.ask("GET", &format!("/?a={query}"), &["X-Set: mine"]);
        assert_eq!(reply.text(), format!("{}|", value.unwrap_or_default()), "{query}");
        let expected = match (query, value) {
            ("", _) => vec!["a".to_owned(), "/".to_owned()],
            (_, Some(value)) => vec![format!("a{value}"), "/".to_owned()],
            (_, None) => vec!["/".to_owned()],
        };
        assert_eq!(reply.header_values("x-answer").collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(reply.header("evil"), None, "{query}");
    }
}

#[test]
fn the_preset_is_for_answers_that_say_nothing_else() {
    let server = site(
        "",
        r#"rule { headers { .security = true } }
        rule $path == "/own" { headers { .setResponse = ["x-frame-options": "DENY"] } }"#,
    );
    let fields = ["x-content-type-options", "x-frame-options", "referrer-policy"];
    for (path, frames) in [("/", "SAMEORIGIN"), ("/own", "DENY")] {
        let reply = server.get(path);
        let found = fields.map(|field| reply.header_values(field).collect::<Vec<_>>());
        assert_eq!(found, [["nosniff"], [frames], ["strict-origin-when-cross-origin"]], "{path}");
        // In the clear.
        assert_eq!(reply.header("strict-transport-security"), None);
    }
}

#[test]
fn bad_names_and_values_are_mistakes() {
    for (property, message) in [
        (r#".setResponse = ["a b": "c"]"#, "\"a b\" is not the name of a field"),
        (r#".delRequest = ("Content-Length")"#, "\"content-length\" is about the connection"),
        (r#".addResponse = ["transfer-encoding": "chunked"]"#, "is about the connection"),
        (r#".addResponse = ["a": "b\r\nc: d"]"#, "control character"),
        (r#".addResponse = ["a": $nothing]"#, "unknown variable `$nothing`"),
    ] {
        let error = mistake("", &format!("rule {{ headers {{ {property} }} }}"));
        assert!(error.contains(message), "{property}: {error}");
    }
}
