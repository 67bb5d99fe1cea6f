//! The router `quixRouter` where it terminates QUIC, with `quixProxy`.

mod streams;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hemi_core::quic::quinn;
use hemi_test::peer::modules::python;
use hemi_test::tls::{Authority, Identity, KeyKind};
use hemi_test::{TempDir, eventually};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, ReadError, ServerConfig, VarInt,
    WriteError,
};
use rustls::pki_types::PrivateKeyDer;
use tokio::time::timeout;

use super::{script, within};
use crate::server::{Running, load, load_by};
use crate::udpx::{LONG, counter};

/// A server that speaks this protocol; what comes of its connections is the test's business.
struct Node(Endpoint);

impl Node {
    fn new(ca: &Authority, host: &str, protocols: &[&str]) -> Self {
        let (chain, key): (_, PrivateKeyDer<'static>) =
            ca.server(&[host], KeyKind::Ecdsa).read().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        tls.alpn_protocols = names(protocols);
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let config = ServerConfig::with_crypto(Arc::new(crypto));
        Self(Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap())
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    async fn accept(&self) -> Connection {
        within(self.0.accept()).await.unwrap().await.unwrap()
    }
}

fn names(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A client that speaks these protocols.
fn client(ca: &Authority, protocols: &[&str]) -> Endpoint {
    client_with(ca, protocols, None)
}

fn client_with(ca: &Authority, protocols: &[&str], identity: Option<&Identity>) -> Endpoint {
    let mut tls = ca.trusted_by(&[&rustls::version::TLS13], identity);
    tls.alpn_protocols = names(protocols);
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    endpoint
}

/// A router that terminates QUIC by a certificate for `front.test` and others, with these backends, properties and cases.
fn config(ca: &Authority, backends: &str, router: &str) -> String {
    let identity = ca.server(&["front.test", "other.test"], KeyKind::Ecdsa);
    format!(
        r#"stage {{
            {backends}
            quixRouter "main" {{ .address = "127.0.0.1:0"  .tlsMode = true  {}
                {router}
            }}
        }}"#,
        identity.properties()
    )
}

fn start(ca: &Authority, backends: &str, router: &str) -> Running {
    load(2, &config(ca, backends, router)).unwrap_or_else(|e| panic!("{e}"))
}

/// A backend of this name with a node, whose certificate is for `node.test`.
fn backend(ca: &Authority, name: &str, node: SocketAddr, properties: &str) -> String {
    format!(
        r#"quixBackend "{name}" {{ .tlsTrustedCa = "{}"  .tlsPeerName = "node.test"  {properties}
            node {{ .address = "{node}" }} }}
        "#,
        ca.certificate().display()
    )
}

const PASS: &str =
    r#".tlsProtocols = ("test")  case { quixProxy { .toBackend = "b"  .lostCode = 5 } }"#;

async fn connect(client: &Endpoint, router: &Running) -> Connection {
    within(client.connect(router.addr(), "front.test").unwrap()).await.unwrap()
}

