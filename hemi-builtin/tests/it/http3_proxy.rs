//! The backend `http3Backend`: requests on to servers that speak HTTP/3.

mod faults;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use hemi_test::tls::{Authority, Identity, KeyKind};
use hemi_test::{Program, eventually, free_port, peer};
use hemi_web::CloseCode;
use hemi_web::testing::TestSocket;

use crate::http2_proxy::{contents_of_all_sizes_pass, measured};
use crate::server::{Running, ask, load, mistake};

const PATIENCE: Duration = Duration::from_secs(60);

/// Who signs what nodes show.
struct Setting {
    ca: Authority,
    identity: Identity,
}

impl Setting {
    fn new() -> Self {
        let ca = Authority::new("ca");
        let identity = ca.server(&["node.test"], KeyKind::Ecdsa);
        Self { ca, identity }
    }

    /// An origin of ours over TCP and QUIC.
    fn origin(&self, properties: &str, rules: &str) -> Running {
        let http3 = if properties.contains(".http3") { "" } else { ".http3 = true" };
        let config = format!(
            r#"stage {{
                webapp "origin" {{ .hostnames = ("*")  .maxBodySize = 64M  {}  {rules} }}
                httpxServer "main" {{
                    .address = "127.0.0.1:0"  .webapps = ("origin")  .tlsMode = true  {http3}
                    {properties}
                }}
            }}"#,
            self.identity.properties()
        );
        load(1, &config).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A backend with this node, which is believed.
    fn backend(&self, node: SocketAddr, properties: &str) -> String {
        format!(
            r#"http3Backend "b" {{
                node {{ .address = "{node}" }}
                .tlsTrustedCa = "{}"  .tlsPeerName = "node.test"  {properties}
            }}"#,
            self.ca.certificate().display()
        )
    }

    fn proxy(&self, node: SocketAddr, properties: &str) -> Running {
        through(&self.backend(node, properties))
    }
}

/// Passes all on to this backend, which is named `b`.
fn through(backend: &str) -> Running {
    serve(backend, r#"rule { httpProxy { .toBackend = "b" } }"#)
}

/// A site with these rules beside this backend.
fn serve(backend: &str, rules: &str) -> Running {
    let config = format!(
        r#"stage {{
            {backend}
            webapp "site" {{ .hostnames = ("*")  .maxBodySize = 64M  {rules} }}
            httpxServer "main" {{
                .address = "127.0.0.1:0"  .webapps = ("site")  .h2cPriorKnowledge = true
            }}
        }}"#
    );
    load(1, &config).unwrap_or_else(|e| panic!("{e}"))
}

/// Connections by QUIC that a server has now.
fn connections(server: &Running) -> usize {
    measured(server, "hemi_server_quic_conns_active")
}

#[test]
fn requests_share_a_connection() {
    let setting = Setting::new();
    let origin = setting.origin("", "rule { mirror {} }");
    let server = setting.proxy(origin.addr(), "");
    contents_of_all_sizes_pass(&server);
    assert_eq!(connections(&origin), 1);
}

#[test]
fn a_head_says_the_same_in_another_version() {
    let rules = r#"rule $path == "/none" { .returnCode = 204 }
        rule { .returnCode = 200
            .returnText = $version + " " + $method + " " + $uri + " " + $authority + " " + $header_x_a }"#;
    let setting = Setting::new();
    let origin = setting.origin("", rules);
    let server = setting.proxy(origin.addr(), "");
    let text = |method: &str, lines: &[&str]| server.ask(method, "/a%20b?c=d", lines).text();
    assert_eq!(text("GET", &["X-A: 1"]), "HTTP/3.0 GET /a%20b?c=d site.test 1");
    assert_eq!(
        text("PURGE", &["Connection: x-a", "X-A: 1"]),
        "HTTP/3.0 PURGE /a%20b?c=d site.test "
    );
    let head = server.ask("HEAD", "/", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("content-length").is_some());
    assert_eq!(server.get("/none").status, 204);
}

#[test]
fn trailers_and_hints_pass() {
    let setting = Setting::new();
    let node = crate::upstream::Upstream::start(|_| {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n";
        let content = "2\r\nok\r\n0\r\nx-t: after\r\n\r\n";
        crate::upstream::Act::Answer(format!("{hints}{head}{content}").into_bytes())
    });
    let inner = format!(
        r#"stage {{
            http1Backend "b" {{ node {{ .address = "{}" }} }}
            webapp "origin" {{ .hostnames = ("*")  {}  rule {{ httpProxy {{ .toBackend = "b" }} }} }}
            httpxServer "main" {{
                .address = "127.0.0.1:0"  .webapps = ("origin")  .tlsMode = true  .http3 = true
            }}
        }}"#,
        node.addr(),
        setting.identity.properties()
    );
    let inner = load(1, &inner).unwrap_or_else(|e| panic!("{e}"));
    let server = setting.proxy(inner.addr(), "");
    let mut client = server.connect();
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n")
        .unwrap();
    let all = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    assert!(all.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n"), "{all}");
    assert!(all.ends_with("2\r\nok\r\n0\r\nx-t: after\r\n\r\n"), "{all}");
}

