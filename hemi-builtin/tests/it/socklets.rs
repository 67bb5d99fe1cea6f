//! The socklets `echo` and `broadcast`, spoken to by our client and by those that others wrote.

mod sock_proxy;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use hemi_proto::websocket::{Header, Opcode};
use hemi_test::TempDir;
use hemi_test::peer::modules;
use hemi_test::tls::{Authority, KeyKind};
use hemi_web::CloseCode;
use hemi_web::testing::TestSocket;

use crate::server::{load, mistake, site};

const PATIENCE: Duration = Duration::from_secs(30);

const RULES: &str = r#"
    rule $path == "/echo" { echo {} }
    rule $path == "/deflate" { echo { .compression = "stateful"  .compressionWindow = 12  .compressFrom = 1 } }
    rule $path == "/small" { echo { .maxMessageSize = 1K } }
    rule $path ^= "/rooms/" { broadcast { .room = $path  .maxRooms = 2  .maxMembers = 2 } }
    rule $path == "/all" { broadcast { .toSender = true } }
"#;

#[tokio::test]
async fn what_comes_goes_to_the_others_in_the_room() {
    let server = site("", RULES);
    let enter = async |path| TestSocket::connect(server.addr(), path).await;
    let mut ann = enter("/rooms/a").await.unwrap();
    let mut ben = enter("/rooms/a").await.unwrap();
    let mut eve = enter("/rooms/b").await.unwrap();
    // Who is answered a ping has been let in.
    for client in [&mut ann, &mut ben, &mut eve] {
        client.frame(Header::whole(Opcode::Ping), b"").await.unwrap();
        client.incoming().await.unwrap();
    }
    for (n, from) in [0, 1, 0, 1].into_iter().enumerate() {
        let (from, to) = if from == 0 { (&mut ann, &mut ben) } else { (&mut ben, &mut ann) };
        from.send(n.to_string()).await.unwrap();
        assert_eq!(to.recv().await.unwrap(), Some(n.to_string().into()));
    }
    // The room is full, and there are no more rooms.
    for path in ["/rooms/a", "/rooms/c"] {
        let error = enter(path).await.unwrap_err().to_string();
        assert_eq!(error, "answered 503 Service Unavailable");
    }
    // One that all have left makes room for another.
    eve.close(CloseCode::NORMAL).await.unwrap();
    eve.closed().await.unwrap();
    eve.ended().await.unwrap();
    // It is left after the client has seen the end.
    let entered = async {
        loop {
            if let Ok(eve) = enter("/rooms/c").await {
                return eve;
            }
        }
    };
    let mut eve = tokio::time::timeout(PATIENCE, entered).await.unwrap();
    eve.frame(Header::whole(Opcode::Ping), b"").await.unwrap();
    eve.incoming().await.unwrap();
    ann.send("still here").await.unwrap();
    assert_eq!(ben.recv().await.unwrap(), Some("still here".into()));

    let mut alone = enter("/all").await.unwrap();
    alone.send("to all").await.unwrap();
    assert_eq!(alone.recv().await.unwrap(), Some("to all".into()));
}

