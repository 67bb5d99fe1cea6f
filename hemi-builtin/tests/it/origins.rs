//! The handlet `httpProxy` before servers that others wrote, in Go and in JavaScript, and behind a browser.

pub(crate) mod sockets;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hemi_test::peer::{self, modules};
use hemi_test::raw::Client;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{Browser, Program, Reply};
use hemi_web::CloseCode;
use hemi_web::testing::TestSocket;
use sha2::{Digest as _, Sha256};

use crate::server::{Running, load};

const PATIENCE: Duration = Duration::from_secs(60);

/// One by net/http, over HTTP/1.1 and HTTP/2.
fn go() -> Option<Program> {
    let origin = peer::go(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/origin"))?;
    Some(Program::told(Command::new(origin)).unwrap())
}

/// One by Node.js.
fn node() -> Option<Program> {
    let mut node = modules::node("ws")?;
    node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/origins/origin.js"));
    Some(Program::told(node).unwrap())
}

/// Passes all on to a node by a backend of this kind; the server has these properties besides.
fn proxy(kind: &str, node: &Program, webapp: &str, server: &str) -> Running {
    let config = format!(
        r#"stage {{
            {kind} "b" {{ node {{ .address = "{}" }} }}
            webapp "site" {{
                .hostnames = ("*")  .maxBodySize = 64M  {webapp}
                rule {{ httpProxy {{ .toBackend = "b" }} }}
            }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site")  {server} }}
        }}"#,
        node.addr()
    );
    load(2, &config).unwrap_or_else(|e| panic!("{e}"))
}

fn connect(server: &Running) -> Client {
    server.connect().with_timeout(PATIENCE)
}

/// The answer to a request with this content, which is sent in one piece or in chunks.
fn post(client: &mut Client, path: &str, content: &[u8], chunk: Option<usize>) -> Reply {
    let framing = match chunk {
        None => format!("Content-Length: {}", content.len()),
        Some(_) => "Transfer-Encoding: chunked".to_owned(),
    };
    // Fields of trailers pass only to who takes them.
    let fields = "Host: site.test\r\nTE: trailers\r\nConnection: TE";
    client.send(format!("POST {path} HTTP/1.1\r\n{fields}\r\n{framing}\r\n\r\n")).unwrap();
    match chunk {
        None => client.send(content).unwrap(),
        Some(len) => {
            let mut framed = Vec::new();
            for piece in content.chunks(len) {
                framed.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                framed.extend_from_slice(piece);
                framed.extend_from_slice(b"\r\n");
            }
            framed.extend_from_slice(b"0\r\n\r\n");
            client.send(framed).unwrap();
        }
    }
    client.read_response().unwrap()
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What each of these origins answers, asked through the proxy.
fn everything_passes(server: &Running, version: &str) {
    let hello = server.get("/hello?a=%20b");
    assert_eq!(hello.text(), format!("{version} site.test /hello?a=%20b for 127.0.0.1"));
    assert_eq!(server.get("/nowhere").status, 404);
    let mut client = connect(server);
    for (len, chunk) in [(0, None), (10 << 20, None), (10 << 20, Some(70_000)), (5, Some(1))] {
        let content = content(len);
        let sum = post(&mut client, "/sum", &content, chunk);
        assert_eq!(sum.text(), format!("{len} {}", hex(&Sha256::digest(&content))));
        let said = if chunk.is_some() { "-1".to_owned() } else { len.to_string() };
        assert_eq!(sum.header("x-said"), Some(&*said), "the length that the node was told");
    }
    // The same connection goes on.
    let small = content(100_000);
    for chunk in [None, Some(1000)] {
        let echo = post(&mut client, "/echo", &small, chunk);
        assert!(echo.body == small, "{} bytes of {}", echo.body.len(), small.len());
        assert_eq!(echo.trailers, [("x-length".to_owned(), "100000".to_owned())]);
    }
    let pieces: String = (0..100).map(|n| format!("piece {n}\n")).collect();
    assert_eq!(server.get("/chunks").text(), pieces);
    events_come_one_by_one(server);
}

/// The origin sends an event only when the client has seen the one before.
fn events_come_one_by_one(server: &Running) {
    let (mut events, mut next) = (connect(server), connect(server));
    events.send("GET /events HTTP/1.1\r\nHost: site.test\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    let saw = |events: &mut Client, seen: &mut Vec<u8>, end: &[u8]| {
        while !seen.windows(end.len()).any(|w| w == end) {
            seen.extend(events.read_some().unwrap());
        }
    };
    for n in 0..5 {
        saw(&mut events, &mut seen, format!("data: {n}\n\n").as_bytes());
        assert_eq!(post(&mut next, "/next", b"", None).status, 200);
    }
    saw(&mut events, &mut seen, b"\r\n0\r\n\r\n");
}

#[test]
fn an_origin_in_go() {
    let Some(origin) = go() else { return };
    everything_passes(&proxy("http1Backend", &origin, "", ""), "HTTP/1.1");
    everything_passes(&proxy("http2Backend", &origin, "", ""), "HTTP/2.0");
}

#[tokio::test]
async fn an_origin_in_javascript() {
    let Some(origin) = node() else { return };
    let server = proxy("http1Backend", &origin, "", "");
    everything_passes(&server, "HTTP/1.1");
    let mut socket = TestSocket::connect(server.addr(), "/socket").await.unwrap();
    for text in ["hello".to_owned(), "x".repeat(300_000)] {
        socket.send(text.clone()).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(text.into()));
    }
    socket.send(content(70_000)).await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some(content(70_000).into()));
    socket.close(CloseCode::NORMAL).await.unwrap();
    assert_eq!(socket.closed().await.unwrap().map(|close| close.code), Some(CloseCode::NORMAL));
}

/// A page with what belongs to it, what its script sends, and a WebSocket. Not by HTTP/3: there Chromium takes an
/// answer with trailers for broken now and then, if they come in one packet with its last bytes and its end.
#[test]
fn a_browser_sees_no_proxy() {
    let (Some(chromium), Some(origin)) = (peer::peer("chromium"), node()) else { return };
    let ca = Authority::new("ca");
    let identity = ca.server(&["one.test"], KeyKind::Ecdsa);
    let key = BASE64_STANDARD.encode(Sha256::digest(identity.public_key()));
    for (version, properties) in [("http/1.1", ""), ("h2", ".tlsMode = true")] {
        let (scheme, webapp) = match version {
            "http/1.1" => ("http", String::new()),
            _ => ("https", identity.properties()),
        };
        let server = proxy("http1Backend", &origin, &webapp, properties);
        let port = server.addr().port();
        let rules = format!("--host-resolver-rules=MAP one.test 127.0.0.1:{port}");
        let trusted = format!("--ignore-certificate-errors-spki-list={key}");
        let mut browser = Browser::open(&chromium, &[&*rules, &trusted]);
        browser.go(&format!("{scheme}://one.test:{port}/page"));
        let said = "document.getElementById('said').textContent";
        browser.wait(&format!("{said} != 'nothing'"));
        assert_eq!(browser.eval(said), "true hello rgb(1, 2, 3) 7", "{version}");
        let by = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
        assert_eq!(browser.eval(by), version);
    }
}
