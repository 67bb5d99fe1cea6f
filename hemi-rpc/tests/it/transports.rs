//! The same over TLS, Unix sockets and by HTTP.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_rpc::{Client, ClientConfig, CodecId, Endpoint, RawPayload, RpcError};
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{Program, TempDir, free_port};
use tokio::runtime::Builder;

use crate::go::go_peer;
use crate::server::{LONG, serve, serve_config};
use crate::services::{Args, Reply};

async fn echo(client: &Client, text: &str) -> Result<String, RpcError> {
    let ask = client.ask("Arith", "Echo").codec(CodecId::RAW);
    let payload = RawPayload(text.to_owned().into());
    let echoed: RawPayload = ask.call(&payload).await?;
    Ok(String::from_utf8(echoed.0.to_vec()).unwrap())
}

fn block_on<F: Future>(future: F) -> F::Output {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn trusting(ca: &Path) -> ClientConfig {
    let mut connector = ConnectorConfig::default();
    connector.tls_trusted_ca.0.push(ca.to_owned());
    let tls = Some(Arc::new(Connector::with_paths(connector, &[])));
    ClientConfig { tls, connect_timeout: LONG, ..ClientConfig::default() }
}

#[test]
fn connections_may_be_encrypted() {
    let ca = Authority::new("rpc");
    let identity = ca.server(&["localhost"], KeyKind::Ecdsa);
    let server = serve_config(&format!(
        r#"stage {{
            echoes "Arith" {{}}
            rpcxServer "main" {{
                .address = "127.0.0.1:0"
                .services = ("Arith")
                .tlsMode = true
                .tlsCertificate = "{}"
                .tlsPrivateKey = "{}"
            }}
        }}"#,
        identity.certificate.display(),
        identity.key.display(),
    ));
    let endpoint = Endpoint::Tcp(format!("localhost:{}", server.addr().port()));
    block_on(async {
        let client = Client::new(endpoint.clone(), trusting(&ca.certificate()));
        assert_eq!(echo(&client, "secret").await.unwrap(), "secret");
        assert_eq!(echo(&client, &"x".repeat(100_000)).await.unwrap().len(), 100_000);
        let hrpc = format!("hrpc@{endpoint}").parse().unwrap();
        let client = Client::new(hrpc, trusting(&ca.certificate()));
        assert_eq!(echo(&client, &"x".repeat(1_000_000)).await.unwrap().len(), 1_000_000);
        let stranger = Authority::new("stranger");
        let client = Client::new(endpoint.clone(), trusting(&stranger.certificate()));
        let refused = echo(&client, "secret").await.unwrap_err();
        assert!(matches!(refused, RpcError::Unreachable(_)), "{refused:?}");
        // In the clear there is no answer.
        let client = Client::new(endpoint, ClientConfig::default());
        assert!(matches!(echo(&client, "open").await, Err(RpcError::Lost(_))));
    });
}

#[test]
fn a_certificate_is_needed() {
    let mut registry = hemi_core::Registry::new();
    hemi_rpc::register(&mut registry);
    let config =
        "stage { rpcxServer \"a\" { .address = \":1\"  .services = ()  .tlsMode = true } }";
    let source = hemi_core::config::Source::text("test.conf", config);
    let refused = hemi_core::check(&registry, &source, &hemi_core::config::Constants::default());
    let text = refused.unwrap_err().to_string();
    assert!(
        text.contains("connections are to be encrypted, but there is no certificate"),
        "{text}"
    );
}

#[test]
fn sockets_may_be_files() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rpc.sock");
    let _server = serve_config(&format!(
        r#"stage {{
            echoes "Arith" {{}}
            rpcxServer "main" {{ .address = "{}"  .services = ("Arith") }}
        }}"#,
        path.display()
    ));
    let client = Client::to(&format!("unix@{}", path.display())).unwrap();
    assert_eq!(block_on(echo(&client, "here")).unwrap(), "here");
    let client = Client::to(&format!("hrpc@{}", path.display())).unwrap();
    assert_eq!(block_on(echo(&client, "there")).unwrap(), "there");
}

#[test]
fn http_is_a_way_in() {
    let server = serve();
    let mut caller = server.connect();
    // Slowly, by somebody who knows no answer yet.
    for byte in b"CONNECT /_rpcx_ HTTP/1.0\n\n" {
        caller.send([*byte]);
    }
    caller.expect(b"HTTP/1.0 200 Connected to rpcx\n\n");
    let sent = crate::server::call(1, "Mul", r#"{"A":2,"B":3}"#);
    assert_eq!(caller.send(sent).answer().reply::<Reply>().c, 6);
    server.connect().send("CONNECT example.org:443 HTTP/1.1\r\n\r\n").expect_close();
    let mul = async |client: Client| {
        let reply = client.ask("Arith", "Mul").call(&Args { a: 4, b: 5 }).await;
        reply.map(|reply: Reply| reply.c)
    };
    let client = Client::to(&format!("http@{}", server.addr())).unwrap();
    assert_eq!(block_on(mul(client)).unwrap(), 20);
    // Go, both ways.
    let Some(peer) = go_peer() else { return };
    let output = Command::new(&peer).args(["http", &server.addr().to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let addr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let mut command = Command::new(&peer);
    command.args(["serve-http", &format!("{addr}")]);
    let _program = Program::start(command, addr).unwrap();
    let client = Client::to(&format!("http@{addr}")).unwrap();
    assert_eq!(block_on(mul(client)).unwrap(), 20);
}