/// A connection through a router with these properties of its own and of the backend: as the client has it, and the node.
async fn through(router: &str, backend_has: &str) -> (Connection, Connection, Running, Endpoint) {
    let ca = Authority::new("ca");
    let node = Node::new(&ca, "node.test", &["test"]);
    let backends = backend(&ca, "b", node.addr(), backend_has);
    let router = start(&ca, &backends, &format!("{router} {PASS}"));
    let client = client(&ca, &["test"]);
    let conn = connect(&client, &router).await;
    (conn, node.accept().await, router, client)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// Sends all of this on a stream that the first opens, in both directions, and as much back.
async fn talk(one: &Connection, other: &Connection, len: usize) {
    let sent = bytes(len);
    let asking = async {
        let (mut send, mut recv) = one.open_bi().await.unwrap();
        send.write_all(&sent).await.unwrap();
        send.finish().unwrap();
        let got = recv.read_to_end(usize::MAX).await.unwrap();
        assert!(got == sent, "other bytes");
        recv.id().index()
    };
    let answering = async {
        let (mut send, mut recv) = other.accept_bi().await.unwrap();
        // The end comes before anything was answered.
        let got = recv.read_to_end(usize::MAX).await.unwrap();
        send.write_all(&got).await.unwrap();
        send.finish().unwrap();
        recv.id().index()
    };
    let ids = within(async { tokio::join!(asking, answering) }).await;
    assert_eq!(ids.0, ids.1);
}

async fn tell(one: &Connection, other: &Connection, len: usize) {
    let sent = bytes(len);
    let telling = async {
        let mut send = one.open_uni().await.unwrap();
        send.write_all(&sent).await.unwrap();
        send.finish().unwrap();
    };
    let hearing = async { other.accept_uni().await.unwrap().read_to_end(usize::MAX).await };
    let ((), got) = within(async { tokio::join!(telling, hearing) }).await;
    assert!(got.unwrap() == sent, "other bytes");
}

fn code(code: u32) -> VarInt {
    VarInt::from_u32(code)
}

fn closed_by(error: ConnectionError) -> (u64, Vec<u8>) {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            (close.error_code.into_inner(), close.reason.to_vec())
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn streams_of_both_kinds_go_both_ways() {
    let (client, node, router, _endpoint) = through("", "").await;
    for len in [0, 1, 5000, 3_000_000] {
        talk(&client, &node, len).await;
        talk(&node, &client, len).await;
        tell(&client, &node, len).await;
        tell(&node, &client, len).await;
    }
    let all = async {
        let each = (0..50).map(|_| tell(&client, &node, 1));
        for one in each {
            one.await;
        }
    };
    within(all).await;
    client.close(code(7), b"bye");
    assert_eq!(closed_by(within(node.closed()).await), (7, b"bye".to_vec()));
    assert!(eventually(LONG, || router.server().active() == 0));
    assert!(counter(&router, "bytes_received") >= 6_000_000);
    assert!(counter(&router, "bytes_sent") >= 6_000_000);
}

#[tokio::test]
async fn many_streams_at_once() {
    let (client, node, _router, _endpoint) = through("", "").await;
    let answering = async {
        let mut answers = tokio::task::JoinSet::new();
        while let Ok((mut send, mut recv)) = node.accept_bi().await {
            answers.spawn(async move {
                let got = recv.read_to_end(usize::MAX).await.unwrap();
                send.write_all(&got).await.unwrap();
                send.finish().unwrap();
                let _ = send.stopped().await;
            });
        }
    };
    let asking = async {
        let mut asked = tokio::task::JoinSet::new();
        // More than there may be at once.
        for n in 0..500_usize {
            let client = client.clone();
            asked.spawn(async move {
                let sent = bytes(n * 10);
                let (mut send, mut recv) = client.open_bi().await.unwrap();
                send.write_all(&sent).await.unwrap();
                send.finish().unwrap();
                assert!(recv.read_to_end(usize::MAX).await.unwrap() == sent, "other bytes");
            });
        }
        while let Some(done) = asked.join_next().await {
            done.unwrap();
        }
    };
    let both = async {
        tokio::select! {
            () = answering => panic!("the node's connection has ended"),
            () = asking => {}
        }
    };
    within(both).await;
}

#[tokio::test]
async fn datagrams_go_both_ways() {
    let (client, node, _router, _endpoint) = through("", "").await;
    for (from, to) in [(&client, &node), (&node, &client)] {
        let got = async {
            loop {
                // Each may be lost.
                from.send_datagram(b"datagram"[..].into()).unwrap();
                let waited = timeout(Duration::from_millis(200), to.read_datagram());
                if let Ok(got) = waited.await {
                    return got.unwrap();
                }
            }
        };
        assert_eq!(within(got).await, &b"datagram"[..]);
    }
}

#[tokio::test]
async fn resets_and_stops_keep_their_codes() {
    let (client, node, _router, _endpoint) = through("", "").await;
    for (one, other) in [(&client, &node), (&node, &client)] {
        let (mut send, mut recv) = one.open_bi().await.unwrap();
        send.write_all(b"something").await.unwrap();
        let (mut sent_back, mut got) = within(other.accept_bi()).await.unwrap();
        // What was sent before may be lost with a reset, or not.
        send.reset(code(42)).unwrap();
        assert_eq!(within(got.read_to_end(100)).await.unwrap_err().to_string(), {
            quinn::ReadToEndError::Read(ReadError::Reset(code(42))).to_string()
        });
        // The other way goes on.
        sent_back.write_all(b"still").await.unwrap();
        let mut still = [0; 5];
        within(recv.read_exact(&mut still)).await.unwrap();
        recv.stop(code(43)).unwrap();
        assert_eq!(within(sent_back.stopped()).await, Ok(Some(code(43))));
        let written = async {
            loop {
                if let Err(e) = sent_back.write_all(&[0; 1000]).await {
                    return e;
                }
            }
        };
        assert_eq!(within(written).await, WriteError::Stopped(code(43)));
        // One that nobody takes from the router is seen to be reset as well.
        let mut stuck = one.open_uni().await.unwrap();
        let filling = async {
            let filling = async { while stuck.write_all(&[0; 64 << 10]).await.is_ok() {} };
            tokio::select! {
                () = filling => unreachable!(),
                accepted = other.accept_uni() => accepted.unwrap(),
            }
        };
        let mut recv = within(filling).await;
        stuck.reset(code(44)).unwrap();
        let reset = async {
            loop {
                match recv.read_chunk(usize::MAX, true).await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it looks whole"),
                    Err(e) => return e,
                }
            }
        };
        assert_eq!(within(reset).await, ReadError::Reset(code(44)));
    }
}

#[tokio::test]
async fn who_does_not_take_it_holds_up_who_sends_it() {
    let small = ".quicStreamWindow = 64K  .quicSendWindow = 64K";
    let (client, node, _router, _endpoint) = through(small, small).await;
    for (from, to) in [(&client, &node), (&node, &client)] {
        const ALL: usize = 32 << 20;
        let written = AtomicUsize::new(0);
        let writing = async {
            let mut send = from.open_uni().await.unwrap();
            let piece = bytes(16 << 10);
            while written.load(Ordering::Relaxed) < ALL {
                send.write_all(&piece).await.unwrap();
                written.fetch_add(piece.len(), Ordering::Relaxed);
            }
            send.finish().unwrap();
        };
        let reading = async {
            let (mut recv, mut read) = (to.accept_uni().await.unwrap(), 0);
            while let Some(chunk) = recv.read_chunk(16 << 10, true).await.unwrap() {
                read += chunk.bytes.len();
                // Room of the ends themselves, and of the router.
                let ahead = written.load(Ordering::Relaxed).saturating_sub(read);
                assert!(ahead <= 24 << 20, "{ahead} bytes are kept");
            }
            assert_eq!(read, ALL);
        };
        within(async { tokio::join!(writing, reading) }).await;
    }
}

#[tokio::test]
async fn streams_that_are_not_taken_hold_up_no_others() {
    let (client, node, _router, _endpoint) = through("", "").await;
    let mut filling = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let mut send = within(node.open_uni()).await.unwrap();
        filling.spawn(async move { while send.write_all(&[0; 64 << 10]).await.is_ok() {} });
        let begun = within(client.accept_uni()).await.unwrap();
        // It is neither read nor stopped.
        std::mem::forget(begun);
    }
    for _ in 0..20 {
        talk(&client, &node, 100_000).await;
        tell(&node, &client, 100_000).await;
    }
}

