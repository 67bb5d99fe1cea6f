//! Nodes that break HTTP/3, in bytes over QUIC.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hemi_core::quic::quinn;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig};

use super::Setting;

/// A node that does something with each request, whose head it has read. It serves until the process ends.
struct Node {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// Frames of an answer with the status 200 (by the static table), and with 100.
const OK: &[u8] = b"\x01\x03\0\0\xd9";
const CONTINUE: &[u8] = b"\x01\x04\0\0\xff\0";

/// The same with `content-length: 5`.
const FIVE: &[u8] = b"\x01\x06\0\0\xd9\x54\x015";

/// What a node does with a request.
type Act = fn(SendStream, RecvStream, Connection) -> Pin<Box<dyn Future<Output = ()> + Send>>;

impl Node {
    fn start(setting: &Setting, control: &'static [u8], act: Act) -> Self {
        let (chain, key) = setting.identity.read().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut tls = tls.unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let config = ServerConfig::with_crypto(Arc::new(crypto));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = {
            let _entered = runtime.enter();
            Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap()
        };
        let (addr, connections) = (endpoint.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = connections.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                while let Some(incoming) = endpoint.accept().await {
                    let Ok(quic) = incoming.await else { continue };
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(serve(quic, control, act));
                }
            });
        });
        Self { addr, connections }
    }
}

async fn serve(quic: Connection, control: &'static [u8], act: Act) {
    let Ok(mut said) = quic.open_uni().await else { return };
    let _ = said.write_all(control).await;
    while let Ok((send, mut recv)) = quic.accept_bi().await {
        // Heads of these tests come in one piece.
        let _ = recv.read(&mut [0; 2048]).await;
        tokio::spawn(act(send, recv, quic.clone()));
    }
}

/// Sends these bytes, and ends the stream.
macro_rules! says {
    ($($bytes:expr),*) => {
        |mut send: SendStream, recv: RecvStream, _: Connection| {
            Box::pin(async move {
                let bytes: Vec<u8> = [$(&$bytes[..]),*].concat();
                let _ = send.write_all(&bytes).await;
                let _ = send.finish();
                let _ = send.stopped().await;
                drop(recv);
            })
        }
    };
}

/// The control stream, and empty settings.
const CONTROL: &[u8] = b"\x00\x04\x00";

#[test]
fn what_is_no_answer_is_none() {
    let setting = Setting::new();
    let acts: [(&str, Act); 9] = [
        ("no head", says!([])),
        ("content first", says!(b"\x00\x01x")),
        ("half a frame", says!(b"\x01\x09\0\0")),
        ("a table that is not there", says!(b"\x01\x03\x02\0\x80")),
        ("no status", says!(b"\x01\x02\0\0")),
        ("a field in capitals", says!(b"\x01\x08\0\0\xd9\x21A\x02ok")),
        ("too large a head", says!(b"\x01\x80\x02\0\0", [0; 0x2_0000])),
        ("a promise", says!(b"\x05\x02\0\0")),
        ("early answers without end", says!(CONTINUE.repeat(50))),
    ];
    for (what, act) in acts {
        let node = Node::start(&setting, CONTROL, act);
        let server = setting.proxy(node.addr, ".maxFailures = 0  .answerTimeout = 20s");
        assert_eq!(server.get("/").status, 502, "{what}");
        // Nor are others hurt.
        assert_eq!(server.get("/").status, 502, "{what}");
    }
}

#[test]
fn an_answer_is_whole_or_seen_not_to_be() {
    let setting = Setting::new();
    let whole: [(&str, Act); 3] = [
        ("in pieces", says!(OK, b"\x00\x02he\x00\x03llo")),
        ("of a length", says!(FIVE, b"\x00\x05hello")),
        (
            "with frames that are not known",
            says!(b"\x21\x01x", OK, b"\x21\x00\x00\x05hello\x40\x21\x01x"),
        ),
    ];
    for (what, act) in whole {
        let node = Node::start(&setting, CONTROL, act);
        assert_eq!(setting.proxy(node.addr, "").get("/").text(), "hello", "{what}");
    }
    let broken: [(&str, Act); 4] = [
        ("too short", says!(FIVE, b"\x00\x04hell")),
        ("too long", says!(FIVE, b"\x00\x06hello!")),
        ("cut in a frame", says!(OK, b"\x00\x09hello")),
        ("reset", |mut send, _recv, _quic| {
            Box::pin(async move {
                let _ = send.write_all(&[OK, b"\x00\x09hello"].concat()).await;
                // Let it arrive, as far as that can be told.
                tokio::task::yield_now().await;
                let _ = send.reset(0x102_u32.into());
            })
        }),
    ];
    for (what, act) in broken {
        let node = Node::start(&setting, CONTROL, act);
        let server = setting.proxy(node.addr, ".maxFailures = 0");
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        if let Ok(reply) = client.read_response() {
            assert_eq!(reply.status, 502, "{what}: {}", reply.text());
        }
    }
}

