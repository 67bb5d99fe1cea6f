//! The handlets `redirect`, `hostnameChecker` and `httpsChecker`.

use hemi_test::Reply;

use crate::server::{Running, mistake, site};

fn redirect(properties: &str) -> Running {
    site("", &format!("rule {{ redirect {{ {properties} }} }}"))
}

fn place(reply: &Reply) -> (u16, Option<&str>) {
    (reply.status, reply.header("location"))
}

#[test]
fn templates_maps_and_patterns_say_where_to() {
    let server = site(
        "",
        r#"rule {
            redirect { .map = ["/old": "/new", "/a b": "https://x.test/#top"]  .status = 301 }
            redirect { .pattern = `^/item/(?<id>[^/]+)/(.*)$`  .to = "/shop/" + $match_2 + "?id=" + $match_id }
            redirect { .pattern = `^/bare/`  .to = "/b?"  .status = 307 }
            redirect { .pattern = `^/secure`  .to = "https://" + $hostname + ":8443" + $uri  .status = 308 }
            redirect { .pattern = `^/stay`  .to = "/s"  .keepQuery = false  .status = 303 }
        }"#,
    );
    for (target, status, location) in [
        ("/old", 301, "/new"),
        ("/old?a=b&c", 301, "/new?a=b&c"),
        ("/%6Fld", 301, "/new"),
        ("/a%20b?c", 301, "https://x.test/#top"),
        ("/item/7/a/b", 302, "/shop/a/b?id=7"),
        ("/item/7%26x=1/%C3%A9%3F%23?q", 302, "/shop/%C3%A9%3F%23?id=7%26x%3D1"),
        ("/item/a%2fb/%5C", 302, "/shop/%5C?id=a%2Fb"),
        ("/bare/?a=b", 307, "/b"),
        ("/secure//x/../y?a=%0D%0A", 308, "https://site.test:8443/secure//x/../y?a=%0D%0A"),
        ("/stay?a", 303, "/s"),
    ] {
        assert_eq!(place(&server.get(target)), (status, Some(location)), "{target}");
    }
    assert_eq!(server.get("/older").status, 404);
    assert_eq!(place(&server.ask("HEAD", "/old", &[])), (301, Some("/new")));
}

