//! The backend `http2Backend`: requests on to servers that speak HTTP/2, and WebSockets between all versions.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hemi_core::metrics::{Exposition, Measures};
use hemi_test::peer::modules;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{Program, eventually};

use hemi_web::CloseCode;
use hemi_web::testing::TestSocket;
use tokio::sync::mpsc;

use crate::server::{Running, ask, load, site_on};
use crate::upstream::{Act, Upstream, answer};

/// An origin of ours that speaks HTTP/2 in the clear, too.
fn origin(properties: &str, rules: &str) -> Running {
    let config = format!(
        r#"stage {{
            webapp "origin" {{ .hostnames = ("*")  .maxBodySize = 64M  {rules} }}
            httpxServer "main" {{
                .address = "127.0.0.1:0"  .webapps = ("origin")  .h2cPriorKnowledge = true  {properties}
            }}
        }}"#
    );
    load(1, &config).unwrap_or_else(|e| panic!("{e}"))
}

fn backend(kind: &str, node: SocketAddr, properties: &str) -> String {
    format!("{kind} \"b\" {{ node {{ .address = \"{node}\" }} {properties} }}")
}

/// Passes all on to a backend of this kind.
fn proxy(kind: &str, node: SocketAddr, properties: &str) -> Running {
    let config = format!(
        r#"stage {{
            {}
            webapp "site" {{
                .hostnames = ("*")  .maxBodySize = 64M
                rule {{ httpProxy {{ .toBackend = "b" }} }}
            }}
            httpxServer "main" {{
                .address = "127.0.0.1:0"  .webapps = ("site")  .h2cPriorKnowledge = true
            }}
        }}"#,
        backend(kind, node, properties)
    );
    load(1, &config).unwrap_or_else(|e| panic!("{e}"))
}

/// Connections that a server has now.
fn connections(server: &Running) -> usize {
    measured(server, "hemi_server_conns_active")
}

/// A number that a stage tells of its only server.
pub(crate) fn measured(server: &Running, name: &str) -> usize {
    let text = Measures::of(server.stage()).write(Exposition::Prometheus);
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// Contents of all sizes go to a mirror and back, one after the other and many at once.
pub(crate) fn contents_of_all_sizes_pass(server: &Running) {
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
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").unwrap();
    }
    for client in &mut clients {
        client.send("cde").unwrap();
        assert_eq!(client.read_response().unwrap().text(), "abcde");
    }
}

#[test]
fn requests_share_a_connection() {
    let origin = origin("", "rule { mirror {} }");
    let server = proxy("http2Backend", origin.addr(), "");
    contents_of_all_sizes_pass(&server);
    assert_eq!(connections(&origin), 1);
}

#[test]
fn a_head_says_the_same_in_another_version() {
    let rules = r#"rule { .returnCode = 200
        .returnText = $method + " " + $uri + " " + $authority + " " + $header_x_a + " " + $header_te }"#;
    let origin = origin("", rules);
    let server = proxy("http2Backend", origin.addr(), "");
    let text = |method: &str, lines: &[&str]| server.ask(method, "/a%20b?c=d", lines).text();
    assert_eq!(text("GET", &["X-A: 1", "TE: trailers"]), "GET /a%20b?c=d site.test 1 trailers");
    assert_eq!(text("PURGE", &["Connection: x-a", "X-A: 1"]), "PURGE /a%20b?c=d site.test  ");
    let head = server.ask("HEAD", "/", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("content-length").is_some());
}

#[test]
fn over_tls_nodes_have_to_agree() {
    let ca = Authority::new("ca");
    let identity = ca.server(&["localhost"], KeyKind::Ecdsa);
    let origin = |properties: &str| {
        let config = format!(
            r#"stage {{
                webapp "origin" {{ .hostnames = ("*")  {}  rule {{ .returnCode = 200  .returnText = "by TLS" }} }}
                httpxServer "main" {{
                    .address = "127.0.0.1:0"  .webapps = ("origin")  .tlsMode = true  {properties}
                }}
            }}"#,
            identity.properties()
        );
        load(1, &config).unwrap_or_else(|e| panic!("{e}"))
    };
    let trusting = format!(
        ".tlsMode = true  .tlsPeerName = \"localhost\"  .tlsTrustedCa = \"{}\"",
        ca.certificate().display()
    );
    let speaks = origin("");
    assert_eq!(proxy("http2Backend", speaks.addr(), &trusting).get("/").text(), "by TLS");
    let refuses = origin(".http2 = false");
    assert_eq!(proxy("http2Backend", refuses.addr(), &trusting).get("/").status, 502);
}

#[test]
fn who_speaks_no_http2_is_a_502() {
    let origin = site_on(1, "", "rule { .returnCode = 200 }");
    let server = proxy("http2Backend", origin.addr(), ".connectTimeout = 1s");
    assert!((502..=504).contains(&server.get("/").status));
}