#[tokio::test]
async fn what_came_before_the_end_of_a_connection_arrives() {
    let (client, node, _router, _endpoint) = through("", "").await;
    let sent = bytes(500_000);
    let telling = async {
        let mut send = node.open_uni().await.unwrap();
        send.write_all(&sent).await.unwrap();
        send.finish().unwrap();
        // The router has all of it.
        assert_eq!(send.stopped().await, Ok(None));
        node.close(code(9), b"done");
    };
    let hearing = async {
        let got = client.accept_uni().await.unwrap().read_to_end(usize::MAX).await.unwrap();
        assert!(got == sent, "other bytes");
        closed_by(client.closed().await)
    };
    let ((), closed) = within(async { tokio::join!(telling, hearing) }).await;
    assert_eq!(closed, (9, b"done".to_vec()));
}

#[tokio::test]
async fn where_there_is_no_node_the_client_is_told() {
    let ca = Authority::new("ca");
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let of_others = Node::new(&Authority::new("other"), "node.test", &["test"]);
    let of_another_name = Node::new(&ca, "another.test", &["test"]);
    let speaks_other = Node::new(&ca, "node.test", &["other"]);
    let accepting = |node: &Node| {
        let endpoint = node.0.clone();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                assert!(incoming.await.is_err());
            }
        })
    };
    let _all = [&of_others, &of_another_name, &speaks_other].map(accepting);
    for at in [
        nobody.local_addr().unwrap(),
        of_others.addr(),
        of_another_name.addr(),
        speaks_other.addr(),
    ] {
        let router =
            start(&ca, &backend(&ca, "b", at, ".connectTimeout = 1s  .maxTries = 1"), PASS);
        let conn = connect(&client(&ca, &["test"]), &router).await;
        assert_eq!(closed_by(within(conn.closed()).await).0, 5);
        assert!(eventually(LONG, || router.server().active() == 0));
    }
}

