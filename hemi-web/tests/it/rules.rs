//! Conditions of rules, asked through a server.

use hemi_test::TempDir;

use crate::site::Site;

/// A site that answers 204 if the condition holds, else 404.
fn site(condition: &str, properties: &str) -> Site {
    Site::of(&format!(
        r#"stage {{
            webapp "w" {{
                .hostnames = ("*")
                {properties}
                rule {condition} {{ .returnCode = 204 }}
            }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w") }}
        }}"#
    ))
}

fn status(site: &Site, target: &str, fields: &str) -> u16 {
    let mut client = site.connect();
    client.send(format!("GET {target} HTTP/1.1\r\n{fields}\r\n")).unwrap();
    client.read_response().unwrap().status
}

#[test]
fn each_variable_is_what_it_is_said_to_be() {
    const HOST: &str = "host: Shop.Test:3080\r\n";
    #[rustfmt::skip]
    let rows = [
        ("$method == \"GET\"", "/", HOST),
        ("$scheme == \"http\"", "/", HOST),
        ("$authority == \"shop.test:3080\"", "/", HOST),
        ("$hostname == \"shop.test\"", "/", HOST),
        ("$colonport == \":3080\"", "/", HOST),
        ("$colonport == \"\"", "/", "host: shop.test\r\n"),
        ("$path == \"/a b/d\"", "/a%20b/c/../d?e=f", HOST),
        ("$encodedPath == \"/a%20b/c/../d\"", "/a%20b/c/../d?e=f", HOST),
        ("$uri == \"/a%20b?e=%66\"", "/a%20b?e=%66", HOST),
        ("$queryString == \"e=%66\"", "/?e=%66", HOST),
        ("$queryString == \"\"", "/", HOST),
        ("$contentType == \"text/plain\"", "/", "host: x\r\ncontent-type: text/plain\r\n"),
        ("$remoteAddr == \"127.0.0.1\"", "/", HOST),
        ("$remotePort ~= `^[0-9]+$`", "/", HOST),
        ("$header_x_some_thing == \"y\"", "/", "host: x\r\nX-Some-Thing: y\r\n"),
        ("$header_x == \"\"", "/", HOST),
        ("$cookie_b == \"2\"", "/", "host: x\r\ncookie: a=1; b=2\r\n"),
        ("$cookie_b == \"\"", "/", HOST),
        ("$query_b == \"x y\"", "/?a=1&b=x%20y", HOST),
    ];
    for (condition, target, fields) in rows {
        assert_eq!(
            status(&site(condition, ""), target, fields),
            204,
            "{condition}: {target} {fields}"
        );
    }
}

#[test]
fn operators_and_their_opposites() {
    // Of `/abc`: what holds, each with its opposite.
    for (operator, opposite, holds, fails) in [
        ("==", "!=", "\"/abc\"", "\"/ab\""),
        ("^=", "!^", "\"/ab\"", "\"bc\""),
        ("$=", "!$", "\"bc\"", "\"/ab\""),
        ("*=", "!*", "\"b\"", "\"x\""),
        ("~=", "!~", "`b.$`", "`^b`"),
        ("==", "!=", "(\"/\", \"/abc\")", "(\"/\", \"/abcd\")"),
        ("~=", "!~", "(`x`, `b`)", "(`x`, `y`)"),
    ] {
        for (condition, expected) in [
            (format!("$path {operator} {holds}"), true),
            (format!("$path {opposite} {holds}"), false),
            (format!("$path {operator} {fails}"), false),
            (format!("$path {opposite} {fails}"), true),
            (format!("!($path {operator} {fails}) && $method == \"GET\""), true),
            (format!("$path {operator} {fails} || $method == \"POST\""), false),
        ] {
            let status = status(&site(&condition, ""), "/abc", "host: x\r\n");
            assert_eq!(status == 204, expected, "{condition}");
        }
    }
}

#[test]
fn paths_are_looked_up_in_the_web_root() {
    let dir = TempDir::new().unwrap();
    dir.write("root/sub/file.txt", "text").unwrap();
    dir.write("secret", "text").unwrap();
    let root = format!(".webRoot = \"{}\"", dir.path().join("root").display());
    #[rustfmt::skip]
    let rows = [
        //                  -f     -d     -e     -D     -E
        ("/",              [false, false, false, true,  true]),
        ("/sub",           [false, true,  true,  true,  true]),
        ("/sub/",          [false, true,  true,  true,  true]),
        ("/sub/file.txt",  [true,  false, true,  false, true]),
        ("/sub/%66ile.txt", [true, false, true,  false, true]),
        ("/none",          [false, false, false, false, false]),
    ];
    for (index, check) in ["-f", "-d", "-e", "-D", "-E"].iter().enumerate() {
        let site = site(&format!("$path {check}"), &root);
        for (path, expected) in rows {
            let expected = if expected[index] { 204 } else { 404 };
            assert_eq!(status(&site, path, "host: x\r\n"), expected, "{check} {path}");
        }
        assert_eq!(status(&site, "/%2e%2e/secret", "host: x\r\n"), 400, "{check}");
    }
    for (check, path) in [("!f", "/sub"), ("!d", "/sub/file.txt"), ("!e", "/none")] {
        let site = site(&format!("$path {check}"), &root);
        assert_eq!(status(&site, path, "host: x\r\n"), 204, "{check} {path}");
        let other = if check == "!d" { "/sub" } else { "/sub/file.txt" };
        assert_eq!(status(&site, other, "host: x\r\n"), 404, "{check} {other}");
    }
}

#[test]
fn the_first_rule_that_matches_answers() {
    let site = site("$path ^= \"/a\"", "rule $path == (\"/b\", \"/ab\") { .returnCode = 410 }");
    for (path, expected) in [("/ab", 410), ("/b", 410), ("/ac", 204), ("/c", 404)] {
        assert_eq!(status(&site, path, "host: x\r\n"), expected, "{path}");
    }
}