#[test]
fn what_is_said_about_a_connection_is_heeded() {
    let setting = Setting::new();
    // Settings twice; a stream of pushes; a table of our own that there is no room for.
    for control in [&b"\x00\x04\x00\x04\x00"[..], b"\x01\x00", b"\x02\x3f\xe1\x1f\x41a\x01b"] {
        let node = Node::start(&setting, control, says!(OK, b"\x00\x02ok"));
        let server = setting.proxy(node.addr, ".maxFailures = 0");
        // The first request may be answered before that is read.
        let ended = || {
            server.get("/");
            node.connections.load(Ordering::Relaxed) > 2
        };
        assert!(hemi_test::eventually(super::PATIENCE, ended), "{control:?}");
    }
    // Who says goodbye is asked by another connection.
    let node = Node::start(&setting, b"\x00\x04\x00\x07\x01\x00", says!(OK, b"\x00\x02ok"));
    let server = setting.proxy(node.addr, "");
    let another = || {
        assert_eq!(server.get("/").text(), "ok");
        node.connections.load(Ordering::Relaxed) > 2
    };
    assert!(hemi_test::eventually(super::PATIENCE, another));
}

/// A request that the node has not looked at goes to a connection that it does look at.
#[test]
fn what_is_rejected_was_not_seen() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let setting = Setting::new();
    let node = Node::start(&setting, CONTROL, |mut send, _recv, _quic| {
        Box::pin(async move {
            if ASKED.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                let _ = send.reset(0x10b_u32.into());
                return;
            }
            let _ = send.write_all(&[OK, b"\x00\x02ok"].concat()).await;
            let _ = send.finish();
            let _ = send.stopped().await;
        })
    });
    let server = setting.proxy(node.addr, ".maxFailures = 0");
    for _ in 0..6 {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().text(), "ok");
    }
}

/// A node that sends as much of 99 answers as there is room for, though nobody takes it, and another one beside them.
#[tokio::test]
async fn answers_that_nobody_takes_hold_up_no_other() {
    const UNTAKEN: usize = 99;
    /// What a proxy has room for on a stream.
    const ROOM: usize = 256 << 10;
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static FULL: AtomicUsize = AtomicUsize::new(0);
    let setting = Setting::new();
    let node = Node::start(&setting, CONTROL, |mut send, _recv, _quic| {
        Box::pin(async move {
            if ASKED.fetch_add(1, Ordering::Relaxed) >= UNTAKEN {
                let _ = send.write_all(&[OK, b"\x00\x02ok"].concat()).await;
                let _ = send.finish();
                let _ = send.stopped().await;
                return;
            }
            // The frame says that more follows.
            let start = [OK, b"\x00\x80\x10\x00\x00"].concat();
            let mut bytes = vec![b'x'; ROOM];
            bytes[..start.len()].copy_from_slice(&start);
            if send.write_all(&bytes).await.is_ok() {
                FULL.fetch_add(1, Ordering::Relaxed);
                let _ = send.stopped().await;
            }
        })
    });
    let server = setting.proxy(node.addr, ".pendingTimeout = 1m");
    let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut kept = Vec::new();
    for _ in 0..UNTAKEN {
        let mut client = client.clone().ready().await.unwrap();
        let request = http::Request::get("http://site.test/").body(()).unwrap();
        kept.push(client.send_request(request, true).unwrap());
    }
    let small = tokio::task::spawn_blocking(move || {
        let full = || FULL.load(Ordering::Relaxed) == UNTAKEN;
        assert!(hemi_test::eventually(super::PATIENCE, full), "{}", FULL.load(Ordering::Relaxed));
        server.get("/").text()
    });
    assert_eq!(small.await.unwrap(), "ok");
    assert_eq!(node.connections.load(Ordering::Relaxed), 1);
    drop(kept);
}