#[tokio::test]
async fn a_node_that_is_gone_without_a_word_is_noticed() {
    let ca = Arc::new(Authority::new("ca"));
    let (address, at) = tokio::sync::oneshot::channel();
    let (ends, over) = std::sync::mpsc::channel::<()>();
    let its = ca.clone();
    let node = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _conn = runtime.block_on(async {
            let node = Node::new(&its, "node.test", &["test"]);
            address.send(node.addr()).unwrap();
            let conn = node.accept().await;
            let mut recv = conn.accept_uni().await.unwrap();
            recv.read_exact(&mut [0; 5]).await.unwrap();
            (node, conn, recv)
        });
        // Its sockets are still there, but nothing of it runs any more.
        let _ = over.recv();
    });
    let backend = backend(&ca, "b", within(at).await.unwrap(), ".quicIdleTimeout = 5s");
    let router = start(&ca, &backend, PASS);
    let endpoint = client(&ca, &["test"]);
    let conn = connect(&endpoint, &router).await;
    let mut send = conn.open_uni().await.unwrap();
    send.write_all(b"begun").await.unwrap();
    assert_eq!(closed_by(within(conn.closed()).await).0, 5);
    drop(ends);
    node.join().unwrap();
}

#[tokio::test]
async fn clients_are_asked_for_certificates_where_they_are_to_show_them() {
    let ca = Authority::new("ca");
    let node = Node::new(&ca, "node.test", &["test"]);
    let auth = format!(
        ".tlsClientAuth = \"required\"  .tlsClientCa = \"{}\"  {PASS}",
        ca.certificate().display()
    );
    let router = start(&ca, &backend(&ca, "b", node.addr(), ""), &auth);
    // Who has none may not know yet that it is refused.
    if let Ok(conn) =
        within(client(&ca, &["test"]).connect(router.addr(), "front.test").unwrap()).await
    {
        let error = within(conn.closed()).await;
        assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error}");
    }
    let endpoint = client_with(&ca, &["test"], Some(&ca.client("mia", "urn:mia")));
    let conn = connect(&endpoint, &router).await;
    talk(&conn, &node.accept().await, 1000).await;
}

