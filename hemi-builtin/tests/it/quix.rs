//! The router `quixRouter`: connections of QUIC stay with their nodes, wherever their clients go.

mod terminated;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hemi_core::quic::quinn;
use hemi_test::peer::modules::python;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{Program, eventually};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, TransportConfig};
use tokio::time::timeout;

use crate::server::{Running, load};
use crate::udpx::quic::http3;
use crate::udpx::{LONG, counter};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/quix").join(name)
}

/// A router for `one.test`, with these nodes, and for `two.test`, with one.
fn router(properties: &str, one: &[Running], two: std::net::SocketAddr) -> Running {
    let nodes = one.iter().map(|node| format!("node {{ .address = \"{}\" }} ", node.addr()));
    let text = format!(
        r#"stage {{
            udpxBackend "one" {{ .balancer = "roundRobin"  {} }}
            udpxBackend "two" {{ node {{ .address = "{two}" }} }}
            quixRouter "main" {{ .address = "127.0.0.1:0"  {properties}
                case "one" $serverName == "one.test" {{ udpxProxy {{ .toBackend = "one" }} }}
                case "two" $serverName == "two.test" && $nextProto *= "h3" {{ udpxProxy {{ .toBackend = "two" }} }}
            }}
        }}"#,
        nodes.collect::<String>(),
    );
    load(2, &text).unwrap_or_else(|e| panic!("{e}"))
}

/// Three nodes of ours for `one.test`, each with a page of its own.
fn three(ca: &Authority) -> Vec<Running> {
    (1..=3).map(|n| http3(ca, "one.test", &format!("one {n}"))).collect()
}

/// The pages that aioquic gets, by a hello of so many bytes more than it would have.
pub(crate) fn ask(
    router: &Running,
    ca: &Authority,
    (host, more): (&str, usize),
    moves: &[&str],
) -> Vec<String> {
    let mut client = python("aioquic").unwrap();
    client.arg(script("client.py")).arg(router.addr().port().to_string()).arg(ca.certificate());
    let done = client.args([host, &more.to_string()]).args(moves).output().unwrap();
    let (said, error) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}{error}");
    said.lines().map(str::to_owned).collect()
}

#[test]
fn who_moves_stays_with_its_node() {
    let Some(mut server) = python("aioquic") else { return };
    let ca = Authority::new("ca");
    let identity = ca.server(&["two.test"], KeyKind::Ecdsa);
    server.arg(script("server.py")).arg(&identity.certificate).arg(&identity.key).arg("two");
    let other = Program::told(server).unwrap();
    let nodes = three(&ca);
    let router = router("", &nodes, other.addr());
    // To a node of ours, by an id that the router has seen, and by ones that it has not.
    let moves = ["stay", "port", "path", "port", "path", "stay"];
    for _ in 0..2 {
        let pages = ask(&router, &ca, ("one.test", 0), &moves);
        assert_eq!(pages.len(), 7);
        assert!(
            pages[0].starts_with("one ") && pages.iter().all(|page| *page == pages[0]),
            "{pages:?}"
        );
    }
    assert!(counter(&router, "sessions_moved") >= 8);
    // To one of others, whose ids tell nothing: as far as it is spoken to by one that was seen.
    let pages = ask(&router, &ca, ("two.test", 2000), &["port", "stay", "port", "port"]);
    assert_eq!(pages, ["two"; 5]);
}

/// A client whose connections come from one port.
fn endpoint(ca: &Authority) -> Endpoint {
    let mut tls = ca.trusted_by(&[&rustls::version::TLS13], None);
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    endpoint
}

/// The page of a site: as HTTP/3 in bytes, with names by the static table (RFC 9204, appendix A).
async fn get(conn: &Connection, host: &str) -> String {
    let (mut send, mut recv) = conn.open_bi().await.unwrap();
    let mut head = b"\x01\x0f\0\0\xd1\xd7\xc1\x50\x08".to_vec();
    head.extend_from_slice(host.as_bytes());
    send.write_all(&head).await.unwrap();
    send.finish().unwrap();
    let answer = recv.read_to_end(4096).await.unwrap();
    // Its pages have five bytes.
    let page = answer.last_chunk::<5>().unwrap_or_else(|| panic!("{answer:?}"));
    String::from_utf8_lossy(page).into_owned()
}

async fn connect(endpoint: &Endpoint, router: &Running, host: &str) -> Connection {
    let conn = endpoint.connect(router.addr(), host).unwrap().await.unwrap();
    let mut control = conn.open_uni().await.unwrap();
    control.write_all(&[0x00, 0x04, 0x00]).await.unwrap();
    // It must not end.
    std::mem::forget(control);
    conn
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(LONG * 6, future).await.expect("it took too long")
}

