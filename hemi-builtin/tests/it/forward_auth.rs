//! The handlet `forwardAuth`, and the client it asks with.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use hemi_test::{Reply, TempDir};

use crate::server::{Running, ask, mistake, site, site_on};
use crate::upstream::{Act, Upstream, answer};

/// Shows what the request is given.
const SHOWN: &str = r#"rule { .returnCode = 200
    .returnText = "<" + $remoteUser + "> <" + $header_x_user + "> <" + $header_x_role + ">" }"#;

fn guarded(properties: &str) -> Running {
    site_on(1, "", &rules(properties))
}

fn rules(properties: &str) -> String {
    format!("rule {{ forwardAuth {{ {properties} }} }} {SHOWN}")
}

fn by(upstream: &Upstream, properties: &str) -> String {
    format!(".url = \"http://{}/verify?a\"  {properties}", upstream.addr())
}

/// Serves an upstream that always does the same, and gives the answer to one request.
fn with_answer(act: impl Fn() -> Act + Send + 'static, properties: &str) -> Reply {
    let upstream = Upstream::start(move |_| act());
    guarded(&by(&upstream, properties)).get("/")
}

#[test]
fn the_other_server_is_told_what_the_request_is_about() {
    let (heads, upstream) = listening(|| answer("204 No Content", &[], ""));
    let server = guarded(&by(&upstream, ""));
    let lines = [
        "Authorization: Basic YTpi",
        "Cookie: a=b; c=d",
        "X-Forwarded-Method: DELETE",
        "X-Forwarded-For: 1.2.3.4",
        "X-Other: y",
        "Content-Length: 3",
    ];
    let mut client = server.connect();
    let target = "/public/../admin/%41%2f%20%22?q=%20x";
    let mut request = format!("POST {target} HTTP/1.1\r\nHost: Site.test:81\r\n");
    for line in lines {
        request += &format!("{line}\r\n");
    }
    client.send(request + "\r\nabc").unwrap();
    assert_eq!(client.read_response().unwrap().status, 200);
    let head = heads.lock().unwrap().pop().unwrap();
    let (first, mut fields) = head_of(&head);
    assert_eq!(first, "GET /verify?a HTTP/1.1");
    fields.sort_unstable();
    let host = format!("host: {}", upstream.addr());
    let mut expected = vec![
        "authorization: Basic YTpi",
        "cookie: a=b; c=d",
        &host,
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: site.test:81",
        "x-forwarded-method: POST",
        "x-forwarded-proto: http",
        "x-forwarded-uri: /admin/A%2F%20%22?q=%20x",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    // Of the client's fields those alone that are named.
    let server = guarded(&by(&upstream, r#".requestFields = ("x-other", "x-forwarded-for")"#));
    let mut client = server.connect();
    ask(&mut client, "GET", "/", &lines[..5]).unwrap();
    let head = heads.lock().unwrap().pop().unwrap();
    let (_, fields) = head_of(&head);
    assert!(fields.contains(&"x-other: y") && fields.contains(&"x-forwarded-for: 127.0.0.1"));
    assert!(!head.contains("authorization") && !head.contains("1.2.3.4"), "{head}");
}

fn head_of(head: &str) -> (&str, Vec<&str>) {
    let mut lines = head.trim_end().lines();
    (lines.next().unwrap(), lines.collect())
}

/// An upstream, and the heads of the requests that it gets.
fn listening(act: impl Fn() -> Act + Send + 'static) -> (Arc<Mutex<Vec<String>>>, Upstream) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = heads.clone();
    let upstream = Upstream::start(move |head| {
        noted.lock().unwrap().push(head.to_owned());
        act()
    });
    (heads, upstream)
}

#[test]
fn leave_is_given_with_fields_that_no_client_can_forge() {
    let fields = [r#"x-user: mia"#, "x-role: a", "x-role: b", "x-else: c"];
    let upstream = Upstream::start(move |_| answer("200 OK", &fields, "ignored"));
    let copies = r#".copyFields = ("x-user", "x-role")  .userField = "x-user""#;
    let server = guarded(&by(&upstream, copies));
    let mut client = server.connect();
    for _ in 0..3 {
        let reply = ask(&mut client, "GET", "/", &["x-user: eve", "x-role: root"]).unwrap();
        assert_eq!(reply.text(), "<mia> <mia> <a>");
    }
    // The same connection served them all.
    assert_eq!(upstream.connections(), 1);
    let upstream = Upstream::start(|_| answer("200 OK", &[], ""));
    let server = guarded(&by(&upstream, copies));
    assert_eq!(server.ask("GET", "/", &["x-user: eve", "x-role: root"]).text(), "<> <> <>");
}

#[test]
fn refusals_are_passed_to_the_client() {
    let reply = with_answer(
        || {
            let fields = [
                "location: https://login.test/?a",
                "set-cookie: a=b",
                "set-cookie: c=d",
                "x-secret: e",
                "connection: close",
                "content-type: text/html",
            ];
            answer("302 Found", &fields, "<a>")
        },
        "",
    );
    assert_eq!((reply.status, reply.text().as_str()), (302, "<a>"));
    assert_eq!(reply.header("location"), Some("https://login.test/?a"));
    assert_eq!(reply.header_values("set-cookie").collect::<Vec<_>>(), ["a=b", "c=d"]);
    assert_eq!(reply.header("content-type"), Some("text/html"));
    assert_eq!(reply.header("x-secret"), None);
    for (status, code) in [("401 Unauthorized", 401), ("403 Forbidden", 403), ("500 Oops", 500)] {
        let reply =
            with_answer(move || answer(status, &["www-authenticate: Basic realm=\"x\""], ""), "");
        assert_eq!(reply.status, code);
        assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"x\""));
    }
}

#[test]
fn without_an_answer_requests_are_refused_or_let_through_as_the_config_says() {
    let raw = |text: &str| Act::AnswerAndClose(text.as_bytes().to_vec());
    type Made = fn() -> Act;
    let acts: [(&str, Made); 10] = [
        ("waits", || Act::Wait),
        ("closes", || Act::AnswerAndClose(Vec::new())),
        ("speaks something else", || Act::AnswerAndClose(b"SSH-2.0-x\r\n".to_vec())),
        ("sends half a head", || Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\nx: ".to_vec())),
        ("sends half of the content", || {
            Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec())
        }),
        ("announces two lengths", || {
            Act::Answer(
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 1\r\n\r\n".to_vec(),
            )
        }),
        ("sends too large a head", || {
            answer("200 OK", &[&format!("x: {}", "y".repeat(32 << 10))], "")
        }),
        ("sends too much", || answer("200 OK", &[], &"x".repeat(65537))),
        ("sends too much in chunks", || {
            let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(3);
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            Act::Answer((head.to_owned() + &chunk).into_bytes())
        }),
        ("switches", || {
            Act::Answer(b"HTTP/1.1 101 Ok\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_vec())
        }),
    ];
    let fields = r#".copyFields = ("x-user")"#;
    for (what, act) in acts {
        let upstream = Upstream::start(move |_| act());
        // What comes at once needs no longer; what never comes is given up soon.
        let timeout = if what == "waits" { "100ms" } else { "1m" };
        for (on_failure, status) in [("deny", 503), ("allow", 200)] {
            let properties =
                format!(".onFailure = \"{on_failure}\"  .timeout = {timeout}  {fields}");
            let server = guarded(&by(&upstream, &properties));
            let reply = server.ask("GET", "/", &["x-user: eve"]);
            assert_eq!(reply.status, status, "{what}");
            assert!(status == 503 || reply.text() == "<> <> <>", "{what}");
        }
    }
    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(guarded(&format!(".url = \"http://{closed}\"")).get("/").status, 503);
    let nowhere = ".url = \"http://no-such-host.invalid/\"";
    assert_eq!(guarded(nowhere).get("/").status, 503);
    // Answers that are whole, however they are framed.
    for text in [
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    ] {
        assert_eq!(with_answer(move || raw(text), "").status, 200, "{text}");
    }
    let exactly = || answer("401 Unauthorized", &[], &"x".repeat(65536));
    assert_eq!(with_answer(exactly, "").body.len(), 65536);
}

#[test]
fn connections_that_the_other_server_has_closed_are_replaced() {
    let upstream = Upstream::start(|_| answer("200 OK", &[], ""));
    let server = guarded(&by(&upstream, ""));
    let mut client = server.connect();
    for round in 1..=3 {
        for _ in 0..2 {
            assert_eq!(ask(&mut client, "GET", "/", &[]).unwrap().status, 200);
        }
        assert_eq!(upstream.connections(), round);
        upstream.close_connections();
    }
    // One that closes without an answer when it gets the second request.
    let mut requests = 0;
    let upstream = Upstream::start(move |_| {
        requests += 1;
        match requests % 2 {
            1 => answer("200 OK", &[], ""),
            _ => Act::AnswerAndClose(Vec::new()),
        }
    });
    let server = guarded(&by(&upstream, ""));
    let mut client = server.connect();
    for _ in 0..4 {
        assert_eq!(ask(&mut client, "GET", "/", &[]).unwrap().status, 200);
    }
    // Bytes that nobody has asked for are no answer to the next request.
    let upstream = Upstream::start(|_| {
        let early = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        Act::Answer(format!("HTTP/1.1 204 No Content\r\n\r\n{early}").into_bytes())
    });
    let server = guarded(&by(&upstream, ""));
    let mut client = server.connect();
    for _ in 0..4 {
        assert_eq!(ask(&mut client, "GET", "/", &[]).unwrap().status, 200);
    }
    // No connection is kept where none may be.
    let upstream = Upstream::start(|_| answer("200 OK", &[], ""));
    let server = guarded(&by(&upstream, ".keepConns = 0"));
    for _ in 0..3 {
        assert_eq!(server.get("/").status, 200);
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn leave_is_remembered_under_a_name() {
    let (heads, upstream) = listening(|| answer("200 OK", &["x-user: mia"], ""));
    let properties = r#".cacheKey = $header_authorization  .cacheFor = 1h
        .copyFields = ("x-user")  .userField = "x-user""#;
    let server = guarded(&by(&upstream, properties));
    let mut client = server.connect();
    let count = || heads.lock().unwrap().len();
    for (lines, asked) in [
        (&["Authorization: a"][..], 1),
        (&["Authorization: a", "x-user: eve"], 1),
        (&["Authorization: b"], 2),
        (&["Authorization: b"], 2),
        // What it is sent counts, though the name does not say so.
        (&["Authorization: b", "Cookie: a=b"], 3),
        (&["Authorization: b", "Cookie: a=b"], 3),
        // No name.
        (&[], 4),
        (&[], 5),
    ] {
        let reply = ask(&mut client, "GET", "/", lines).unwrap();
        assert_eq!((reply.text().as_str(), count()), ("<mia> <mia> <>", asked), "{lines:?}");
    }
    // No more than there is room for.
    for number in 0..9_999 {
        if number % 5_000 == 0 {
            client = server.connect();
        }
        ask(&mut client, "GET", "/", &[&format!("Authorization: {number}")]).unwrap();
    }
    for more in 1..=2 {
        ask(&mut client, "GET", "/", &["Authorization: c"]).unwrap();
        assert_eq!(count(), 10_004 + more);
    }
    // Refusals are not, nor what is to be remembered for no time.
    for (status, cache_for) in [("401 Unauthorized", "1h"), ("200 OK", "0s")] {
        let (heads, upstream) = listening(move || answer(status, &[], ""));
        let key = format!(".cacheKey = $header_authorization  .cacheFor = {cache_for}");
        let server = guarded(&by(&upstream, &key));
        for asked in 1..=2 {
            server.ask("GET", "/", &["Authorization: a"]);
            assert_eq!(heads.lock().unwrap().len(), asked, "{status}");
        }
    }
}

#[test]
fn it_may_be_behind_a_unix_socket() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("auth.sock");
    let _upstream = Upstream::start_unix(&path, |head| {
        match head.starts_with("GET /ok?a HTTP/1.1\r\nhost: localhost\r\n") {
            true => answer("200 OK", &[], ""),
            false => answer("403 Forbidden", &[], ""),
        }
    });
    for (target, status) in [(":/ok?a", 200), (":/", 403), ("", 403)] {
        let server = guarded(&format!(".url = \"unix:{}{target}\"", path.display()));
        for _ in 0..2 {
            assert_eq!(server.get("/").status, status, "{target}");
        }
    }
}

#[test]
fn bad_properties_are_mistakes() {
    for (properties, message) in [
        ("", "url"),
        (r#".url = "ftp://a.test/""#, "not a URL like"),
        (r#".url = "https://a.test/"  .tlsIdentity = "a.pem""#, "need each other"),
        (r#".url = "a.test""#, "not a URL like"),
        (r#".url = "http://a.test/"  .cacheKey = "all""#, "`.cacheKey` is the same for all"),
        (r#".url = "http://a.test/"  .copyFields = ("host")"#, "about the connection"),
    ] {
        let error = mistake("", &rules(properties));
        assert!(error.contains(message), "{properties}: {error}");
    }
    // A server that is not there yet is none.
    drop(site("", &rules(r#".url = "http://127.0.0.1:1/""#)));
}
