//! The handlet `httpProxy` and the backend `http1Backend`: what servers that can't be trusted do to them.

mod nodes;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hemi_test::eventually;

use crate::server::{Running, ask, load, mistake, site, site_on};
use crate::upstream::{Act, Upstream, answer};

/// Passes all requests on to nodes at these addresses.
fn proxy_to(nodes: &[SocketAddr], backend: &str, proxy: &str) -> Running {
    let nodes: String = nodes.iter().map(|n| format!("node {{ .address = \"{n}\" }}\n")).collect();
    let backend = format!("http1Backend \"b\" {{ .balancer = \"roundRobin\" {backend} {nodes} }}");
    site_on(1, &backend, &format!("rule {{ httpProxy {{ .toBackend = \"b\" {proxy} }} }}"))
}

fn proxy(upstream: &Upstream) -> Running {
    proxy_to(&[upstream.addr()], "", "")
}

/// An upstream that always does the same, and the heads that it gets.
fn listening(act: impl Fn() -> Act + Send + 'static) -> (Arc<Mutex<Vec<String>>>, Upstream) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = heads.clone();
    let upstream = Upstream::start(move |head| {
        noted.lock().unwrap().push(in_lower_case(head));
        act()
    });
    (heads, upstream)
}

/// A head with the names of its fields in lower case.
fn in_lower_case(head: &str) -> String {
    let lower = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\r\n", name.to_ascii_lowercase()),
        None => format!("{line}\r\n"),
    };
    head.lines().map(lower).collect()
}