#[tokio::test]
async fn connections_of_one_port_have_nodes_of_their_own() {
    let ca = Authority::new("ca");
    let nodes = three(&ca);
    let other = http3(&ca, "two.test", "two 1");
    let router = router("", &nodes, other.addr());
    let endpoint = endpoint(&ca);
    let mut conns = Vec::new();
    for host in ["one.test", "two.test", "one.test", "one.test", "two.test"] {
        let conn = within(connect(&endpoint, &router, host)).await;
        let page = within(get(&conn, host)).await;
        assert!(page.starts_with(&host[..3]), "{page}");
        conns.push((host, conn, page));
    }
    // All at once, where they are and then elsewhere: with new ids, as clients have it that know that they move.
    for moves in 0..4 {
        for (host, conn, page) in &conns {
            assert_eq!(within(get(conn, host)).await, *page, "{moves}");
        }
        endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    }
    assert!(counter(&router, "sessions_opened") >= 5);
    assert!(counter(&router, "sessions_moved") >= 5);
}

#[tokio::test]
async fn a_reload_knows_who_moves_after_it() {
    let ca = Authority::new("ca");
    let nodes = three(&ca);
    let text = |properties: &str| {
        let nodes = nodes.iter().map(|node| format!("node {{ .address = \"{}\" }} ", node.addr()));
        format!(
            r#"stage {{
                udpxBackend "one" {{ .balancer = "roundRobin"  {} }}
                quixRouter "main" {{ .address = "127.0.0.1:0"  {properties}
                    case $serverName == "one.test" {{ udpxProxy {{ .toBackend = "one" }} }} }}
            }}"#,
            nodes.collect::<String>()
        )
    };
    let mut router = load(2, &text("")).unwrap_or_else(|e| panic!("{e}"));
    let endpoint = endpoint(&ca);
    let conn = within(connect(&endpoint, &router, "one.test")).await;
    let page = within(get(&conn, "one.test")).await;
    router.reload(&text(".maxSessions = 5000"));
    assert_eq!(within(get(&conn, "one.test")).await, page);
    for _ in 0..3 {
        endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert_eq!(within(get(&conn, "one.test")).await, page);
    }
    assert!(router.server().active() >= 1, "of the new stage");
}

/// What looks like a client's first packet, but is sealed by nobody.
fn forged(n: u32) -> Vec<u8> {
    let mut datagram = b"\xc3\0\0\0\x01\x08".to_vec();
    datagram.extend(u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    datagram.extend([0, 0, 0x44, 0x80]);
    datagram.resize(datagram.len() + 0x480, n as u8);
    datagram
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_have_so_many_sessions_and_keep_nobody_out() {
    let ca = Authority::new("ca");
    let node = http3(&ca, "one.test", "one 1");
    // All goes to the node, whoever is asked for: the worst that can be.
    let text = format!(
        r#"stage {{
            udpxBackend "one" {{ node {{ .address = "{}" }} }}
            quixRouter "main" {{ .address = "127.0.0.1:0"  .maxSessions = 40
                case {{ udpxProxy {{ .toBackend = "one" }} }} }}
        }}"#,
        node.addr()
    );
    let router = load(2, &text).unwrap_or_else(|e| panic!("{e}"));
    let endpoint = endpoint(&ca);
    let conn = within(connect(&endpoint, &router, "one.test")).await;
    assert_eq!(within(get(&conn, "one.test")).await, "one 1");
    // What the connection needs goes on meanwhile.
    let patiently =
        |what: &mut dyn FnMut() -> bool| tokio::task::block_in_place(|| eventually(LONG, what));
    let flooded = patiently(&mut || {
        for n in 0..100 {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let _ = socket.send_to(&forged(n), router.addr());
            // And what seems to be of a connection that nobody knows.
            let _ = socket
                .send_to(&[&[0x40 | n as u8 & 0x3f][..], &[n as u8; 40]].concat(), router.addr());
            // Too short to be anything.
            let other = UdpSocket::bind("127.0.0.1:0").unwrap();
            let _ = other.send_to(&[0x40; 9], router.addr());
        }
        counter(&router, "sessions_evicted") >= 900
    });
    assert!(flooded, "{:?}", router.server().counters());
    assert!(counter(&router, "datagrams_unmatched") > 0);
    assert!(patiently(&mut || router.server().active() <= 41), "{}", router.server().active());
    assert_eq!(within(get(&conn, "one.test")).await, "one 1");
    endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    assert_eq!(within(get(&conn, "one.test")).await, "one 1");
    let new = within(connect(&endpoint, &router, "one.test")).await;
    assert_eq!(within(get(&new, "one.test")).await, "one 1");
}

#[tokio::test]
async fn where_sites_are_named_a_flood_has_no_sessions() {
    let ca = Authority::new("ca");
    let nodes = [http3(&ca, "one.test", "one 1")];
    let router = router("", &nodes, nodes[0].addr());
    let unmatched = || counter(&router, "datagrams_unmatched");
    let flooded = eventually(LONG, || {
        for n in 0..100 {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let _ = socket.send_to(&forged(n), router.addr());
            let _ = socket.send_to(&[n as u8; 1200], router.addr());
        }
        unmatched() >= 500
    });
    assert!(flooded, "{:?}", router.server().counters());
    assert_eq!((router.server().active(), counter(&router, "sessions_opened")), (0, 0));
}
