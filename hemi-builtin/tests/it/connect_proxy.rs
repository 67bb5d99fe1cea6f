//! The socklet `connectProxy`, asked over HTTP/2 by the crate `h2` and over HTTP/3 by aioquic.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use hemi_proto::capsule;
use hemi_test::TempDir;
use hemi_test::peer::modules::python;
use hemi_test::tls::{Authority, KeyKind};
use http::{Method, Request, StatusCode};
use tokio::net::TcpStream;

use crate::server::{Running, load, site};

/// A proxy with these properties, of servers with these.
fn proxy(properties: &str, webapp: &str, server: &str) -> Running {
    let text = format!(
        r#"stage {{
            webapp "w" {{ .hostnames = ("*")  {webapp}
                rule {{ connectProxy {{ .allowHosts = ("127.0.0.0/8")  {properties} }} }}
                rule {{ .returnCode = 200  .returnText = "a page" }}
            }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w")  {server} }}
        }}"#
    );
    load(2, &text).unwrap_or_else(|e| panic!("{e}"))
}

/// Sends back each datagram in capitals; ends at an empty one.
fn udp_echo() -> (SocketAddr, thread::JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let echo = thread::spawn(move || {
        let mut buf = [0; 2000];
        while let Ok((len @ 1.., from)) = socket.recv_from(&mut buf) {
            socket.send_to(&buf[..len].to_ascii_uppercase(), from).unwrap();
        }
    });
    (at, echo)
}

fn end(echo: (SocketAddr, thread::JoinHandle<()>)) {
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", echo.0).unwrap();
    echo.1.join().unwrap();
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
    })
}

async fn connect(proxy: &Running) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let (client, conn) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(conn);
    client.ready().await.unwrap()
}

/// What is answered to a request, and the stream if there is one.
async fn ask(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> (StatusCode, SendStream<Bytes>, RecvStream) {
    let (response, send) = client.send_request(request, false).unwrap();
    let (head, recv) = response.await.unwrap().into_parts();
    (head.status, send, recv)
}

/// A request for a stream, with this field `proxy-authorization`.
fn connect_to(at: SocketAddr, login: Option<&str>) -> Request<()> {
    let mut request = Request::builder().method(Method::CONNECT).uri(at.to_string());
    if let Some(login) = login {
        request = request.header("proxy-authorization", login);
    }
    request.body(()).unwrap()
}

fn basic(login: &str) -> String {
    let login = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, login);
    format!("Basic {login}")
}

async fn read_all(mut recv: RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = recv.data().await {
        let piece = piece.unwrap();
        recv.flow_control().release_capacity(piece.len()).unwrap();
        all.extend_from_slice(&piece);
    }
    all
}

const H2: &str = ".h2cPriorKnowledge = true";

#[test]
fn streams_go_over_http_2() {
    let origin = site("", "rule { .returnCode = 200  .returnText = $uri }");
    let proxy = proxy("", "", H2);
    block_on(async {
        let mut client = connect(&proxy).await;
        // Several on one connection.
        for path in ["/one", "/two"] {
            let (status, mut send, recv) = ask(&mut client, connect_to(origin.addr(), None)).await;
            assert_eq!(status, 200);
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            send.send_data(request.into(), false).unwrap();
            let answer = String::from_utf8(read_all(recv).await).unwrap();
            assert!(answer.ends_with(path), "{answer}");
        }
        // Who is elsewhere, nobody, or not there.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (host, expected) in [("10.0.0.1:80".parse().unwrap(), 403), (gone, 502)] {
            let (status, ..) = ask(&mut client, connect_to(host, None)).await;
            assert_eq!(status, expected, "{host}");
        }
    });
}

#[test]
fn only_who_logs_in_gets_through() {
    let origin = site("", "rule { .returnCode = 200  .returnText = $uri }");
    let dir = TempDir::new().unwrap();
    let tokens = dir.write("tokens", "mia:abcdefghijklmnop\ntom:qrstuvwxyz0123456789").unwrap();
    let properties = format!(
        "{} .tokenFile = \"{}\"  .userHosts = [\"tom\": (\"10.0.0.0/8\")]",
        crate::forward_proxies::users(),
        tokens.display()
    );
    let proxy = proxy(&properties, "", H2);
    let logins = [
        (None, 407),
        (Some(basic("mia:wrong")), 407),
        (Some(basic("mia:secret")), 200),
        (Some("bearer abcdefghijklmnop".to_owned()), 200),
        (Some("bearer abcdefghijklmnoq".to_owned()), 407),
        (Some("bearer qrstuvwxyz0123456789".to_owned()), 403),
    ];
    block_on(async {
        let mut client = connect(&proxy).await;
        for (login, expected) in &logins {
            let (status, ..) = ask(&mut client, connect_to(origin.addr(), login.as_deref())).await;
            assert_eq!(status, *expected, "{login:?}");
        }
        let page = Request::builder().uri(format!("http://{}/", proxy.addr())).body(()).unwrap();
        assert_eq!(ask(&mut client, page).await.0, 200);
    });
    // The same for datagrams, over HTTP/1.1.
    for (login, expected) in [(None, 407), (Some("bearer abcdefghijklmnop"), 101)] {
        let mut client = proxy.connect();
        let lines = "Host: x\r\nConnection: upgrade\r\nUpgrade: connect-udp\r\n";
        let login =
            login.map_or(String::new(), |login| format!("Proxy-Authorization: {login}\r\n"));
        let path = "/.well-known/masque/udp/127.0.0.1/9/";
        client.send(format!("GET {path} HTTP/1.1\r\n{lines}{login}\r\n")).unwrap();
        let answer = client.read_response_to_head().unwrap();
        assert_eq!(answer.status, expected);
        if expected == 407 {
            let schemes: Vec<_> = answer.header_values("proxy-authenticate").collect();
            assert!(schemes[0].starts_with("Basic ") && schemes[1].starts_with("Bearer "));
        }
    }
}