#[test]
fn connections_end_with_their_stage() {
    let origin = origin("", "rule { .returnCode = 200 }");
    let server = proxy("http2Backend", origin.addr(), "");
    assert_eq!(server.get("/").status, 200);
    assert_eq!(connections(&origin), 1);
    server.quit();
    assert!(eventually(Duration::from_secs(10), || connections(&origin) == 0));
}

#[test]
fn a_node_may_take_leave_between_requests() {
    let origin = origin(".maxRequestsPerConn = 3", "rule { .returnCode = 200 }");
    let server = proxy("http2Backend", origin.addr(), "");
    let mut client = server.connect();
    for n in 0..20 {
        assert_eq!(
            ask(&mut client, "POST", "/", &["content-length: 0"]).unwrap().status,
            200,
            "{n}"
        );
    }
}

#[tokio::test]
async fn a_websocket_goes_through_proxies_of_all_versions() {
    let origin = origin("", "rule $path == \"/echo\" { echo {} }");
    // HTTP/1.1 to HTTP/1.1; then an extended CONNECT to a server that makes a key of its own for its node.
    let inner = proxy("http1Backend", origin.addr(), "");
    let outer = proxy("http2Backend", inner.addr(), "");
    for (name, server) in [("inner", &inner), ("outer", &outer)] {
        let mut socket = TestSocket::connect(server.addr(), "/echo").await.unwrap();
        for text in ["a".to_owned(), "b".repeat(100_000)] {
            socket.send(text.clone()).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(text.into()));
        }
        socket.close(CloseCode::NORMAL).await.unwrap();
        assert!(socket.closed().await.unwrap().is_some());
        assert!(socket.ended().await.is_ok(), "{name}");
        let refused = TestSocket::connect(server.addr(), "/other").await.unwrap_err();
        assert_eq!(refused.to_string(), "answered 404 Not Found");
    }
    let no_http2 = proxy("http2Backend", origin.addr(), "");
    let upgrade = ["connection: upgrade", "upgrade: x"];
    assert_ne!(no_http2.ask("GET", "/echo", &upgrade).status, 501);
    let rule = r#"rule { httpProxy { .toBackend = "b"  .upgrades = ("x") } }"#;
    let no_http2 = site_on(1, &backend("http2Backend", origin.addr(), ""), rule);
    assert_eq!(no_http2.ask("GET", "/echo", &upgrade).status, 501);
    // Another protocol than are named, which HTTP/2 asks for by a method of its own.
    let (stream, connection) = {
        let stream = tokio::net::TcpStream::connect(outer.addr()).await.unwrap();
        h2::client::handshake(stream).await.unwrap()
    };
    tokio::spawn(connection);
    let mut client = stream.ready().await.unwrap();
    let mut head = http::Request::connect("http://site.test/echo").body(()).unwrap();
    head.extensions_mut().insert(h2::ext::Protocol::from_static("x"));
    let (answer, _stream) = client.send_request(head, false).unwrap();
    assert_eq!(answer.await.unwrap().status(), 501);
}

/// What HTTP/2 lets a client say, and HTTP/1.1 would read in two ways, reaches no node.
#[tokio::test]
async fn what_came_by_http2_is_one_thing_in_http1() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = heads.clone();
    let origin = Upstream::start(move |head| {
        noted.lock().unwrap().push(head.to_owned());
        // Who waits for content that never comes has not been asked anything.
        match head.ends_with("content-length: 2\r\n\r\n") {
            true => answer("200 OK", &[], "ok"),
            false => Act::Wait,
        }
    });
    let server = proxy("http1Backend", origin.addr(), "");
    let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut ask = async |fields: &[(&str, &str)], content: Option<&'static str>| {
        let mut request = http::Request::post("http://site.test/a");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let (answer, mut stream) = client.send_request(request, content.is_none()).unwrap();
        if let Some(content) = content {
            stream.send_data(content.into(), true).unwrap();
        }
        answer.await.map(|answer| answer.status().as_u16())
    };
    let refused = |answer: Result<u16, h2::Error>| match answer {
        Ok(status) => assert!(status == 400 || status == 502, "{status}"),
        Err(e) => assert!(e.is_reset() && e.is_remote(), "{e}"),
    };
    for fields in [
        &[("host", "other.test")][..],
        &[("content-length", "3")],
        &[("content-length", "+3")],
        &[("content_length", "3")],
        &[("transfer_encoding", "chunked")],
    ] {
        refused(ask(fields, None).await);
    }
    assert_eq!(heads.lock().unwrap().len(), 0);
    // Content that is not as long as was said: what the node has of it is no whole request.
    refused(ask(&[("content-length", "10")], Some("abc")).await);
    refused(
        ask(&[("content-length", "3")], Some("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")).await,
    );
    assert_eq!(ask(&[("content-length", "2")], Some("ab")).await.unwrap(), 200);
    let heads = heads.lock().unwrap();
    assert!(heads.iter().all(|head| head.starts_with("POST /a HTTP/1.1\r\n")), "{heads:?}");
    assert!(heads.last().unwrap().ends_with("content-length: 2\r\n\r\n"), "{heads:?}");
}

