//! Clients that come by way of proxies which speak the PROXY protocol.

use hemi_test::raw::Client;

use crate::server::{Running, load, site_on};

fn serve(from: &str) -> Running {
    let config = format!(
        r#"stage {{
            webapp "site" {{ .hostnames = ("*")
                rule {{ headers {{ .setResponse = ["x-from": $remoteAddr + ":" + $remotePort] }} }}
                rule {{ .returnCode = 200  .returnText = "ok" }}
            }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site")  .deferAccept = 0s
                .proxyProtocolFrom = ({from}) }}
        }}"#
    );
    load(1, &config).unwrap_or_else(|e| panic!("{e}"))
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn from(client: &mut Client) -> String {
    client.read_response().unwrap().header("x-from").unwrap().to_owned()
}

#[test]
fn a_proxy_that_is_trusted_says_who_the_client_is() {
    let server = serve("\"127.0.0.1\"");
    let version1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n".to_vec();
    let mut version2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
    version2.extend([192, 0, 2, 1, 192, 0, 2, 2, 0x0f, 0xa0, 1, 0xbb, 4, 0, 0]);
    for header in [version1, version2] {
        // Together with the request, before it, and byte by byte.
        for size in [1000, header.len(), 1] {
            let mut client = server.connect();
            let all = [&header[..], REQUEST.as_bytes()].concat();
            all.chunks(size).for_each(|piece| client.send(piece).unwrap());
            assert_eq!(from(&mut client), "192.0.2.1:4000", "{size}");
            // Further requests are the same client's.
            client.send(REQUEST).unwrap();
            assert_eq!(from(&mut client), "192.0.2.1:4000");
        }
    }
}

#[test]
fn what_a_proxy_says_for_itself_is_its_own() {
    let server = serve("\"127.0.0.0/8\"");
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut client = server.connect();
        client.send([header, REQUEST.as_bytes()].concat()).unwrap();
        assert!(from(&mut client).starts_with("127.0.0.1:"));
    }
}

#[test]
fn a_proxy_that_says_nothing_is_not_served() {
    let server = serve("\"127.0.0.1\"");
    for bytes in [REQUEST, "PROXY TCP4 nobody\r\n", "\r\n\r\n"] {
        let mut client = server.connect();
        client.send(bytes).unwrap();
        client.finish().unwrap();
        assert!(client.expect_close().is_ok(), "{bytes:?}");
    }
}

#[test]
fn others_are_not_believed() {
    let server = serve("\"192.0.2.0/24\", \"unix\"");
    let mut client = server.connect();
    client.send(REQUEST).unwrap();
    assert!(from(&mut client).starts_with("127.0.0.1:"));
    let mut client = server.connect();
    client.send(format!("PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n{REQUEST}")).unwrap();
    assert_eq!(client.read_response().unwrap().status, 400);
}

#[test]
fn nodes_are_told_who_the_client_is() {
    for version in ["v1", "v2"] {
        // The node is a server of ours that is told so.
        let node = serve("\"127.0.0.1\"");
        let backend = format!(
            "http1Backend \"b\" {{ .proxyProtocol = \"{version}\"  node {{ .address = \"{}\" }} }}",
            node.addr()
        );
        let front = site_on(1, &backend, "rule { httpProxy { .toBackend = \"b\" } }");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let mut client = front.connect();
            for _ in 0..2 {
                client.send(REQUEST).unwrap();
                seen.insert(from(&mut client));
            }
        }
        assert_eq!(seen.len(), 3, "{version}: {seen:?}");
    }
}