#[test]
fn no_part_of_a_request_names_the_host_or_ends_the_line() {
    for (to, target, location) in [
        (r#""/" + $query_to"#, "/?to=/evil.test", "/evil.test?to=/evil.test"),
        (r#""/" + $query_to"#, "/?to=//evil.test", "/evil.test?to=//evil.test"),
        (r#""/" + $query_to"#, "/?to=%5Cevil.test", "/%5Cevil.test?to=%5Cevil.test"),
        ("$query_to", "/?to=https://evil.test", "https%3A//evil.test?to=https://evil.test"),
        ("$query_to", "/?to=%09//evil.test", "%09//evil.test?to=%09//evil.test"),
        ("$query_to", "/?to=//evil.test", "/evil.test?to=//evil.test"),
        ("$uri", "//evil.test/%2e%2e", "/evil.test/%2e%2e"),
        ("$path", "//evil.test", "/evil.test"),
        (r#""/?" + $queryString"#, "/?https:///evil.test", "/?https:///evil.test"),
        (r#""/login?back=" + $uri"#, "/a?b=http:///", "/login?back=/a?b=http:///"),
        (r#""/?a=" + $query_to"#, "/?to=%0d%0aSet-Cookie:%20x", "/?a=%0D%0ASet-Cookie%3A%20x"),
        (r#""/?a=" + $header_x"#, "/", "/?a=%0D1%26b%3D%23"),
        (
            r#""https://x.test/" + $query_to"#,
            "/?to=@evil.test",
            "https://x.test/%40evil.test?to=@evil.test",
        ),
    ] {
        let server = redirect(&format!(".to = {to}"));
        let reply = match to.contains("$header") {
            // A field's value has no line end; here it has what comes closest.
            true => server.ask("GET", target, &["X: %0D1&b=#"]),
            false => server.get(target),
        };
        let location = location.replace("%0D1", "%250D1");
        assert_eq!(place(&reply), (302, Some(&*location)), "{to} {target}");
        assert_eq!(reply.header("set-cookie"), None);
    }
    // Who asks for no host is sent to none.
    let server = redirect(r#".to = "https://" + $hostname + $uri"#);
    let mut client = server.connect();
    client.send("GET //evil.test HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(place(&client.read_response().unwrap()), (400, None));
}

#[test]
fn templates_that_would_let_a_request_name_the_host_are_mistakes() {
    for (properties, message) in [
        ("", "`redirect` leads nowhere"),
        (r#".to = "/a"  .status = 304"#, "304 is not a status of a redirection"),
        (r#".to = "//" + $hostname"#, "`//` would begin the name of a host"),
        (r#".to = "/" + $path"#, "`//` would begin the name of a host"),
        (r#".to = "https://" + $path"#, "this names no host"),
        (r#".to = "https://" + $query_host + "/""#, "a variable would be part of the host"),
        (r#".to = "https://x.test" + $query_a"#, "a variable would be part of the host"),
        (r#".to = $query_scheme + "://x.test/""#, "a variable would be part of the host"),
        (r#".to = "/a b""#, "cannot stand in a URI"),
        (r#".to = "/é""#, "cannot stand in a URI"),
        (r#".to = "/a\r\nb""#, "cannot stand in a URI"),
        (r#".to = "https:" + $path"#, "this names no host"),
        (r#".to = $queryString"#, "`$queryString` would not be the query"),
        (r#".to = "/a" + $queryString"#, "`$queryString` would not be the query"),
        (r#".to = "/" + $match_1"#, "`$match_1` is no group"),
        (r#".pattern = `^/(.)`  .to = "/" + $match_2"#, "`$match_2` is no group"),
        (r#".pattern = `^/(?<a>.)`  .to = "/" + $match_b"#, "`$match_b` is no group"),
        (r#".pattern = `^/(`  .to = "/""#, "bad regular expression: unclosed group"),
        (r#".pattern = `^(a{1000}){1000}`  .to = "/""#, "bad regular expression: Compiled regex"),
        (r#".map = ["/a": "/" + $match_1]"#, "`$match_1` is no group"),
    ] {
        let error = mistake("", &format!("rule {{ redirect {{ {properties} }} }}"));
        assert!(error.contains(message), "{properties}: {error}");
    }
}

#[test]
fn a_site_is_asked_for_by_one_name() {
    let rules = |permanent| {
        format!(
            r#"rule {{ hostnameChecker {{ .hostname = "Site.test"  .permanent = {permanent} }} }}
            rule {{ .returnCode = 200  .returnText = "here" }}"#
        )
    };
    for (permanent, statuses) in [(false, [302, 307]), (true, [301, 308])] {
        let server = site("", &rules(permanent));
        for (method, status) in [("GET", statuses[0]), ("POST", statuses[1])] {
            for host in ["other.test:81", "www.site.test:81", "site.test.:81"] {
                let mut client = server.connect();
                let target = "//a?b=%0A";
                client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
                let reply = client.read_response().unwrap();
                assert_eq!(place(&reply), (status, Some("http://site.test:81//a?b=%0A")));
            }
        }
        assert_eq!(server.get("/").text(), "here");
    }
    for hostname in ["", "site.test:80", "https://site.test", "a b"] {
        let error = mistake("", &rules(false).replace("Site.test", hostname));
        assert!(error.contains("is not a host"), "{hostname}: {error}");
    }
}

#[test]
fn a_site_is_asked_for_over_tls() {
    for (properties, location) in [
        ("", "https://site.test/a?b"),
        (r#".authority = "other.test:8443""#, "https://other.test:8443/a?b"),
        (".port = 8443", "https://site.test:8443/a?b"),
    ] {
        let server = site("", &format!("rule {{ httpsChecker {{ {properties} }} }}"));
        let mut client = server.connect();
        client.send("GET /a?b HTTP/1.1\r\nHost: site.test:3080\r\n\r\n").unwrap();
        assert_eq!(place(&client.read_response().unwrap()), (302, Some(location)));
    }
    let error = mistake("", r#"rule { httpsChecker { .authority = "a.test"  .port = 8443 } }"#);
    assert!(error.contains("`.port` has another"), "{error}");
    let server = site("", "rule { httpsChecker { .permanent = true } }");
    assert_eq!(place(&server.ask("PUT", "/", &[])), (308, Some("https://site.test/")));
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().status, 400);
}