#[tokio::test]
async fn cases_go_by_name_and_protocol() {
    let ca = Authority::new("ca");
    let (one, two) =
        (Node::new(&ca, "node.test", &["a", "b"]), Node::new(&ca, "node.test", &["b", "c"]));
    let backends = backend(&ca, "one", one.addr(), "")
        + &backend(&ca, "two", two.addr(), ".tlsProtocols = (\"c\")");
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("access.log");
    let logger = format!("simpleLogger \"log\" {{ .target = \"{}\" }}", log.display());
    let router = start(
        &ca,
        &(backends + &logger),
        r#".tlsProtocols = ("a", "b", "d")  .useLogger = "log"
        case "two" $nextProto == "b" && $serverName == "other.test" && $protocol == "quic" {
            quixProxy { .toBackend = "two" } }
        case "denied" $nextProto == "d" { accessDealet { .deny = ("127.0.0.1") }  quixProxy { .toBackend = "one" } }
        case "one" $serverName == "front.test" {
            limitDealet { .concurrent = 1 }
            quixProxy { .toBackend = "one" } }"#,
    );
    let connect = async |protocols: &[&str], host: &str| {
        within(client(&ca, protocols).connect(router.addr(), host).unwrap()).await
    };
    let spoken = |conn: &Connection| {
        let data = conn.handshake_data().unwrap();
        let data = data.downcast::<quinn::crypto::rustls::HandshakeData>().unwrap();
        data.protocol.unwrap()
    };
    let to_one = connect(&["x", "a"], "front.test").await.unwrap();
    // What the client has agreed on is what the node is offered.
    let at_one = one.accept().await;
    assert_eq!(spoken(&at_one), b"a");
    let limited = connect(&["a"], "front.test").await.unwrap();
    assert_eq!(closed_by(within(limited.closed()).await).0, 1);
    let _to_two = connect(&["b"], "other.test").await.unwrap();
    let at_two = two.accept().await;
    assert_eq!(spoken(&at_two), b"c");
    let denied = connect(&["d"], "front.test").await.unwrap();
    assert_eq!(closed_by(within(denied.closed()).await).0, 1);
    let unmatched = connect(&["a"], "other.test").await.unwrap();
    assert_eq!(closed_by(within(unmatched.closed()).await).0, 1);
    assert!(connect(&["unknown"], "front.test").await.is_err());
    assert!(eventually(LONG, || counter(&router, "conns_unmatched") == 1));
    to_one.close(code(3), b"");
    assert_eq!(closed_by(within(at_one.closed()).await).0, 3);
    let logged = |what: &str| std::fs::read_to_string(&log).unwrap_or_default().contains(what);
    assert!(eventually(LONG, || logged(&format!("main one {} done", one.addr()))));
    for what in ["main denied - denied", "main one - limited", "main - - unmatched"] {
        assert!(eventually(LONG, || logged(what)), "{what}");
    }
}

#[tokio::test]
async fn a_reload_keeps_connections() {
    let ca = Authority::new("ca");
    let node = Node::new(&ca, "node.test", &["test"]);
    let backends = backend(&ca, "b", node.addr(), "");
    let text = |more: &str| config(&ca, &backends, &format!("{more} {PASS}"));
    let mut router = load(2, &text("")).unwrap_or_else(|e| panic!("{e}"));
    let endpoint = client(&ca, &["test"]);
    let before = connect(&endpoint, &router).await;
    let its = node.accept().await;
    talk(&before, &its, 1000).await;
    router.reload(&text(".quicStreams = 50"));
    talk(&before, &its, 1000).await;
    let after = connect(&endpoint, &router).await;
    let its_too = node.accept().await;
    talk(&after, &its_too, 1000).await;
    talk(&before, &its, 1000).await;
}