/// An address at which nobody listens.
fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_request_is_written_anew() {
    let (heads, upstream) = listening(|| answer("200 OK", &[], ""));
    let edits = r#".setRequestHeaders = ["x-set": "new " + $method]  .addRequestHeaders = ["x-add": "b"]
        .removeRequestHeaders = ("x-removed")"#;
    let server = proxy_to(&[upstream.addr()], "", edits);
    let lines = [
        "Connection: x-nominated, Authorization, close",
        "Keep-Alive: 5",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "X-Nominated: 1",
        "Authorization: Basic YTpi",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 1.2.3.4",
        "Forwarded: for=1.2.3.4",
        "Via: 1.0 other",
        "X-Set: old",
        "X-Removed: x",
        "X-Add: a",
        "X_Forwarded_For: 6.6.6.6",
        "X_Set: spoofed",
        "X_Other: kept",
    ];
    let mut client = server.connect();
    let target = "/a%20b/%2e%2e/c%20/%2f?d=%00&e";
    assert_eq!(ask(&mut client, "GET", target, &lines).unwrap().status, 200);
    let head = heads.lock().unwrap().pop().unwrap();
    let mut fields: Vec<_> = head.trim_end().lines().collect();
    assert_eq!(fields.remove(0), "GET /c%20/%2F?d=%00&e HTTP/1.1");
    fields.sort_unstable();
    let expected = [
        "authorization: Basic YTpi",
        "host: site.test",
        "via: 1.0 other, 1.1 hemi",
        "x-add: a",
        "x-add: b",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: site.test",
        "x-forwarded-proto: http",
        "x-set: new GET",
        "x_other: kept",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn a_trusted_proxy_tells_of_its_clients() {
    let (heads, upstream) = listening(|| answer("200 OK", &[], ""));
    let trusting = r#".trustedProxies = ("127.0.0.0/8")  .host = "node""#;
    let server = proxy_to(&[upstream.addr()], "", trusting);
    let lines = ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Real-IP: 1.2.3.4"];
    server.ask("GET", "/", &lines);
    let head = heads.lock().unwrap().pop().unwrap();
    for field in [
        "x-forwarded-for: 1.2.3.4, 127.0.0.1\r\n",
        "x-forwarded-proto: https\r\n",
        "x-real-ip: 1.2.3.4\r\n",
        &format!("host: {}\r\n", upstream.addr()),
    ] {
        assert!(head.contains(field), "{field} is not in {head}");
    }
}

#[test]
fn an_answer_is_written_anew() {
    let upstream = Upstream::start(|_| {
        let fields = [
            "connection: x-nominated, content-type",
            "x-nominated: 1",
            "keep-alive: timeout=5",
            "proxy-connection: x",
            "upgrade: h2c",
            "content-type: text/css",
            "alt-svc: h3=\":443\"",
            "set-cookie: a=b",
            "set-cookie: c=d",
            "x-powered-by: x",
            "server: other",
        ];
        answer("404 Whatever", &fields, "none")
    });
    let server = proxy_to(&[upstream.addr()], "", r#".removeResponseHeaders = ("x-powered-by")"#);
    let reply = server.get("/");
    assert_eq!((reply.status, reply.text().as_str()), (404, "none"));
    for name in
        ["x-nominated", "keep-alive", "proxy-connection", "upgrade", "alt-svc", "x-powered-by"]
    {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("content-type"), Some("text/css"));
    assert_eq!(reply.header("server"), Some("other"));
    assert_eq!(reply.header_values("set-cookie").collect::<Vec<_>>(), ["a=b", "c=d"]);
}

#[test]
fn contents_flow_both_ways_however_they_are_framed() {
    let origin = site("", ".maxBodySize = 64M  rule { mirror {} }");
    let server = {
        let backend =
            format!("http1Backend \"b\" {{ node {{ .address = \"{}\" }} }}", origin.addr());
        site(&backend, ".maxBodySize = 64M  rule { httpProxy { .toBackend = \"b\" } }")
    };
    let mut client = server.connect();
    for len in [0, 1, 100, 70_000, 3_000_000] {
        let content: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
        let head = format!("POST /{len} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
        client.send(head).unwrap();
        client.send(&content).unwrap();
        assert_eq!(client.read_response().unwrap().body, content, "{len}");
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for piece in content.chunks(40_000) {
            client.send(format!("{:x}\r\n", piece.len())).unwrap();
            client.send(piece).unwrap();
            client.send("\r\n").unwrap();
        }
        client.send("0\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().body, content, "{len} in chunks");
    }
}

/// What is long passes through the kernel alone.
#[test]
fn long_answers_arrive_whole_and_nothing_more() {
    const LEN: usize = 5_000_000;
    let content: Vec<u8> = (0..LEN as u32).map(|n| (n % 251) as u8).collect();
    let sent = content.clone();
    let upstream = Upstream::start(move |head| {
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {LEN}\r\n\r\n").into_bytes();
        answer.extend_from_slice(&sent);
        if head.contains("/more") {
            answer.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        } else if head.contains("/less") {
            answer.truncate(3_000_000);
            return Act::AnswerAndClose(answer);
        }
        Act::Answer(answer)
    });
    let server = proxy(&upstream);
    let mut client = server.connect();
    for path in ["/", "/", "/more", "/", "/more", "/"] {
        assert!(ask(&mut client, "GET", path, &[]).unwrap().body == content, "{path}");
    }
    // One on which something is left is not used again.
    assert!(upstream.connections() >= 3);
    assert!(ask(&mut client, "GET", "/less", &[]).is_err());
    // Who reads slowly gets it all the same.
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut received = Vec::new();
    while received.len() < 2_000_000 {
        received.extend(client.read_exact(1000).unwrap());
    }
    received.extend(client.read_to_end().unwrap());
    assert!(received.ends_with(&content));
}

#[test]
fn answers_without_content_have_none() {
    let upstream = Upstream::start(|head| match head.starts_with("HEAD") {
        true if head.contains("/chunked ") => {
            Act::Answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())
        }
        true if head.contains("/unsaid ") => Act::Answer(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        true => Act::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_vec()),
        false => Act::Answer(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n".to_vec()),
    });
    let server = proxy(&upstream);
    let mut client = server.connect();
    for _ in 0..2 {
        let reply = ask(&mut client, "HEAD", "/", &[]).unwrap();
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("5")));
        assert_eq!(ask(&mut client, "GET", "/", &[]).unwrap().status, 304);
        // Who is not told how long it would be says nothing of that (RFC 9110, 8.6).
        for path in ["/chunked", "/unsaid"] {
            let reply = ask(&mut client, "HEAD", path, &[]).unwrap();
            assert_eq!((reply.status, reply.header("content-length")), (200, None), "{path}");
        }
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn what_is_no_answer_is_a_502() {
    for bytes in [
        "",
        "SSH-2.0-x\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: ",
        "HTTP/1.1 200 OK\r\nx: a\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        &"HTTP/1.1 100 Continue\r\n\r\n".repeat(100),
        &format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70 << 10)),
        &format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(2000)),
    ] {
        let bytes = bytes.to_owned();
        let shown: String = bytes.chars().take(60).collect();
        let upstream = Upstream::start(move |_| Act::AnswerAndClose(bytes.clone().into_bytes()));
        assert_eq!(proxy(&upstream).ask("POST", "/", &[]).status, 502, "{shown:?}");
    }
    assert_eq!(proxy_to(&[nowhere()], "", "").get("/").status, 502);
}

#[test]
fn an_answer_that_came_whole_is_passed_on_with_its_length() {
    for (chunks, content, whole) in [
        ("3\r\nabc\r\n0\r\n\r\n", "abc", true),
        ("3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", "abcdefg", true),
        ("3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n", "abc", false),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        let upstream = Upstream::start(move |_| Act::Answer(answer.clone().into_bytes()));
        let server = proxy(&upstream);
        let mut client = server.connect();
        // The connection to the node is kept: nothing of the answer is left on it.
        for _ in 0..3 {
            let reply = ask(&mut client, "GET", "/", &[]).unwrap();
            assert_eq!(reply.text(), content);
            let length = reply.header("content-length").map(str::to_owned);
            assert_eq!(length, whole.then(|| content.len().to_string()), "{chunks:?}");
        }
        assert_eq!(upstream.connections(), 1, "{chunks:?}");
    }
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n",
    ] {
        let sent = bytes.as_bytes().to_vec();
        let upstream = Upstream::start(move |_| Act::AnswerAndClose(sent.clone()));
        let server = proxy(&upstream);
        let mut client = server.connect();
        let read = ask(&mut client, "GET", "/", &[]);
        assert!(read.is_err(), "{bytes:?}: {read:?}");
    }
    // What has its end where the connection has is whole.
    let bytes = b"HTTP/1.0 200 OK\r\n\r\nabc";
    let upstream = Upstream::start(move |_| Act::AnswerAndClose(bytes.to_vec()));
    assert_eq!(proxy(&upstream).get("/").text(), "abc");
}

#[test]
fn who_does_not_answer_in_time_is_a_504() {
    let upstream = Upstream::start(|_| Act::Wait);
    let server = proxy_to(&[upstream.addr()], ".answerTimeout = 200ms", "");
    assert_eq!(server.ask("POST", "/", &[]).status, 504);
    // One that stops within the content is cut off.
    let start = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
    let upstream = Upstream::start(move |_| Act::Answer(start.to_vec()));
    let server = proxy_to(&[upstream.addr()], ".readTimeout = 200ms", "");
    assert!(ask(&mut server.connect(), "GET", "/", &[]).is_err());
}

#[test]
fn bytes_after_an_answer_reach_nobody() {
    let upstream = Upstream::start(|_| {
        let extra = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
        Act::Answer(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{extra}").into_bytes())
    });
    let server = proxy(&upstream);
    let mut client = server.connect();
    for _ in 0..5 {
        assert_eq!(ask(&mut client, "GET", "/", &[]).unwrap().text(), "ok");
    }
    assert_eq!(upstream.connections(), 5);
}

#[test]
fn bytes_that_come_between_answers_reach_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            // The client has its answer, and the connection is idle.
            if wait.recv().is_err() {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison").unwrap();
            tell.send(()).unwrap();
        }
    });
    let server = proxy_to(&[addr], "", "");
    let mut client = server.connect();
    for _ in 0..5 {
        assert_eq!(ask(&mut client, "GET", "/", &[]).unwrap().text(), "ok");
        go_on.send(()).unwrap();
        told.recv().unwrap();
    }
}

