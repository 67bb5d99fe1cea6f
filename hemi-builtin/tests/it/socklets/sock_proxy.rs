//! The socklet `sockProxy`: messages between clients of all versions and nodes.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hemi_proto::websocket::{Header, Opcode};
use hemi_test::tls::{Authority, KeyKind};
use hemi_web::testing::{Server, TestSocket};
use hemi_web::{Close, CloseCode, Mapper, Response, SocketError, WebSocketUpgrade};
use tokio::time::timeout;

use crate::origins::sockets::{by_http2, by_http3};
use crate::server::{Running, load};
use crate::upstream::{Act, Upstream, answer};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node that says things, and tells how its clients have left.
fn node() -> (Server, Receiver<Option<Close>>) {
    let (left, leaves) = channel();
    let socket = move |upgrade: WebSocketUpgrade| {
        let left = left.clone();
        let upgrade = upgrade.protocols(["v2.chat", "v1.chat"]);
        let answered: Response = upgrade.on_upgrade(async move |mut socket| {
            while let Ok(Some(message)) = socket.recv().await {
                match message.as_text() {
                    Some("close") => {
                        socket.close(Close::new(CloseCode::new(4000).unwrap(), "enough"));
                    }
                    Some("much") => socket.send("x".repeat(100_000)).await?,
                    Some("end") => return Err(SocketError::Closed),
                    _ => socket.send(message).await?,
                }
            }
            let _ = left.send(socket.client_close());
            Ok(())
        });
        std::future::ready(answered)
    };
    (Server::of(Mapper::new().get("/socket", socket)).unwrap(), leaves)
}

fn proxy(kind: &str, node: SocketAddr, webapp: &str, socklet: &str, server: &str) -> Running {
    let config = format!(
        r#"stage {{
            {kind} "b" {{ node {{ .address = "{node}" }} }}
            webapp "site" {{
                .hostnames = ("*")  {webapp}
                rule {{ sockProxy {{ .toBackend = "b"  {socklet} }}  httpProxy {{ .toBackend = "b" }} }}
            }}
            httpxServer "main" {{
                .address = "127.0.0.1:0"  .webapps = ("site")  .h2cPriorKnowledge = true  {server}
            }}
        }}"#
    );
    load(1, &config).unwrap_or_else(|e| panic!("{e}"))
}

async fn connect(server: &Running) -> TestSocket {
    TestSocket::connect(server.addr(), "/socket").await.unwrap()
}

fn left(leaves: &Receiver<Option<Close>>) -> Option<u16> {
    leaves.recv_timeout(PATIENCE).unwrap().map(|close| close.code.number())
}

#[tokio::test]
async fn messages_go_both_ways_and_so_do_closes() {
    let (node, leaves) = node();
    let server = proxy("http1Backend", node.address(), "", "", "");
    let mut client = connect(&server).await;
    for text in ["a".to_owned(), String::new(), "é".repeat(100_000)] {
        client.send(text.clone()).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(text.into()));
    }
    client.send(vec![0, 255, 7]).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(vec![0, 255, 7].into()));
    // A message in pieces is one for the node, with a ping in between that is none of its business.
    let piece = |fin, opcode| Header { fin, ..Header::whole(opcode) };
    client.frame(piece(false, Opcode::Text), b"one ").await.unwrap();
    client.frame(Header::whole(Opcode::Ping), b"?").await.unwrap();
    client.incoming().await.unwrap();
    client.frame(piece(true, Opcode::Continuation), b"whole").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("one whole".into()));
    client.close(CloseCode::new(4711).unwrap()).await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 4711);
    assert_eq!(left(&leaves), Some(4711));
    // The other way round.
    let mut client = connect(&server).await;
    client.send("close").await.unwrap();
    let close = client.closed().await.unwrap().unwrap();
    assert_eq!((close.code.number(), close.reason()), (4000, "enough"));
    assert_eq!(left(&leaves), Some(4000));
    client.ended().await.unwrap();
    // Who is gone without a word has gone away.
    let mut client = connect(&server).await;
    client.send("a").await.unwrap();
    client.recv().await.unwrap();
    drop(client);
    assert_eq!(left(&leaves), Some(1001));
    // What asks for no WebSocket is for others.
    assert_eq!(server.get("/socket").status, 426);
}

