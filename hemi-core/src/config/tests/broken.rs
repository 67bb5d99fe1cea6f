//! Broken configs: each mistake is found at its exact place, named, and comes with a way out.
use super::try_load;

/// The text, where the mistake is, a part of the message and a part of the hint.
type Case = (&'static str, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    // The whole file.
    ("", "1:1", "the config is empty", "write `stage { … }`"),
    ("# nothing here\n", "1:1", "the config is empty", "write `stage { … }`"),
    ("webapp \"a\" { }", "1:1", "must be `stage`, found `webapp`", "inside `stage { … }`"),
    (".a = 1\nstage { }", "1:1", "must be `stage`", "inside `stage { … }`"),
    ("stage { }\nfoo", "2:1", "nothing may follow", "inside the braces"),
    ("stage { }\nclock { }", "2:1", "nothing may follow", "inside the braces"),
    ("stage { } }", "1:11", "nothing may follow", "inside the braces"),
    // Braces.
    ("stage", "1:1", "expected `{` after `stage`", "write `stage { … }`"),
    ("stage {", "1:7", "this `{` is never closed", "close it with `}`"),
    ("stage {\n\tclock {\n\t.a = 1\n}\n", "2:8", "this `{` is never closed", "close it with `}`"),
    (
        "stage {\n\twebapp \"x\"\n\t\t.a = 1\n\t}\n}",
        "2:2",
        "expected `{` after `webapp \"x\"`",
        "write `webapp \"x\" { … }`",
    ),
    ("stage { clock }", "1:9", "expected `{` after `clock`", "write `clock { … }`"),
    (
        "stage { clock ) { } }",
        "1:15",
        "expected `{` after `clock`, found `)`",
        "write `clock { … }`",
    ),
    (
        "stage {\n\twebapp shop {\n\t\t.a = 1\n\t}\n}",
        "2:9",
        "the name `shop` has no quotes",
        "did you mean `webapp \"shop\"`?",
    ),
    (
        "stage { include \"x/*.conf\" }",
        "1:9",
        "not included by a word",
        "did you mean `<x/*.conf>`?",
    ),
    (
        "stage { rule $header_User-Agent-x == \"a\" { } }",
        "1:14",
        "`$header_User-Agent-x` is not the name of a variable",
        "did you mean `$header_User_Agent_x`?",
    ),
    // Properties.
    ("stage { .a 1 }", "1:12", "expected `=` after `.a`, found `1`", "write `.a = value`"),
    ("stage { .a }", "1:9", "expected `=` after `.a`", "write `.a = value`"),
    ("stage { .a: 1 }", "1:11", "expected `=` after `.a`, found `:`", "a single `=`"),
    ("stage { .a == 1 }", "1:12", "expected `=` after `.a`, found `==`", "a single `=`"),
    ("stage { a = 1 }", "1:9", "the property `a` has no dot", "did you mean `.a`?"),
    (
        "stage { returnCode 200 }",
        "1:9",
        "the property `returnCode` has no dot and no `=`",
        "did you mean `.returnCode = 200`?",
    ),
    (
        "stage { webapps (\"a\", \"b\") }",
        "1:9",
        "the property `webapps` has no dot and no `=`",
        "did you mean `.webapps = (\"a\", \"b\")`?",
    ),
    (
        "stage {\n\twebRoot \"/srv\"\n}",
        "2:2",
        "expected `{` after `webRoot \"/srv\"`",
        "a property is written `.webRoot = \"/srv\"`",
    ),
    ("stage { .a = }", "1:12", "`.a` has no value", "write a value"),
    ("stage {\n\t.a =\n\t.b = 1\n}", "2:5", "`.a` has no value", "write a value"),
    ("stage { .a = 1, .b = 2 }", "1:15", "found `,`", "no comma between them"),
    ("stage { .a = 1; .b = 2 }", "1:15", "unexpected `;`", "nothing stands between"),
    ("stage { .a = 1 .a = 2 }", "1:16", "`.a` is set twice", "remove one"),
    (
        "stage { \"x\" }",
        "1:9",
        "expected a property, a component or `}`, found `\"x\"`",
        "a name stands behind its sign",
    ),
    ("stage { { } }", "1:9", "expected a property, a component or `}`, found `{`", "sign \"name\""),
    ("stage { . = 1 }", "1:9", "unexpected `.`", "in quotes"),
    // Values.
    ("stage { .a = foo }", "1:14", "found the word `foo`", "did you mean \"foo\"?"),
    ("stage { .a = www.x.test }", "1:14", "found the word `www`", "did you mean \"www.x.test\"?"),
    ("stage { .a = on }", "1:14", "found the word `on`", "write `true`"),
    ("stage { .a = null }", "1:14", "found the word `null`", "leave the property out"),
    ("stage { .a = 'x' }", "1:14", "single quotes", "write \"x\""),
    ("stage { .a = “x” }", "1:14", "unexpected quotation mark", "write strings as"),
    ("stage { .a = /srv/www }", "1:14", "unexpected `/srv/www`", "\"/srv/www\""),
    ("stage { .a = :3080 }", "1:14", "found `:`", "strings stand in quotes"),
    (
        "stage { .a = node { .b = 1 } }",
        "1:14",
        "the component `node` cannot be a value",
        "write its name here",
    ),
    ("stage { .a = <x.conf> }", "1:14", "found `<x.conf>`", "an include stands by itself"),
    ("stage { .a = {} }", "1:14", "found `{`", "lists are written"),
    // Numbers.
    ("stage { .a = 10sec }", "1:14", "unknown unit `sec`", "did you mean `10s`?"),
    ("stage { .a = 10MB }", "1:14", "unknown unit `MB`", "did you mean `10M`?"),
    ("stage { .a = 1.5s }", "1:14", "has a fraction", "`1500ms`"),
    ("stage { .a = 127.0.0.1:80 }", "1:14", "`127.0.0.1` is not a number", "\"127.0.0.1\""),
    ("stage { .a = 99999999999T }", "1:14", "too large", "smaller"),
    ("stage { .a = 99999999999999999999 }", "1:14", "too large", "integers are from"),
    ("stage { .a = -5s }", "1:14", "negative", "only plain integers"),
    ("stage { .a = 5 + 6 }", "1:14", "only strings can be joined", "in quotes"),
    // Strings.
    (
        "stage {\n\t.a = \"x\n\t.b = \"y\"\n}",
        "2:7",
        "this string is never closed",
        "close it with `\"`",
    ),
    ("stage { .a = \"x }", "1:14", "this string is never closed", "close it with `\"`"),
    ("stage { .a = `x }", "1:14", "this string is never closed", "another backquote"),
    ("stage { .a = \"x\\q\" }", "1:16", "this escape is not known", "\\n \\t"),
    ("stage { .a = \"\\x1\" }", "1:15", "this escape is not known", "two hexadecimal digits"),
    ("stage { .a = \"\\u{110000}\" }", "1:15", "this escape is not known", "in braces"),
    ("stage { /* x }", "1:9", "this comment is never closed", "`*/`"),
    // Lists and dicts.
    (
        "stage {\n\t.a = (\"x\", \"y\"\n\t.b = 1\n}",
        "2:7",
        "this `(` is never closed",
        "close it with `)`",
    ),
    ("stage { .a = (\"x\" \"y\") }", "1:19", "expected `,` or `)`, found `\"y\"`", "put a comma"),
    ("stage { .a = (\"x\"] }", "1:18", "expected `,` or `)`, found `]`", "close it with `)`"),
    ("stage { .a = [k: 1] }", "1:15", "expected a key in quotes", "write \"k\": value"),
    ("stage { .a = [\"k\" = 1] }", "1:19", "expected `:` after the key", "\"key\": value"),
    ("stage { .a = [\"k\": 1, \"k\": 2] }", "1:23", "stands twice", "remove one"),
    ("stage { .a = [\"k\": 1 }", "1:14", "this `[` is never closed", "close it with `]`"),
    // Constants and references.
    ("stage { .a = %topdir }", "1:14", "unknown constant `%topdir`", "did you mean `%topDir`?"),
    ("stage { .a = %env }", "1:14", "unknown constant `%env`", "%env.NAME"),
    (
        "stage { .a = %env.HOMER }",
        "1:14",
        "the environment has no `HOMER`",
        "did you mean `%env.HOME`?",
    ),
    (
        "stage { .a = %env.DB_PASSWORD }",
        "1:14",
        "the environment has no `DB_PASSWORD`",
        "before the start",
    ),
    ("stage { .a = .a }", "1:14", "refers to itself", "write its value"),
    ("stage { .root = \"/\" .a = .rot }", "1:26", "`.rot` is not set", "did you mean `.root`?"),
    ("stage { .a = .b  .b = 1 }", "1:14", "`.b` is not set yet", "below the place"),
    // Conditions.
    ("stage { rule $path { } }", "1:14", "`$path` alone is not a condition", "compare it"),
    (
        "stage { rule $path = \"/\" { } }",
        "1:20",
        "a single `=` does not compare",
        "did you mean `==`?",
    ),
    ("stage { rule $path =~ \"/\" { } }", "1:20", "unknown operator `=~`", "did you mean `~=`?"),
    (
        "stage { rule $path \"/\" { } }",
        "1:20",
        "expected an operator after `$path`",
        "operators are",
    ),
    ("stage { rule $path >= \"/\" { } }", "1:20", "unknown operator `>=`", "operators are"),
    (
        "stage { rule $path == { } }",
        "1:23",
        "expected a string after `==`",
        "compare with a string",
    ),
    ("stage { rule $path == $uri { } }", "1:23", "cannot stand on the right side", "strings only"),
    (
        "stage { rule $path == 5 { } }",
        "1:23",
        "expected a string, found the integer 5",
        "in quotes",
    ),
    ("stage { rule $path == () { } }", "1:23", "an empty list", "at least one"),
    ("stage { rule $path !-f { } }", "1:20", "unknown operator `!-f`", "did you mean `!f`?"),
    ("stage { rule $path -x { } }", "1:20", "unknown test `-x`", "tests of $path are"),
    ("stage { rule $uri -f { } }", "1:14", "`-f` does not work on `$uri`", "only `$path`"),
    (
        "stage { rule $path == \"/\" & $uri == \"/\" { } }",
        "1:27",
        "unknown operator `&`",
        "did you mean `&&`?",
    ),
    ("stage { rule ($path == \"/\" { } }", "1:14", "this `(` is never closed", "close it with `)`"),
    (
        "stage { rule $path == \"/\" && { } }",
        "1:30",
        "expected a condition, found `{`",
        "is written like",
    ),
    ("stage { rule == \"/\" { } }", "1:14", "expected a variable before `==`", "write `$path"),
    ("stage { rule ${path} == \"/\" { } }", "1:14", "variables have no braces", "write `$path`"),
    // Includes.
    ("stage { <a.conf> }", "1:9", "includes are refused here", "base directory"),
    ("stage { <a.conf\n }", "1:9", "this include is never closed", "write `<path"),
    ("stage { <> }", "1:9", "this include names no file", "write `<path"),
];