#[test]
fn connections_are_kept_and_those_that_were_closed_replaced() {
    let upstream = Upstream::start(|_| answer("200 OK", &[], "x"));
    let server = proxy(&upstream);
    let mut client = server.connect();
    for round in 1..=3 {
        for _ in 0..3 {
            assert_eq!(ask(&mut client, "POST", "/", &[]).unwrap().status, 200);
        }
        assert_eq!(upstream.connections(), round);
        upstream.close_connections();
    }
    // Closed just when the request is sent: it is sent again, whatever it is.
    let mut requests = 0;
    let upstream = Upstream::start(move |_| {
        requests += 1;
        match requests % 2 {
            1 => answer("200 OK", &[], ""),
            _ => Act::AnswerAndClose(Vec::new()),
        }
    });
    let server = proxy(&upstream);
    let mut client = server.connect();
    for _ in 0..4 {
        assert_eq!(ask(&mut client, "POST", "/", &[]).unwrap().status, 200);
    }
}

#[test]
fn answers_are_changed_for_clients() {
    let upstream = Upstream::start(|_| {
        let fields = [
            "location: http://node.internal:7001/app/a?b=http://node.internal:7001/",
            "set-cookie: a=1; Domain=.Node.internal; path=/app/x; HttpOnly",
            "set-cookie: b=2; Path=/",
            "set-cookie: c=3; domain=other; Max-Age=5",
        ];
        answer("302 Found", &fields, "")
    });
    let edits = r#"
        .rewriteLocations = ["http://node.internal:7001/": "/", "http://node.internal:7001/app/": "/shop/"]
        .cookieDomains = ["node.internal": "shop.test", "other": ""]
        .cookiePaths = ["/app/": "/shop/"]"#;
    let reply = proxy_to(&[upstream.addr()], "", edits).get("/");
    assert_eq!(reply.header("location"), Some("/shop/a?b=http://node.internal:7001/"));
    let cookies: Vec<_> = reply.header_values("set-cookie").collect();
    let expected =
        ["a=1; Domain=shop.test; path=/shop/x; HttpOnly", "b=2; Path=/", "c=3; Max-Age=5"];
    assert_eq!(cookies, expected);
}

