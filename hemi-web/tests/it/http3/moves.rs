//! Connections whose clients move, whose servers leave, and which leave HTTP.

use std::net::UdpSocket;

use http::Request;

use super::client::{Client, Raw, Setting, block_on};

#[test]
fn clients_may_move() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        // One of many addresses is another core's business, surely.
        for _ in 0..12 {
            assert_eq!(client.get("/now").await.text(), "now");
            client.endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            assert_eq!(client.get("/stream/10/10000").await.content.len(), 100_000);
        }
    });
}

#[test]
fn a_reload_ends_no_connection_before_its_requests() {
    let setting = Setting::new();
    let mut site = setting.site("");
    block_on(async {
        let old = Client::connect(&setting, &site).await;
        assert_eq!(old.get("/now").await.text(), "now");
        let waiting = tokio::spawn({
            let old = old.clone();
            async move { old.get("/wait/1500").await.text() }
        });
        // Let it arrive.
        assert_eq!(old.get("/wait/1").await.text(), "waited");
        let config = setting.config("");
        site.load(&config).unwrap();
        // The stage before may have taken a connection at the last moment, and send it away.
        let ask_anew = async || {
            let new = Client::connect(&setting, &site).await;
            new.try_request(Request::get("https://one.test/now"), &[], None).await
        };
        while ask_anew().await.is_err() {}
        assert_eq!(waiting.await.unwrap(), "waited");
        // The old one was told to leave.
        old.quic.closed().await;
        assert_eq!(ask_anew().await.unwrap().text(), "now");
    });
}

/// An extended CONNECT of `shout`: by the static table but for `:protocol`, `:authority` and `:path`.
const SHOUT: &[u8] = b"\x01\x20\0\0\xcf\xd7\x50\x08one.test\xc1\x27\x02:protocol\x05shout";

#[test]
fn streams_may_leave_http() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(&[0x00, 0x04, 0x00]).await;
        let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
        send.write_all(SHOUT).await.unwrap();
        send.write_all(b"\x00\x02he\x00\x03llo").await.unwrap();
        let mut head = [0; 3];
        recv.read_exact(&mut head).await.unwrap();
        assert_eq!(head[0], 0x01);
        let mut rest = vec![0; usize::from(head[1]) - 1];
        recv.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest[1], 0xd9, "the status is 200");
        let mut said = Vec::new();
        while !said.ends_with(b"LLO") {
            let mut frame = [0; 2];
            recv.read_exact(&mut frame).await.unwrap();
            let mut text = vec![0; usize::from(frame[1])];
            recv.read_exact(&mut text).await.unwrap();
            said.extend_from_slice(&text);
        }
        assert_eq!(said, b"HELLO");
        send.finish().unwrap();
        assert_eq!(recv.read_to_end(100).await.unwrap(), b"");
    });
}