#[tokio::test]
async fn what_is_cut_off_at_the_end_does_not_look_whole() {
    let ca = Authority::new("ca");
    let node = Node::new(&ca, "node.test", &["test"]);
    let text = config(&ca, &backend(&ca, "b", node.addr(), ""), PASS);
    let router =
        load_by(2, &text, |engine| engine.grace(Duration::ZERO)).unwrap_or_else(|e| panic!("{e}"));
    let endpoint = client(&ca, &["test"]);
    let conn = connect(&endpoint, &router).await;
    let its = node.accept().await;
    let mut open = conn.open_uni().await.unwrap();
    open.write_all(b"part").await.unwrap();
    let mut part = within(its.accept_uni()).await.unwrap();
    let quitting = tokio::task::spawn_blocking(move || router.quit());
    assert!(within(part.read_to_end(100)).await.is_err());
    assert_eq!(closed_by(within(conn.closed()).await).0, 5);
    assert_eq!(closed_by(within(its.closed()).await).0, 5);
    within(quitting).await.unwrap();
}

#[test]
fn mistakes() {
    let ca = Authority::new("ca");
    let node = backend(&ca, "b", ([127, 0, 0, 1], 1).into(), "");
    let mistake = |router: &str| match load(1, &config(&ca, &node, router)) {
        Ok(_) => panic!("loads: {router}"),
        Err(e) => e.to_string(),
    };
    let case = "case { quixProxy { .toBackend = \"b\" } }";
    for (router, said) in [
        (case.to_owned(), "have to agree on a protocol"),
        (format!(".tlsProtocols = (\"a\")  .quicEarlyData = true  {case}"), "can be replayed"),
        (".tlsProtocols = (\"a\")  case { quixProxy {} }".to_owned(), "need one place to go to"),
        (
            ".tlsProtocols = (\"a\")  case { tcpxProxy { .toOriginal = true }  quixProxy { .toBackend = \"b\" } }"
                .to_owned(),
            "`tcpxProxy` does not deal with connections of QUIC",
        ),
        (
            ".tlsProtocols = (\"a\")  case $user == \"root\" { quixProxy { .toBackend = \"b\" } }".to_owned(),
            "QUIC does not tell",
        ),
    ] {
        let told = mistake(&router);
        assert!(told.contains(said), "{told}");
    }
    let text =
        format!(r#"stage {{ {node} quixRouter "main" {{ .address = "127.0.0.1:0"  {case} }} }}"#);
    let told = load(1, &text).err().unwrap().to_string();
    assert!(told.contains("`quixProxy` does not deal with datagrams"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aioquic_is_answered() {
    let Some(mut asks) = python("aioquic") else { return };
    let ca = Authority::new("ca");
    let node = Node::new(&ca, "node.test", &["test"]);
    let router = start(&ca, &backend(&ca, "b", node.addr(), ""), PASS);
    let echoing = tokio::spawn(async move {
        let conn = node.accept().await;
        let streams = async {
            while let Ok((mut send, mut recv)) = conn.accept_bi().await {
                let got = recv.read_to_end(usize::MAX).await.unwrap();
                send.write_all(&got).await.unwrap();
                send.finish().unwrap();
            }
        };
        let datagrams = async {
            while let Ok(datagram) = conn.read_datagram().await {
                conn.send_datagram(datagram).unwrap();
            }
        };
        tokio::join!(streams, datagrams);
        closed_by(conn.closed().await)
    });
    asks.arg(script("echo.py")).arg(router.addr().port().to_string()).arg(ca.certificate());
    let done = tokio::task::spawn_blocking(move || asks.arg("datagrams").output().unwrap());
    let done = within(done).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "1 echoed\n100000 echoed\ndatagram echoed\n");
    assert_eq!(within(echoing).await.unwrap(), (11, b"done".to_vec()));
}