#[test]
fn nodes_are_believed_by_their_certificates() {
    let setting = Setting::new();
    let origin = setting.origin("", "rule { .returnCode = 200 }");
    assert_eq!(setting.proxy(origin.addr(), "").get("/").status, 200);
    let stranger = Setting::new();
    assert_eq!(stranger.proxy(origin.addr(), "").get("/").status, 502);
    let other = format!(
        r#"http3Backend "b" {{ node {{ .address = "{}" }}  .tlsTrustedCa = "{}"  .tlsPeerName = "other.test" }}"#,
        origin.addr(),
        setting.ca.certificate().display()
    );
    assert_eq!(through(&other).get("/").status, 502);
}

#[test]
fn who_speaks_no_http3_is_no_node() {
    let setting = Setting::new();
    let origin = setting.origin(".http3 = false", "rule { .returnCode = 200 }");
    let server = setting.proxy(origin.addr(), ".connectTimeout = 500ms");
    assert!((502..=504).contains(&server.get("/").status));
    let unix = through(&setting.backend(origin.addr(), "").replacen(
        &origin.addr().to_string(),
        "/nowhere/x.sock",
        1,
    ));
    assert_eq!(unix.get("/").status, 502);
    let told = mistake(
        &setting.backend(origin.addr(), ".proxyProtocol = \"v2\""),
        "rule { httpProxy { .toBackend = \"b\" } }",
    );
    assert!(told.contains("many clients"), "{told}");
}

#[tokio::test]
async fn a_websocket_goes_on() {
    let setting = Setting::new();
    let origin = setting.origin("", "rule $path == \"/echo\" { echo {} }");
    let passing = setting.proxy(origin.addr(), "");
    let rule = "rule $path == \"/echo\" { sockProxy { .toBackend = \"b\" } }";
    let by_messages = serve(&setting.backend(origin.addr(), ""), rule);
    for server in [&passing, &by_messages] {
        let mut socket = TestSocket::connect(server.addr(), "/echo").await.unwrap();
        for text in ["a".to_owned(), "b".repeat(100_000), "c".repeat(1_000_000)] {
            socket.send(text.clone()).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(text.into()));
        }
        socket.close(CloseCode::NORMAL).await.unwrap();
        assert!(socket.closed().await.unwrap().is_some());
        assert!(socket.ended().await.is_ok());
        let refused = TestSocket::connect(server.addr(), "/other").await.unwrap_err();
        assert_eq!(refused.to_string(), "answered 404 Not Found");
    }
    let rule = r#"rule { httpProxy { .toBackend = "b"  .upgrades = ("x") } }"#;
    let passing = serve(&setting.backend(origin.addr(), ""), rule);
    assert_eq!(passing.ask("GET", "/echo", &["connection: upgrade", "upgrade: x"]).status, 501);
}

#[test]
fn who_hangs_up_ends_a_websocket_on_both_sides() {
    let setting = Setting::new();
    let origin = setting.origin("", "rule { echo {} }");
    let server = setting.proxy(origin.addr(), "");
    let mut client = server.connect();
    let lines = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")).unwrap();
    let head = client.read_response_to_head().unwrap();
    assert_eq!(head.status, 101);
    // The one that the example of RFC 6455 has for this key.
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    drop(client);
    assert!(eventually(PATIENCE, || measured(&server, "hemi_server_conns_active") == 0));
    server.quit();
    assert!(eventually(PATIENCE, || connections(&origin) == 0));
}

#[test]
fn a_node_may_take_leave_between_requests() {
    let setting = Setting::new();
    let origin = setting.origin(".maxRequestsPerConn = 3", "rule { .returnCode = 200 }");
    let server = setting.proxy(origin.addr(), "");
    let mut client = server.connect();
    for n in 0..20 {
        let status = ask(&mut client, "POST", "/", &["content-length: 0"]).unwrap().status;
        assert_eq!(status, 200, "{n}");
    }
}

#[test]
fn connections_end_with_their_stage() {
    let setting = Setting::new();
    let origin = setting.origin("", "rule { .returnCode = 200 }");
    let server = setting.proxy(origin.addr(), "");
    assert_eq!(server.get("/").status, 200);
    assert_eq!(connections(&origin), 1);
    server.quit();
    assert!(eventually(PATIENCE, || connections(&origin) == 0));
}

/// An origin that others wrote.
#[test]
fn caddy_is_asked() {
    let Some(caddy) = peer("caddy") else { return };
    let setting = Setting::new();
    let (dir, identity) = (setting.ca.dir(), &setting.identity);
    let start = || {
        let port = free_port().unwrap();
        let config = format!(
            "{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n\
             https://node.test:{port} {{\n\ttls {} {}\n\trespond \"{{http.request.proto}} {{http.request.uri}}\"\n}}\n",
            identity.certificate.display(),
            identity.key.display()
        );
        let config = dir.write("Caddyfile", config).unwrap();
        let mut command = Command::new(&caddy);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
        command.env("HOME", dir.path()).env("XDG_DATA_HOME", dir.path());
        Program::start(command, SocketAddr::from(([127, 0, 0, 1], port)))
    };
    // Another program may have taken the port meanwhile.
    let program = (0..3).find_map(|_| start().ok()).expect("it starts");
    let server = through(&setting.backend(program.addr(), ""));
    let lines = [format!("host: node.test:{}", program.addr().port())];
    for n in 0..20 {
        let mut client = server.connect();
        client.send(format!("GET /{n} HTTP/1.1\r\n{}\r\n\r\n", lines[0])).unwrap();
        assert_eq!(client.read_response().unwrap().text(), format!("HTTP/3.0 /{n}"));
    }
}