#[test]
fn mistakes_are_told() {
    #[rustfmt::skip]
    let rows = [
        (r#"echo { .compression = "gzip" }"#, "none of \"off\", \"stateless\" and \"stateful\""),
        ("echo { .compressionWindow = 8 }", "8 is not from 9"),
        (r#"broadcast { .slow = "wait" }"#, "neither \"close\" nor \"skip\""),
    ];
    for (part, mistake_of) in rows {
        let told = mistake("", &format!("rule {{ {part} }}"));
        assert!(told.contains(mistake_of), "{told}");
    }
}

#[test]
fn what_asks_for_no_websocket_is_left_to_others() {
    let server = site("", "rule { echo {}  .returnCode = 204 }");
    let mut client = server.connect();
    client
        .send("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        .unwrap();
    assert_eq!(client.read_response().unwrap().status, 204);
    client.send("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 7\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().status, 426);
}

/// Runs a script with these arguments.
fn run(peer: Option<Command>, name: &str, script: &str, arguments: &[&str]) {
    let Some(mut peer) = peer else { return };
    let dir = TempDir::new().unwrap();
    let file = dir.write(name, script).unwrap();
    let output = peer.arg(file).args(arguments).output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_client_in_python_understands() {
    let server = site("", RULES);
    let address = server.addr().to_string();
    run(
        modules::python("websockets"),
        "client.py",
        include_str!("socklets/client.py"),
        &[&address],
    );
    server.quit();
}

#[test]
fn a_client_in_python_understands_over_tls() {
    let authority = Authority::new("ca");
    let identity = authority.server(&["localhost"], KeyKind::Ecdsa);
    let config = format!(
        r#"stage {{
            webapp "site" {{ .hostnames = ("localhost") {} {RULES} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site")  .tlsMode = true }}
        }}"#,
        identity.properties()
    );
    let server = load(2, &config).unwrap();
    let (address, file) = (format!("localhost:{}", server.addr().port()), authority.certificate());
    let arguments = [&*address, file.to_str().unwrap()];
    run(modules::python("websockets"), "client.py", include_str!("socklets/client.py"), &arguments);
    server.quit();
}

#[test]
fn a_client_in_python_understands_on_streams_of_http2() {
    if modules::python("websockets").is_none() {
        return;
    }
    let server = load(
        2,
        &format!(
            r#"stage {{
                webapp "site" {{ .hostnames = ("*") {RULES} }}
                httpxServer "main" {{
                    .address = "127.0.0.1:0"  .webapps = ("site")  .h2cPriorKnowledge = true
                }}
            }}"#
        ),
    )
    .unwrap();
    let port = server.addr().port().to_string();
    run(modules::python("h2"), "streams.py", include_str!("socklets/streams.py"), &["h2", &port]);
    server.quit();
}

#[test]
fn a_client_in_python_understands_on_streams_of_http3_and_is_told_to_leave() {
    if modules::python("websockets").is_none() {
        return;
    }
    let Some(mut python) = modules::python("aioquic") else { return };
    let authority = Authority::new("ca");
    let identity = authority.server(&["localhost"], KeyKind::Ecdsa);
    let config = |more: &str| {
        format!(
            r#"stage {{
                webapp "site" {{ .hostnames = ("localhost") {} {RULES} {more} }}
                httpxServer "main" {{
                    .address = "127.0.0.1:0"  .webapps = ("site")  .tlsMode = true  .http3 = true
                }}
            }}"#,
            identity.properties()
        )
    };
    let mut server = load(2, &config("")).unwrap();
    let script = authority.dir().write("streams.py", include_str!("socklets/streams.py")).unwrap();
    python.arg(script).arg("h3").arg(server.addr().port().to_string()).arg(authority.certificate());
    let mut client =
        python.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python starts");
    let mut said = String::new();
    BufReader::new(client.stdout.take().unwrap()).read_line(&mut said).unwrap();
    if said == "reload\n" {
        server.reload(&config("rule { .returnCode = 204 }"));
    }
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.quit();
}

#[test]
fn a_client_in_javascript_understands() {
    let server = site("", RULES);
    let address = server.addr().to_string();
    run(modules::node("ws"), "client.js", include_str!("socklets/client.js"), &[&address]);
    server.quit();
}

#[tokio::test]
async fn a_reload_sends_clients_to_the_new_stage() {
    let config = |rules: &str| {
        format!(
            r#"stage {{
                webapp "site" {{ .hostnames = ("*") {rules} }}
                httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site") }}
            }}"#
        )
    };
    let mut server = load(2, &config(RULES)).unwrap();
    let mut client = TestSocket::connect(server.addr(), "/echo").await.unwrap();
    for n in 0..3 {
        client.send("before").await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some("before".into()));
        server.reload(&config(&format!("{RULES} rule {{ .returnCode = 20{n} }}")));
        // What a client says that has not heard of it yet is no mistake.
        client.send("meanwhile").await.unwrap();
        assert_eq!(client.closed().await.unwrap().unwrap().code, CloseCode::GOING_AWAY);
        client.ended().await.unwrap();
        client = TestSocket::connect(server.addr(), "/echo").await.unwrap();
    }
}
