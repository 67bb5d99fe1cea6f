//! Datagrams of requests that have left HTTP, over each version of it.

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Registry, Result};
use hemi_proto::capsule;
use hemi_web::{Reply, Request, Response, Socklet, SockletRegistry};
use http::header::{HeaderValue, UPGRADE};
use serde::Deserialize;

use crate::http2::client::{DATA, END_STREAM, HEADERS, Http2, IN_THE_CLEAR, head};
use crate::http3::client::{Raw, Setting, block_on};
use crate::site::Site;

pub(crate) fn register(registry: &mut Registry) {
    registry.socklet::<Packets>();
}

/// After the upgrade to `packets` sends each datagram back, in capitals.
#[derive(Debug, Deserialize, Explain)]
struct Packets {}

impl Component for Packets {
    const SIGN: &'static str = "packets";
    type Config = Self;

    fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(config)
    }
}

impl Lifecycle for Packets {}

impl Socklet for Packets {
    async fn accept(&self, req: &mut Request) -> Reply {
        if req.header("upgrade") != Some("packets") {
            return Reply::Next;
        }
        let response = Response::upgrade(|conn| async move {
            let mut datagrams = conn.into_datagrams();
            while let Ok(Some(datagram)) = datagrams.recv().await {
                if datagrams.send(&datagram.to_ascii_uppercase()).await.is_err() {
                    return;
                }
            }
            let _ = datagrams.send(b"end").await;
        });
        response.field(UPGRADE, HeaderValue::from_static("packets")).into()
    }
}

/// A capsule of a type that nobody knows, and datagrams as capsules.
fn capsules(datagrams: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    capsule::put(0x2843_7a79, &[1; 100_000], &mut bytes);
    for datagram in datagrams {
        capsule::put(capsule::DATAGRAM, datagram, &mut bytes);
    }
    bytes
}

#[test]
fn they_are_capsules_over_http_1() {
    let site = Site::with("");
    let mut client = site.connect();
    let head = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: packets\r\n\r\n";
    client.send(head).unwrap();
    assert_eq!(client.read_response().unwrap().status, 101);
    client.send(capsules(&[b"one", b"", b"two"])).unwrap();
    assert_eq!(client.read_exact(12).unwrap(), b"\0\x03ONE\0\0\0\x03TWO");
    // A capsule that is cut off is no end.
    client.send([0, 5, b'x']).unwrap();
    client.finish().unwrap();
    assert_eq!(client.read_to_end().unwrap(), b"\0\x03end");
}

#[test]
fn they_are_capsules_over_http_2() {
    let site = Site::with(IN_THE_CLEAR);
    let mut client = Http2::open(&site);
    let mut lines = [&head("CONNECT", "/")[..], &[(":protocol", "packets")]].concat();
    lines.swap(0, 4);
    client.request(1, 0, &lines);
    assert!(!client.expect(HEADERS).ends_stream());
    client.send(DATA, 0, 1, b"\0\x03o");
    client.send(DATA, END_STREAM, 1, b"ne");
    assert_eq!(client.expect(DATA).payload, b"\0\x03ONE");
    assert_eq!(client.expect(DATA).payload, b"\0\x03end");
    assert!(client.expect(DATA).ends_stream());
}

/// An extended CONNECT to `packets`, by the static table but for `:protocol`, `:authority` and `:path`.
const CONNECT: &[u8] = b"\x01\x22\0\0\xcf\xd7\x50\x08one.test\xc1\x27\x02:protocol\x07packets";

#[test]
fn they_are_those_of_quic_over_http_3() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        // By settings the client says that it takes them.
        for (settings, takes) in [(&[0x00, 0x04, 0x02, 0x33, 1][..], true), (&[0, 4, 0], false)] {
            let client = Raw::connect(&setting, site.addr()).await;
            let _control = client.say(settings).await;
            let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
            send.write_all(CONNECT).await.unwrap();
            let mut head = [0; 2];
            recv.read_exact(&mut head).await.unwrap();
            let mut fields = vec![0; usize::from(head[1])];
            recv.read_exact(&mut fields).await.unwrap();
            assert_eq!((head[0], fields[2]), (0x01, 0xd9), "the status is 200");
            // One of a request that there is not is lost, as one of this may be.
            client.quic.send_datagram_wait((&b"\x05gone"[..]).into()).await.unwrap();
            client.quic.send_datagram_wait((&b"\0quic"[..]).into()).await.unwrap();
            send.write_all(b"\0\x09\0\x07capsule").await.unwrap();
            let mut said = Vec::new();
            for _ in 0..2 {
                if takes {
                    let datagram = client.quic.read_datagram().await.unwrap();
                    assert_eq!(datagram[0], 0);
                    said.push(datagram[1..].to_vec());
                } else {
                    let mut frame = [0; 4];
                    recv.read_exact(&mut frame).await.unwrap();
                    let mut datagram = vec![0; usize::from(frame[3])];
                    recv.read_exact(&mut datagram).await.unwrap();
                    said.push(datagram);
                }
            }
            said.sort();
            assert_eq!(said, [&b"CAPSULE"[..], b"QUIC"]);
        }
    });
}

#[test]
fn what_is_none_ends_an_http_3_connection() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(&[0x00, 0x04, 0x02, 0x33, 1]).await;
        let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
        send.write_all(CONNECT).await.unwrap();
        recv.read_exact(&mut [0; 2]).await.unwrap();
        client.quic.send_datagram_wait((&b"\xc0"[..]).into()).await.unwrap();
        assert_eq!(client.closed().await, 0x33);
    });
}
