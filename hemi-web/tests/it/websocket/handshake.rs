//! Who gets a WebSocket, and who does not.

use hemi_test::raw;
use hemi_web::WebSocketConfig;
use hemi_web::testing::TestSocket;

use super::{server, server_with};

const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";

#[test]
fn what_asks_in_another_way_is_answered_in_http() {
    let server = server();
    let upgrade = "connection: keep-alive, Upgrade\r\nupgrade: WebSocket";
    let version = "sec-websocket-version: 13";
    #[rustfmt::skip]
    let rows = [
        (format!("{upgrade}\r\n{version}\r\n{KEY}"), 101),
        (String::new(), 426),
        (format!("upgrade: websocket\r\n{version}\r\n{KEY}"), 426),
        (format!("connection: upgrade\r\nupgrade: h2c\r\n{version}\r\n{KEY}"), 426),
        (format!("{upgrade}\r\n{KEY}"), 426),
        (format!("{upgrade}\r\nsec-websocket-version: 8\r\n{KEY}"), 426),
        (format!("{upgrade}\r\n{version}"), 400),
        (format!("{upgrade}\r\n{version}\r\nsec-websocket-key: short"), 400),
        (format!("{upgrade}\r\n{version}\r\n{KEY}\r\n{KEY}"), 400),
    ];
    for (fields, status) in rows {
        let mut client = raw::Client::connect(server.address()).unwrap();
        let gap = if fields.is_empty() { "" } else { "\r\n" };
        client.send(format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}{gap}\r\n")).unwrap();
        let reply = client.read_response().unwrap();
        assert_eq!(reply.status, status, "{fields}");
        if status == 426 {
            assert_eq!(reply.header("sec-websocket-version"), Some("13"));
            assert_eq!(reply.header("upgrade"), Some("websocket"));
        }
        if status == 101 {
            let accept = reply.header("sec-websocket-accept");
            assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            assert_eq!(reply.header("connection"), Some("upgrade"));
        }
    }
}

#[tokio::test]
async fn pages_of_other_sites_may_not_connect_unless_they_may() {
    let known = "https://shop.test".to_owned();
    let config = WebSocketConfig { origins: vec![known], ..WebSocketConfig::default() };
    let all = WebSocketConfig { origins: vec!["*".to_owned()], ..WebSocketConfig::default() };
    let [strict, some, all] = [WebSocketConfig::default(), config, all].map(server_with);
    let same = |server: &hemi_web::testing::Server| format!("http://{}", server.address());
    #[rustfmt::skip]
    let rows = [
        (&strict, same(&strict), true), (&strict, "https://shop.test".into(), false),
        (&strict, "null".into(), false), (&strict, "http://127.0.0.1".into(), false),
        (&some, same(&some), true), (&some, "https://shop.test".into(), true),
        (&some, "http://shop.test".into(), false), (&some, "https://shop.test.evil.test".into(), false),
        (&all, "https://evil.test".into(), true), (&all, "null".into(), true),
    ];
    for (server, origin, welcome) in rows {
        let client = TestSocket::connect_with(server.address(), "/", &[("origin", &origin)]).await;
        assert_eq!(client.is_ok(), welcome, "{origin}");
    }
}