#[test]
fn signed_tokens_let_in_too() {
    let origin = site("", "rule { .returnCode = 200  .returnText = $uri }");
    let secret = "a secret of thirty-two bytes, or more";
    let sign = |user: &str| {
        let encode = |text: &str| base64::Engine::encode(&URL_SAFE_NO_PAD, text);
        let claims = format!("{{\"sub\":\"{user}\",\"exp\":4102444800}}");
        let signed = format!("{}.{}", encode("{\"alg\":\"HS256\"}"), encode(&claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, signed.as_bytes());
        format!("Bearer {signed}.{}", base64::Engine::encode(&URL_SAFE_NO_PAD, tag))
    };
    let proxy = load(
        1,
        &format!(
            r#"stage {{
                webapp "w" {{ .hostnames = ("*")
                    rule {{
                        jwtAuth {{ .secret = "{secret}"  .proxy = true }}
                        connectProxy {{ .allow = ("all")  .allowHosts = ("127.0.0.0/8")  .userHosts = ["tom": ("10.0.0.0/8")] }}
                    }} }}
                httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w")  {H2} }}
            }}"#
        ),
    )
    .unwrap_or_else(|e| panic!("{e}"));
    block_on(async {
        let mut client = connect(&proxy).await;
        let forged = sign("mia").replace("Bearer e", "Bearer f");
        for (login, expected) in
            [(None, 407), (Some(forged), 407), (Some(sign("mia")), 200), (Some(sign("tom")), 403)]
        {
            let (status, ..) = ask(&mut client, connect_to(origin.addr(), login.as_deref())).await;
            assert_eq!(status, expected, "{login:?}");
        }
    });
}

#[test]
fn who_asks_a_page_for_a_stream_gets_none() {
    let plain = load(
        1,
        &format!(
            r#"stage {{
                webapp "w" {{ .hostnames = ("*")  rule {{ .returnCode = 200  .returnText = "a page" }} }}
                httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w")  {H2} }}
            }}"#
        ),
    )
    .unwrap();
    block_on(async {
        let mut client = connect(&plain).await;
        let (status, ..) = ask(&mut client, connect_to(plain.addr(), None)).await;
        assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    });
}

#[test]
fn datagrams_go_as_capsules_over_http_1() {
    let echo = udp_echo();
    let proxy = proxy("", "", "");
    let mut client = proxy.connect();
    let path = format!("/.well-known/masque/udp/127.0.0.1/{}/", echo.0.port());
    let ask = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: connect-udp\r\nCapsule-Protocol: ?1\r\n\r\n"
        )
    };
    client.send(ask(&path)).unwrap();
    let answer = client.read_response().unwrap();
    assert_eq!((answer.status, answer.header("capsule-protocol")), (101, Some("?1")));
    let mut capsules = Vec::new();
    // Of a context that nobody has spoken of, and that of the host.
    capsule::put(capsule::DATAGRAM, b"\x02lost", &mut capsules);
    capsule::put(capsule::DATAGRAM, b"\0hello", &mut capsules);
    client.send(&capsules).unwrap();
    assert_eq!(client.read_exact(8).unwrap(), b"\0\x06\0HELLO");
    drop(client);
    for (path, status) in [
        ("/.well-known/masque/udp/10.0.0.1/53/", 403),
        ("/.well-known/masque/udp/127.0.0.1/x/", 400),
        ("/elsewhere/", 200),
    ] {
        let mut client = proxy.connect();
        client.send(ask(path)).unwrap();
        assert_eq!(client.read_response().unwrap().status, status, "{path}");
    }
    end(echo);
}

#[test]
fn streams_and_datagrams_go_over_http_3() {
    let Some(mut client) = python("aioquic") else { return };
    let origin = site("", "rule { .returnCode = 200  .returnText = $uri }");
    let echo = udp_echo();
    let ca = Authority::new("ca");
    let identity = ca.server(&["one.test"], KeyKind::Ecdsa);
    let proxy = proxy("", &identity.properties(), ".tlsMode = true  .http3 = true");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/connect_proxy/client.py");
    client.arg(script).arg(proxy.addr().port().to_string()).arg(ca.certificate());
    client.arg(origin.addr().port().to_string()).arg(echo.0.port().to_string());
    let done = client.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(said, "/way\nHELLO\n", "{}", String::from_utf8_lossy(&done.stderr));
    end(echo);
}