#[test]
fn pages_of_ours_replace_those_of_nodes() {
    let upstream = Upstream::start(|head| match head.contains("/secret") {
        true => answer("401 No", &["www-authenticate: Basic realm=x"], "secret of the node"),
        false => answer("500 Oh", &["x-trace: secret"], "secret of the node"),
    });
    let server = proxy_to(&[upstream.addr()], "", r#".intercept = ("401", "5xx")"#);
    for (path, status) in [("/", 500), ("/secret", 401)] {
        let reply = server.get(path);
        assert_eq!(reply.status, status);
        assert!(!reply.text().contains("secret") && reply.header("x-trace").is_none());
    }
    let challenge = server.get("/secret");
    assert_eq!(challenge.header("www-authenticate"), Some("Basic realm=x"));
}

#[test]
fn a_share_of_the_requests_goes_elsewhere() {
    let new = Upstream::start(|_| answer("200 OK", &[], "new"));
    let backend = format!("http1Backend \"b\" {{ node {{ .address = \"{}\" }} }}", new.addr());
    let share = |properties: &str| {
        let rule = format!("rule {{ httpProxy {{ .toBackend = \"b\" {properties} }} }}");
        site_on(
            1,
            &backend,
            &format!("{rule}  rule {{ .returnCode = 200  .returnText = \"old\" }}"),
        )
    };
    let server = share(".share = 30  .shareKey = $cookie_id");
    let ask = |id: u32| server.ask("GET", "/", &[&format!("cookie: id={id}")]).text();
    let first: Vec<_> = (0..200).map(ask).collect();
    let news = first.iter().filter(|text| *text == "new").count();
    assert!((30..90).contains(&news), "{news}");
    assert_eq!((0..200).map(ask).collect::<Vec<_>>(), first);
    assert_eq!(share(".share = 0").get("/").text(), "old");
    assert_eq!(share(".share = 100").get("/").text(), "new");
}

#[test]
fn contents_are_taken_whole_before_they_go_on() {
    let dir = hemi_test::TempDir::new().unwrap();
    let buffering = format!(
        ".bufferClientContent = true  .bufferServerContent = true  .bufferSize = 10K  .maxBuffered = 1M  .bufferDir = \"{}\"",
        dir.path().display()
    );
    let origin = site("", ".maxBodySize = 64M  rule { mirror {} }");
    let backend = format!("http1Backend \"b\" {{ node {{ .address = \"{}\" }} }}", origin.addr());
    let rule =
        format!(".maxBodySize = 64M  rule {{ httpProxy {{ .toBackend = \"b\" {buffering} }} }}");
    let server = site(&backend, &rule);
    let mut client = server.connect();
    // In memory, in a file, and more than is buffered.
    for len in [100, 10_000, 500_000, 3_000_000] {
        let content: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for piece in content.chunks(40_000) {
            client.send(format!("{:x}\r\n", piece.len())).unwrap();
            client.send(piece).unwrap();
            client.send("\r\n").unwrap();
        }
        client.send("0\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().body, content, "{len}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    // An answer that breaks off is none at all.
    let start = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
    let upstream = Upstream::start(move |_| Act::AnswerAndClose(start.into()));
    assert_eq!(proxy_to(&[upstream.addr()], "", &buffering).get("/").status, 502);
    // A node hears nothing of a request that does not come whole.
    let (heads, upstream) = listening(|| answer("200 OK", &[], ""));
    let server = proxy_to(&[upstream.addr()], "", &buffering);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").unwrap();
    client.finish().unwrap();
    client.read_to_end().unwrap();
    assert_eq!(heads.lock().unwrap().len(), 0);
}

#[test]
fn another_backend_gets_copies() {
    let (heads, shadow) = listening(|| answer("500 Oh", &[], "of no interest"));
    let main = Upstream::start(|_| answer("200 OK", &[], "main"));
    let stage = [("b", &main), ("shadow", &shadow)].map(|(name, node)| {
        format!("http1Backend \"{name}\" {{ node {{ .address = \"{}\" }} }}\n", node.addr())
    });
    let rule = "rule { httpProxy { .toBackend = \"b\"  .mirrorTo = \"shadow\"  .setRequestHeaders = [\"x-a\": \"b\"] } }";
    let server = site_on(1, &stage.concat(), rule);
    for method in ["GET", "POST", "DELETE"] {
        assert_eq!(server.ask(method, "/a?b", &["content-length: 0"]).text(), "main");
    }
    assert!(eventually(Duration::from_secs(10), || heads.lock().unwrap().len() == 3));
    let mut heads = heads.lock().unwrap().clone();
    heads.sort_unstable();
    assert!(heads[1].starts_with("GET /a?b HTTP/1.1\r\nhost: site.test\r\n"), "{heads:?}");
    assert!(heads.iter().all(|head| head.contains("x-a: b\r\n")), "{heads:?}");
}

#[test]
fn content_is_sent_at_a_rate() {
    let upstream = Upstream::start(|_| answer("200 OK", &[], &"x".repeat(30_000)));
    let server = proxy_to(&[upstream.addr()], "", ".maxRate = 100K");
    let began = hemi_core::clock::now();
    assert_eq!(server.get("/").body.len(), 30_000);
    // As fast as it may be; the last piece need not be waited for.
    assert!(hemi_core::clock::now().since(began) >= Duration::from_millis(100));
}

#[test]
fn a_connection_goes_on_in_another_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let origin = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n";
        stream.write_all(format!("{switch}early").as_bytes()).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        stream.write_all(&rest).unwrap();
        String::from_utf8(head).unwrap()
    });
    let server = proxy_to(&[addr], "", r#".upgrades = ("websocket", "echo")"#);
    let mut client = server.connect();
    let upgrade = ["connection: upgrade", "upgrade: h2c, echo"];
    let mut request = "GET /ws HTTP/1.1\r\nHost: a\r\n".to_owned();
    upgrade.iter().for_each(|line| request += &format!("{line}\r\n"));
    client.send(request + "\r\n").unwrap();
    let reply = client.read_response_to_head().unwrap();
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("echo")));
    assert_eq!(client.read_exact(5).unwrap(), b"early");
    client.send("to and fro").unwrap();
    client.finish().unwrap();
    assert_eq!(client.read_to_end().unwrap(), b"to and fro");
    let head = origin.join().unwrap();
    assert!(head.contains("upgrade: echo\r\nconnection: upgrade\r\n"), "{head}");
}