#[test]
fn names_the_place_and_a_way_out() {
    let mut failures = String::new();
    for (text, place, message, help) in CASES {
        let error = match try_load(text) {
            Err(error) => error,
            Ok(_) => {
                failures += &format!("no error: {text}\n");
                continue;
            }
        };
        let [found] = error.diagnostics() else {
            failures += &format!("several errors: {text}\n{error}\n");
            continue;
        };
        let location = found.span.map(|span| error.sources().locate(span).to_string());
        let good = location == Some(format!("t.conf:{place}"))
            && found.message.contains(message)
            && found.help.as_ref().is_some_and(|found| found.contains(help));
        if !good {
            failures += &format!("expected {place} {message} ({help}), found\n{error}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(CASES.len() >= 60);
}

#[test]
fn reports_all_mistakes_in_one_run() {
    let text = "stage {
\t.a = 10sec
\t.b = (1, , 2)
\twebapp \"x\" $path {
\t\tc = 1
\t\t.d =
\t}
\trule $path =~ \"x\" { .e = %nope  .f = \"\\q\" }
\t.g = .nothing
\t.g = 1
}
";
    let Err(error) = try_load(text) else { panic!("no error") };
    let places: Vec<_> = error
        .diagnostics()
        .iter()
        .filter_map(|error_found| error_found.span)
        .map(|span| {
            let place = error.sources().locate(span);
            (place.line, place.column)
        })
        .collect();
    let expected =
        [(2, 7), (3, 11), (4, 13), (5, 3), (6, 6), (8, 13), (8, 27), (8, 40), (9, 7), (10, 2)];
    assert_eq!(places, expected, "{error}");
}

#[test]
fn shows_both_places_of_a_property_set_twice() {
    let Err(error) = try_load("stage {\n\t.a = 1\n\t.a = 2\n}") else { panic!("no error") };
    assert_eq!(
        error.to_string(),
        "t.conf:3:2: error: `.a` is set twice
  |
3 |     .a = 2
  |     ^^
  = help: remove one of them
t.conf:2:2: note: first set here
  |
2 |     .a = 1
  |     ^^
"
    );
}

#[test]
fn survives_deep_nesting() {
    for (open, close) in
        [("stage { ", "}"), ("(", ")"), ("[\"k\":", "]"), ("!", ""), ("rule (", ")")]
    {
        for prefix in ["", "stage { .a = ", "stage { rule "] {
            let text = format!("{prefix}{}{}", open.repeat(50_000), close.repeat(50_000));
            assert!(try_load(&text).is_err());
        }
    }
}