#[tokio::test]
async fn clients_and_nodes_of_all_versions() {
    let (node, _leaves) = node();
    let ca = Authority::new("ca");
    let identity = ca.server(&["one.test"], KeyKind::Ecdsa);
    let inner = proxy("http1Backend", node.address(), "", "", "");
    timeout(PATIENCE, by_http2(inner.addr())).await.unwrap();
    let outer = proxy("http2Backend", inner.addr(), "", "", "");
    timeout(PATIENCE, by_http2(outer.addr())).await.unwrap();
    let mut client = connect(&outer).await;
    client.send("through both").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("through both".into()));
    for (kind, node) in [("http1Backend", node.address()), ("http2Backend", inner.addr())] {
        let server =
            proxy(kind, node, &identity.properties(), "", ".tlsMode = true  .http3 = true");
        timeout(PATIENCE, by_http3(server.addr(), &ca)).await.unwrap();
    }
}

#[tokio::test]
async fn each_side_has_its_own_agreements() {
    let (node, _leaves) = node();
    let socklet = ".compression = \"stateful\"  .compressFrom = 1";
    let server = proxy("http1Backend", node.address(), "", socklet, "");
    let offer = [
        ("sec-websocket-protocol", "v1.chat, v3.chat"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ];
    let mut client = TestSocket::connect_with(server.addr(), "/socket", &offer).await.unwrap();
    // The protocol is the node's choice; it has not heard of compression.
    assert_eq!(client.header("sec-websocket-protocol"), Some("v1.chat"));
    assert!(client.header("sec-websocket-extensions").unwrap().starts_with("permessage-deflate"));
    client.send("much").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("x".repeat(100_000).into()));
}

#[tokio::test]
async fn both_sides_are_kept_to_limits() {
    let (node, leaves) = node();
    let server = proxy("http1Backend", node.address(), "", ".maxMessageSize = 10K", "");
    let mut client = connect(&server).await;
    client.send("x".repeat(11 << 10)).await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 1009);
    assert_eq!(left(&leaves), Some(1001));
    // The node says too much: it is told so, and the client that something has failed.
    let mut client = connect(&server).await;
    client.send("much").await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 1011);
    assert_eq!(left(&leaves), Some(1009));
}

#[tokio::test]
async fn a_node_that_is_lost_is_a_failure() {
    let origin = Upstream::start(|head| {
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
        let accept = hemi_proto::websocket::handshake::accept_key(key.unwrap().as_bytes());
        let fields = format!(
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}",
            accept.to_str().unwrap()
        );
        let text = "\x05hello";
        let answer = format!("HTTP/1.1 101 Go on\r\n{fields}\r\nset-cookie: a=b\r\n\r\n");
        Act::AnswerAndClose([answer.as_bytes(), b"\x81", text.as_bytes()].concat())
    });
    let server = proxy("http1Backend", origin.addr(), "", "", "");
    let mut client = connect(&server).await;
    assert_eq!(client.header("set-cookie"), Some("a=b"));
    assert_eq!(client.recv().await.unwrap(), Some("hello".into()));
    assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 1011);
}

#[tokio::test]
async fn who_does_not_agree_answers_for_itself() {
    let origin = Upstream::start(|head| {
        assert!(!head.contains("evil"), "{head}");
        answer("403 Forbidden", &["x-why: I know you"], "no")
    });
    let server = proxy("http1Backend", origin.addr(), "", ".maxTries = 1", "");
    let ask = |origin: &str| {
        let lines = [
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            &format!("origin: {origin}"),
        ];
        server.ask("GET", "/socket", &lines)
    };
    let refused = ask("http://site.test");
    assert_eq!((refused.status, refused.header("x-why")), (403, Some("I know you")));
    // Of pages of other sites no node hears.
    assert_eq!(ask("http://evil.test").status, 403);
    assert_eq!(origin.requests(), 1);
    let nowhere = proxy("http1Backend", "127.0.0.1:1".parse().unwrap(), "", "", "");
    let refused = TestSocket::connect(nowhere.addr(), "/socket").await.unwrap_err();
    assert_eq!(refused.to_string(), "answered 502 Bad Gateway");
}

#[tokio::test]
async fn both_sides_hear_that_the_server_drains() {
    let (node, leaves) = node();
    let server = proxy("http1Backend", node.address(), "", "", "");
    let mut client = connect(&server).await;
    client.send("a").await.unwrap();
    client.recv().await.unwrap();
    let quitting = std::thread::spawn(move || server.quit());
    assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 1001);
    assert_eq!(left(&leaves), Some(1001));
    client.ended().await.unwrap();
    quitting.join().unwrap();
}
