//! The handlet `rewrite`.

use hemi_test::TempDir;

use crate::server::{mistake, site};

const ECHO: &str = r#"rule { .returnCode = 200  .returnText = $path + " " + $encodedPath + " " + $queryString + " " + $uri }"#;

#[test]
fn those_that_come_after_see_the_new_path() {
    let rules = format!(
        r#"rule {{ rewrite {{ .pattern = `^/user/(?<id>.+)$`  .to = "/user.php?id=" + $match_id }} }}
        rule {{ rewrite {{ .pattern = `^/v1/(.*)`  .to = "/" + $match_1  .again = false }} }}
        rule {{ rewrite {{ .pattern = `^/drop`  .to = "/?"  .again = false }} }}
        {ECHO}"#
    );
    let server = site("", &rules);
    for (target, seen) in [
        ("/other?a", "/other /other a /other?a"),
        ("/user/7", "/user.php /user.php id=7 /user/7"),
        ("/user/7%261?x=y", "/user.php /user.php id=7%261 /user/7%261?x=y"),
        ("/v1/a%20b%2Fc?x=y", "/a b%2Fc /a%20b%2Fc x=y /v1/a%20b%2Fc?x=y"),
        ("/drop?x=y", "/ /  /drop?x=y"),
    ] {
        assert_eq!(server.get(target).text(), seen, "{target}");
    }
}

#[test]
fn rules_are_asked_again_from_the_first_on_or_not() {
    let rules = r#"
        rule $path ^= "/first" { .returnCode = 200  .returnText = "first" }
        rule { rewrite { .pattern = `^/a$`  .to = "/first" } }
        rule { rewrite { .pattern = `^/b$`  .to = "/first"  .again = false } }
        rule { .returnCode = 200  .returnText = "last " + $path }"#;
    let server = site("", rules);
    assert_eq!(server.get("/a").text(), "first");
    assert_eq!(server.get("/b").text(), "last /first");
}

#[test]
fn what_is_done_once_is_done_once() {
    let rules = format!(
        r#"rule {{
            requestId {{}}
            limit {{ .rate = 4  .per = 1h  .concurrent = 1 }}
            headers {{ .addRequest = ["x-a": "1"]  .addResponse = ["x-b": "2", "x-id": $requestId] }}
            access {{ .deny = ("127.0.0.2") }}
            rewrite {{ .pattern = `^/([ab])$`  .to = "/x" + $match_1 }}
        }}
        {ECHO}"#
    );
    let server = site("", &rules);
    for left in [3, 2, 1, 0] {
        let reply = server.get("/a");
        assert_eq!(reply.text(), "/xa /xa  /a");
        let told = format!("\"default\";r={left};");
        let lefts: Vec<&str> = reply.header_values("ratelimit").collect();
        assert!(matches!(lefts[..], [one] if one.starts_with(&told)), "{lefts:?}");
        assert_eq!(reply.header_values("x-b").collect::<Vec<_>>(), ["2"]);
        assert_eq!(reply.header("x-request-id"), reply.header("x-id"));
    }
    assert_eq!(server.get("/a").status, 429);
}

#[test]
fn nothing_in_a_query_keeps_a_path_from_being_rewritten() {
    let rules = format!(
        r#"rule {{ rewrite {{ .pattern = `^/private/`  .to = "/login?from=" + $uri }} }} {ECHO}"#
    );
    let server = site("", &rules);
    for target in ["/private/?a=http:///", "/private/?a=://", "/private/x?http://a/"] {
        assert!(server.get(target).text().starts_with("/login /login from=/private/"), "{target}");
    }
}

#[test]
fn circles_end_after_ten_rounds() {
    let rules = format!(
        r#"rule {{ rewrite {{ .pattern = `^/round/(.*)`  .to = "/round/" + $match_1 + "x" }} }}
        rule {{ rewrite {{ .pattern = `^/count/x*(\d)(\d*)$`  .to = "/count/x" + $match_2 }} }}
        rule {{ rewrite {{ .pattern = `^/same`  .to = "/same" }} }}
        {ECHO}"#
    );
    let server = site("", &rules);
    assert_eq!(server.get("/round/").status, 500);
    assert_eq!(server.get("/count/1234567890").text(), "/count/x /count/x  /count/1234567890");
    assert_eq!(server.get("/count/12345678901").status, 500);
    // What changes nothing is no round.
    assert_eq!(server.get("/same").text(), "/same /same  /same");
}

#[test]
fn no_path_leads_above_where_it_begins() {
    let rules = format!(
        r#"rule {{ rewrite {{ .pattern = `^/in(.*)$`  .to = "/a/b" + $match_1 }} rewrite {{ .pattern = `^/up(.*)$`  .to = "/files/" + $match_1 }} }} {ECHO}"#
    );
    let server = site("", &rules);
    for target in ["/up..", "/up../x", "/up%2e%2e/x", "/up.", "/up./x"] {
        assert_eq!(server.get(target).status, 400, "{target}");
    }
    for (target, path) in [("/in..", "/a/b.."), ("/in/x", "/a/b/x"), ("/up...", "/files/...")] {
        assert!(server.get(target).text().starts_with(path), "{target}");
    }
}

#[test]
fn what_grows_too_long_is_refused() {
    let times = ["$match_1"; 50].join(" + ");
    let server =
        site("", &format!(r#"rule {{ rewrite {{ .pattern = `^/(.*)`  .to = "/" + {times} }} }}"#));
    assert_eq!(server.get(&format!("/{}", "x".repeat(4000))).status, 400);
}

#[test]
fn files_are_found_by_the_new_path_and_the_log_has_the_old_one() {
    let dir = TempDir::new().unwrap();
    dir.write("new/a.txt", "found").unwrap();
    let (root, log) = (dir.path().display(), dir.path().join("log"));
    let logger = format!(r#"simpleLogger "l" {{ .target = "{}" }}"#, log.display());
    let rules = format!(
        r#".webRoot = "{root}"  .useLogger = "l"
        rule {{ rewrite {{ .pattern = `^/old/(.*)`  .to = "/new/" + $match_1 }} }}
        rule $path -f {{ static {{}} }}"#
    );
    let server = site(&logger, &rules);
    assert_eq!(server.get("/old/a.txt?q").text(), "found");
    server.quit();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("\"GET /old/a.txt?q HTTP/1.1\" 200"), "{log}");
}

#[test]
fn bad_properties_are_mistakes() {
    for (properties, message) in [
        (r#".pattern = `a`  .to = "b""#, "a path begins with `/`"),
        (r#".pattern = `a`  .to = "https://x/""#, "a path begins with `/`"),
        (r#".pattern = `(.)`  .to = $match_1"#, "a path begins with `/`"),
        (r#".pattern = `a`  .to = "/" + $queryString"#, "`$queryString` would not be the query"),
        (r#".pattern = `a`  .to = "/" + $match_1"#, "`$match_1` is no group"),
        (r#".pattern = `[`  .to = "/""#, "bad regular expression"),
        (r#".to = "/""#, "needs the property `.pattern`"),
    ] {
        let error = mistake("", &format!("rule {{ rewrite {{ {properties} }} }}"));
        assert!(error.contains(message), "{properties}: {error}");
    }
}
