//! Connections that leave HTTP.

use std::time::Duration;

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Registry, Result};
use hemi_web::{Reply, Request, Response, Socklet, SockletRegistry};
use http::header::{HeaderValue, UPGRADE};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::site::Site;

pub(crate) fn register(registry: &mut Registry) {
    registry.socklet::<Shout>();
}

/// After the upgrade to `shout` sends back what it gets, in capitals; `!` makes it panic. When the
/// server drains it says so, and stays.
#[derive(Debug, Deserialize, Explain)]
struct Shout {}

impl Component for Shout {
    const SIGN: &'static str = "shout";
    type Config = Self;

    fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(config)
    }
}

impl Lifecycle for Shout {}

impl Socklet for Shout {
    async fn accept(&self, req: &mut Request) -> Reply {
        if req.header("upgrade") != Some("shout") {
            return Reply::Next;
        }
        let response = Response::upgrade(|mut conn| async move {
            let mut buf = [0; 64];
            let draining = conn.draining();
            let mut draining = std::pin::pin!(draining);
            loop {
                let got = tokio::select! {
                    () = &mut draining => break,
                    got = conn.read(&mut buf) => got.unwrap_or(0),
                };
                if got == 0 {
                    return;
                }
                let text = buf[..got].to_ascii_uppercase();
                assert!(!text.contains(&b'!'), "shouted at");
                if conn.write_all(&text).await.is_err() {
                    return;
                }
            }
            let _ = conn.write_all(b"BYE").await;
            // Who does not leave though it took leave is cut.
            std::future::pending::<()>().await;
        });
        response.field(UPGRADE, HeaderValue::from_static("shout")).into()
    }
}

const HEAD: &str = "GET /now HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: shout\r\n";

#[test]
fn early_bytes_reach_the_other_protocol() {
    let site = Site::with("");
    for split in [true, false] {
        let mut client = site.connect();
        client.send(format!("{HEAD}\r\nearly ")).unwrap();
        if split {
            let reply = client.read_response().unwrap();
            assert_eq!((reply.status, reply.header("upgrade")), (101, Some("shout")));
            assert_eq!(reply.header("connection"), Some("upgrade"));
            client.send("late").unwrap();
        } else {
            client.send("late").unwrap();
            assert_eq!(client.read_response().unwrap().status, 101);
        }
        assert_eq!(client.read_exact(10).unwrap(), b"EARLY LATE");
        client.finish().unwrap();
        client.expect_close().unwrap();
    }
    site.expect_idle();
}

#[test]
fn what_stands_before_a_socklet_is_asked_before_it() {
    for (parts, status) in [("probe {}  shout {}", 200), ("shout {}  probe {}", 101)] {
        let site = Site::of(&format!(
            r#"stage {{
                webapp "w" {{ .hostnames = ("*")  rule {{ {parts} }} }}
                httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w") }}
            }}"#
        ));
        let mut client = site.connect();
        client.send(format!("{HEAD}\r\n")).unwrap();
        assert_eq!(client.read_response().unwrap().status, status, "{parts}");
    }
}

#[test]
fn who_may_not_upgrade_is_answered_in_http() {
    let site = Site::with("");
    #[rustfmt::skip]
    let rows: &[(&str, u16)] = &[
        // another protocol
        ("GET /now HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: whisper\r\n\r\n", 200),
        // not nominated
        ("GET /now HTTP/1.1\r\nhost: x\r\nupgrade: shout\r\n\r\n", 200),
        // HTTP/1.0
        ("GET /now HTTP/1.0\r\nconnection: upgrade, keep-alive\r\nupgrade: shout\r\n\r\n", 200),
        // with content, which would stand before the other protocol's first byte
        ("POST /read HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: shout\r\ncontent-length: 2\r\n\r\nab", 200),
    ];
    for (request, status) in rows {
        let mut client = site.connect();
        client.send(request).unwrap();
        assert_eq!(client.read_response().unwrap().status, *status, "{request}");
        client.send("GET /now HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().text(), "now", "{request}");
    }
}

#[test]
fn a_panic_after_the_upgrade_ends_the_connection_alone() {
    let site = Site::with("");
    let mut client = site.connect();
    client.send(format!("{HEAD}\r\n!")).unwrap();
    assert_eq!(client.read_response().unwrap().status, 101);
    client.expect_close().unwrap();
    site.expect_counter("panics", 1);
    site.expect_idle();
    site.expect_alive();
}

#[test]
fn an_upgraded_connection_may_last_longer_than_a_request() {
    let site = Site::with(".totalTimeout = 200ms");
    let mut upgraded = site.connect();
    upgraded.send(format!("{HEAD}\r\n")).unwrap();
    assert_eq!(upgraded.read_response().unwrap().status, 101);
    // A request that began later is cut.
    let mut client = site.connect();
    client.send("GET /wait/600000 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    site.expect_counter("total_timeout", 1);
    upgraded.send("still").unwrap();
    assert_eq!(upgraded.read_exact(5).unwrap(), b"STILL");
    assert_eq!(site.counter("total_timeout"), 1);
}

#[test]
fn an_upgraded_connection_hears_of_the_end_and_does_not_outlive_the_grace() {
    let site = Site::with("").grace(Duration::from_millis(300));
    let mut client = site.connect();
    client.send(format!("{HEAD}\r\n")).unwrap();
    assert_eq!(client.read_response().unwrap().status, 101);
    site.quit();
    assert_eq!(client.read_to_end().unwrap(), b"BYE");
}
