//! WebSockets of clients that speak HTTP/2 and HTTP/3, to a node of HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::ext::Protocol;
use hemi_core::quic::quinn;
use hemi_test::tls::{Authority, KeyKind};
use http::{Method, Request};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use tokio::time::timeout;

use super::{PATIENCE, node, proxy};
use crate::server::{Running, load};

/// "hello" in a frame of a client, masked with zeros; what comes back for it.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
const HELLO_BACK: &[u8] = b"\x81\x05hello";

/// A close with 1000, both ways.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
const CLOSE_BACK: &[u8] = b"\x88\x02\x03\xe8";

/// A node of ours that echoes at `/socket`, and speaks HTTP/1.1 only.
fn echo() -> Running {
    let config = r#"stage {
        webapp "origin" { .hostnames = ("*")  rule $path == "/socket" { echo {} } }
        httpxServer "main" { .address = "127.0.0.1:0"  .webapps = ("origin")  .http2 = false }
    }"#;
    load(1, config).unwrap_or_else(|e| panic!("{e}"))
}

fn proxy_to(node: SocketAddr, webapp: &str, server: &str) -> Running {
    let config = format!(
        r#"stage {{
            http1Backend "b" {{ node {{ .address = "{node}" }} }}
            webapp "site" {{ .hostnames = ("*")  {webapp}  rule {{ httpProxy {{ .toBackend = "b" }} }} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site")  {server} }}
        }}"#
    );
    load(1, &config).unwrap_or_else(|e| panic!("{e}"))
}

/// Says hello to `/socket` on a stream of HTTP/2, and closes.
pub(crate) async fn by_http2(server: SocketAddr) {
    let stream = tokio::net::TcpStream::connect(server).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    // What is answered first tells what the server takes.
    let (first, _) =
        client.send_request(Request::get("http://site.test/").body(()).unwrap(), true).unwrap();
    first.await.unwrap();
    assert!(client.is_extended_connect_protocol_enabled());
    let mut head = Request::new(());
    *head.method_mut() = Method::CONNECT;
    *head.uri_mut() = "http://site.test/socket".parse().unwrap();
    head.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    head.extensions_mut().insert(Protocol::from_static("websocket"));
    let (answer, mut sending) = client.send_request(head, false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut content = answer.into_body();
    let mut said = Vec::new();
    for (frame, expected) in [(HELLO, HELLO_BACK), (CLOSE, CLOSE_BACK)] {
        sending.send_data(Bytes::from_static(frame), false).unwrap();
        while said.len() < expected.len() {
            let piece = content.data().await.unwrap().unwrap();
            content.flow_control().release_capacity(piece.len()).unwrap();
            said.extend_from_slice(&piece);
        }
        assert_eq!(said, expected);
        said.clear();
    }
    let rest = content.data().await;
    assert!(rest.is_none_or(|piece| piece.is_ok_and(|piece| piece.is_empty())));
}

#[tokio::test]
async fn from_http2_to_http1() {
    let origin = echo();
    let server = proxy_to(origin.addr(), "", ".h2cPriorKnowledge = true");
    timeout(PATIENCE, by_http2(server.addr())).await.unwrap();
    let Some(node) = node() else { return };
    let server = proxy("http1Backend", &node, "", ".h2cPriorKnowledge = true");
    timeout(PATIENCE, by_http2(server.addr())).await.unwrap();
}

/// An extended CONNECT in a frame: names by the static table (RFC 9204, appendix A) as far as it has them.
fn connect() -> Vec<u8> {
    let fields: [&[u8]; 5] = [
        b"\0\0\xcf\xd7",
        b"\x50\x08one.test",
        b"\x51\x07/socket",
        b"\x27\x02:protocol\x09websocket",
        b"\x27\x0esec-websocket-version\x0213",
    ];
    let fields = fields.concat();
    let mut frame = vec![0x01, 0x40, fields.len() as u8];
    frame.extend(fields);
    frame
}

/// Says hello to `/socket` on a stream of HTTP/3, and closes: raw bytes, for the crate `h3` knows no WebSockets.
pub(crate) async fn by_http3(server: SocketAddr, ca: &Authority) {
    let mut tls = ca.trusted_by(&[&rustls::version::TLS13], None);
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    let quic = endpoint.connect(server, "one.test").unwrap().await.unwrap();
    let mut control = quic.open_uni().await.unwrap();
    control.write_all(&[0x00, 0x04, 0x00]).await.unwrap();
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    send.write_all(&connect()).await.unwrap();
    let mut frame = async || {
        let mut head = [0; 2];
        recv.read_exact(&mut head).await.unwrap();
        let mut len = usize::from(head[1] & 0x3f);
        if head[1] >= 0x40 {
            let mut low = [0];
            recv.read_exact(&mut low).await.unwrap();
            len = len << 8 | usize::from(low[0]);
        }
        let mut payload = vec![0; len];
        recv.read_exact(&mut payload).await.unwrap();
        (head[0], payload)
    };
    let (kind, head) = frame().await;
    assert_eq!((kind, head[2]), (0x01, 0xd9), "the status is 200");
    for (message, expected) in [(HELLO, HELLO_BACK), (CLOSE, CLOSE_BACK)] {
        send.write_all(&[0x00, message.len() as u8]).await.unwrap();
        send.write_all(message).await.unwrap();
        let mut said = Vec::new();
        while said.len() < expected.len() {
            let (kind, payload) = frame().await;
            assert_eq!(kind, 0x00);
            said.extend(payload);
        }
        assert_eq!(said, expected);
    }
    assert_eq!(recv.read_to_end(100).await.unwrap(), b"");
}

#[tokio::test]
async fn from_http3_to_http1() {
    let ca = Authority::new("ca");
    let identity = ca.server(&["one.test"], KeyKind::Ecdsa);
    let origin = echo();
    let properties = ".tlsMode = true  .http3 = true";
    let server = proxy_to(origin.addr(), &identity.properties(), properties);
    timeout(PATIENCE, by_http3(server.addr(), &ca)).await.unwrap();
    let Some(node) = node() else { return };
    let server = proxy("http1Backend", &node, &identity.properties(), properties);
    timeout(PATIENCE, by_http3(server.addr(), &ca)).await.unwrap();
}