/// Behind an upgrade to HTTP/2 a client could ask a node for what no rule has seen.
#[test]
fn only_protocols_that_are_named_are_passed_on() {
    let (heads, upstream) = listening(|| answer("200 OK", &[], ""));
    let usual = proxy(&upstream);
    let none = proxy_to(&[upstream.addr()], "", ".upgrades = ()");
    for (server, protocol, passes) in [
        (&usual, "h2c", None),
        (&usual, "echo", None),
        (&usual, "H2C, WebSocket", Some("upgrade: WebSocket\r\nconnection: upgrade\r\n")),
        (&none, "websocket", None),
    ] {
        let upgrade = format!("Upgrade: {protocol}");
        let lines = ["Connection: Upgrade, HTTP2-Settings", &upgrade, "HTTP2-Settings: AAMAAABk"];
        assert_eq!(server.ask("GET", "/", &lines).status, 200, "{protocol}");
        assert_eq!(server.ask("GET", "/", &["HTTP2-Settings: AAMAAABk"]).status, 200);
        for head in heads.lock().unwrap().drain(..) {
            assert!(!head.contains("http2-settings") && !head.contains("h2c"), "{head}");
        }
        server.ask("GET", "/", &lines);
        let head = heads.lock().unwrap().pop().unwrap();
        match passes {
            Some(lines) => assert!(head.contains(lines), "{head}"),
            None => assert!(!head.contains("upgrade:"), "{head}"),
        }
    }
}