/// A node that sends as much of 400 answers as there is room for, though nobody takes it, and another one beside them.
#[tokio::test]
async fn answers_that_nobody_takes_hold_up_no_other() {
    const UNTAKEN: usize = 400;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = listener.local_addr().unwrap();
    let (full, mut told) = tokio::sync::mpsc::channel(UNTAKEN);
    let conns = Arc::new(AtomicUsize::new(0));
    let counted = conns.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve_all_there_is_room_for(stream, full.clone()));
        }
    });
    let server = proxy("http2Backend", node, ".maxStreamsPerConn = 1000  .pendingTimeout = 1m");
    let mut kept = Vec::new();
    for _ in 0..UNTAKEN / 100 {
        let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..100 {
            let mut client = client.clone().ready().await.unwrap();
            let request = http::Request::get("http://site.test/large").body(()).unwrap();
            kept.push(client.send_request(request, true).unwrap());
        }
    }
    for n in 0..UNTAKEN {
        let told = tokio::time::timeout(Duration::from_secs(60), told.recv()).await;
        told.unwrap_or_else(|_| panic!("only {n} have room")).unwrap();
    }
    let addr = server.addr();
    let small = tokio::task::spawn_blocking(move || {
        let mut client = hemi_test::raw::Client::connect(addr).unwrap();
        client.send("GET /small HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        client.read_response().unwrap().text()
    });
    assert_eq!(small.await.unwrap(), "x".repeat(1000));
    assert_eq!(conns.load(Ordering::Relaxed), 1);
    drop(kept);
}

/// Answers `/large` by as much as there is room for, which it tells, and `/small` by a thousand bytes.
async fn serve_all_there_is_room_for(stream: tokio::net::TcpStream, full: mpsc::Sender<()>) {
    // What a proxy has room for.
    const ROOM: usize = 128 << 10;
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1000);
    let mut connection = builder.handshake::<_, bytes::Bytes>(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let large = request.uri().path() == "/large";
        let mut sending = respond.send_response(http::Response::new(()), false).unwrap();
        if !large {
            sending.send_data(vec![b'x'; 1000].into(), true).unwrap();
            continue;
        }
        let full = full.clone();
        tokio::spawn(async move {
            let mut left = ROOM;
            while left > 0 {
                sending.reserve_capacity(left);
                match poll_fn(|cx| sending.poll_capacity(cx)).await {
                    Some(Ok(room)) => {
                        let part = room.min(left);
                        left -= part;
                        sending.send_data(vec![b'x'; part].into(), false).unwrap();
                    }
                    _ => return,
                }
            }
            full.send(()).await.unwrap();
            // The answer has no end until the proxy wants no more.
            let _ = poll_fn(|cx| sending.poll_reset(cx)).await;
        });
    }
}

#[test]
fn early_hints_pass() {
    let origin = Upstream::start(|_| {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
        let others = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        Act::Answer(format!("{hints}{others}{hints}{answer}").into_bytes())
    });
    let inner = proxy("http1Backend", origin.addr(), "");
    let outer = proxy("http2Backend", inner.addr(), "");
    for server in [&inner, &outer] {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        for _ in 0..2 {
            let hints = client.read_response_to_head().unwrap();
            assert_eq!((hints.status, hints.header("link")), (103, Some("</a.css>")));
        }
        assert_eq!(client.read_response().unwrap().text(), "ok");
    }
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Upstream::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n";
        Act::Answer(format!("{head}2\r\nok\r\n0\r\nx-t: after\r\n\r\n").into_bytes())
    });
    let inner = proxy("http1Backend", origin.addr(), "");
    let outer = proxy("http2Backend", inner.addr(), "");
    for server in [&inner, &outer] {
        let mut client = server.connect();
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n")
            .unwrap();
        let all = String::from_utf8(client.read_to_end().unwrap()).unwrap();
        assert!(all.ends_with("2\r\nok\r\n0\r\nx-t: after\r\n\r\n"), "{all}");
    }
}

#[test]
fn grpc_passes_whole() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/http2_proxy/grpc_peer.py");
    let Some(mut python) = modules::python("grpc") else { return };
    python.args([script, "serve"]);
    let node = Program::told(python).unwrap();
    let server = proxy("http2Backend", node.addr(), "");
    let mut asking = modules::python("grpc").unwrap();
    let output = asking.args([script, "ask", &server.addr().port().to_string()]).output().unwrap();
    assert_eq!(output.stdout, b"all is well\n", "{}", String::from_utf8_lossy(&output.stderr));
}