#[test]
fn nodes_are_asked_for_the_host_that_is_named() {
    let (heads, upstream) = listening(|| answer("200 OK", &[], ""));
    let asked = |host: &str, lines: &[&str]| {
        let server = proxy_to(&[upstream.addr()], "", &format!(".host = {host}"));
        let status = server.ask("GET", "/", lines).status;
        let host = |head: String| head.split("host: ").nth(1)?.lines().next().map(str::to_owned);
        (status, heads.lock().unwrap().pop().and_then(host))
    };
    let to = |host: &str| (200, Some(host.to_owned()));
    assert_eq!(asked("\"client\"", &[]), to("site.test"));
    assert_eq!(asked("\"node\"", &[]), to(&upstream.addr().to_string()));
    assert_eq!(asked("\"app.internal:81\"", &[]), to("app.internal:81"));
    let by_tenant = "$header_x_tenant + \".internal\"";
    assert_eq!(asked(by_tenant, &["X-Tenant: A"]), to("a.internal"));
    for tenant in ["a b", "a@b", "a/b", "a:b"] {
        assert_eq!(asked(by_tenant, &[&format!("X-Tenant: {tenant}")]), (400, None), "{tenant}");
    }
    assert_eq!(asked("$header_x_tenant", &[]), (400, None));
}

#[test]
fn the_example_does_what_is_said_of_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/examples/reverse-proxy.conf");
    let mut config = std::fs::read_to_string(path).unwrap().replace(":3080", "127.0.0.1:0");
    let busy = Arc::new(AtomicBool::new(false));
    let node = |name: &'static str| {
        let busy = busy.clone();
        Upstream::start(move |_| match busy.load(Ordering::Relaxed) && name == "one" {
            true => answer("503 Busy", &[], ""),
            false => answer("200 OK", &["server: x", "x-powered-by: y"], name),
        })
    };
    let (one, two, backup) = (node("one"), node("two"), node("backup"));
    for (address, node) in [("8001", &one), ("8002", &two), ("8009", &backup)] {
        config = config.replace(&format!("127.0.0.1:{address}"), &node.addr().to_string());
    }
    let server = load(1, &config).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(server.get("/health").status, 200);
    let names = || {
        let mut names: Vec<_> = (0..40).map(|_| server.get("/").text()).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    assert_eq!(names(), ["one", "two"]);
    let reply = server.get("/");
    assert!(reply.header("x-powered-by").is_none() && reply.header("server") != Some("x"));
    busy.store(true, Ordering::Relaxed);
    assert_eq!(names(), ["two"]);
    drop(one);
    assert_eq!(names(), ["two"]);
    drop(two);
    assert!(eventually(Duration::from_secs(20), || server.get("/").text() == "backup"));
}

#[test]
fn mistakes_are_told() {
    for (stage, webapp, message) in [
        ("http1Backend \"b\" {}", "rule { httpProxy { .toBackend = \"b\" } }", "needs nodes"),
        ("", "rule { httpProxy { .toBackend = \"b\" } }", "no httpBackend is named \"b\""),
        ("", "rule { httpProxy { .toBackend = \"b\"  .host = \"a b\" } }", "\"a b\" is no host"),
        (
            "",
            "rule { httpProxy { .toBackend = \"b\"  .setRequestHeaders = [\"host\": \"a\"] } }",
            "`.host` of `httpProxy` says",
        ),
        (
            "",
            "rule { httpProxy { .toBackend = \"b\"  .upgrades = (\"H2C\") } }",
            "no client may go on in HTTP/2",
        ),
        (
            "http1Backend \"b\" { node { .address = \"x\" } }",
            "rule { httpProxy { .toBackend = \"b\" } }",
            "is not where a node can be",
        ),
        (
            "http1Backend \"b\" { node { .address = \"x:1\"  .weight = 0 } }",
            "rule { httpProxy { .toBackend = \"b\" } }",
            "0 is not a weight",
        ),
        (
            "http1Backend \"b\" { node { .address = \"x:1\" } }",
            "rule {}",
            "nothing uses the httpBackend",
        ),
    ] {
        let told = mistake(stage, webapp);
        assert!(told.contains(message), "{told}");
    }
}
