//! The servers `socksServer` and `tunnelServer`, used by curl and by raw clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hemi_test::raw::Client;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{TempDir, eventually, peer};

use crate::server::{Running, load, site};

const LOCAL: &str = r#".allowHosts = ("127.0.0.0/8")"#;

/// A proxy with these properties.
fn proxy(sign: &str, properties: &str) -> Running {
    let text =
        format!("stage {{ {sign} \"main\" {{ .address = \"127.0.0.1:0\"  {properties} }} }}");
    load(2, &text).unwrap_or_else(|e| panic!("{e}"))
}

/// A site that tells what it was asked for.
fn origin() -> Running {
    let text = r#"stage {
        webapp "site" { .hostnames = ("*")
            rule { .returnCode = 200  .returnText = $method + " " + $uri + " " + $header_via } }
        httpxServer "main" { .address = "127.0.0.1:0"  .webapps = ("site")  .h2cPriorKnowledge = true }
    }"#;
    load(2, text).unwrap_or_else(|e| panic!("{e}"))
}

/// The end of a password's hash: `htpasswd -nbB mia secret` with the fewest rounds.
pub(crate) fn users() -> String {
    use sha1::{Digest, Sha1};
    let digest = Sha1::digest(b"secret");
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    format!(".users = [\"mia\": \"{{SHA}}{encoded}\", \"tom\": \"{{SHA}}{encoded}\"]")
}

/// What curl says: the page, or its number of an error.
fn curl(arguments: &[&str]) -> Result<String, i32> {
    let mut curl = Command::new(peer("curl").expect("was asked for"));
    curl.args(["-sS", "--max-time", "20", "--noproxy", ""]).args(arguments);
    let done = curl.output().unwrap();
    match done.status.code() {
        Some(0) => Ok(String::from_utf8(done.stdout).unwrap()),
        code => Err(code.unwrap_or(-1)),
    }
}

fn counter(server: &Running, name: &str) -> u64 {
    let counters = server.server().counters();
    counters.iter().find(|(known, _)| *known == name).map(|(_, count)| *count).unwrap()
}

#[test]
fn curl_gets_through_by_all_versions_of_socks() {
    if peer("curl").is_none() {
        return;
    }
    let (origin, proxy) = (origin(), proxy("socksServer", LOCAL));
    let at = proxy.addr();
    for scheme in ["socks4", "socks4a", "socks5", "socks5h"] {
        let via = format!("{scheme}://{at}");
        let url = format!("http://127.0.0.1:{}/{scheme}", origin.addr().port());
        assert_eq!(curl(&["-x", &via, &url]), Ok(format!("GET /{scheme} ")));
    }
    // By a name, which the proxy looks up.
    let url = format!("http://localhost:{}/name", origin.addr().port());
    let via = format!("socks5h://{at}");
    assert_eq!(curl(&["-4", "-x", &via, &url]), Ok("GET /name ".into()));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(curl(&["-x", &via, &format!("http://{nobody}/")]), Err(97));
    assert!(eventually(Duration::from_secs(10), || proxy.server().active() == 0));
    assert_eq!(counter(&proxy, "ways_opened"), 5);
}

#[test]
fn curl_gets_through_tunnels_and_by_whole_urls() {
    if peer("curl").is_none() {
        return;
    }
    let ca = Authority::new("ca");
    let identity = ca.server(&["127.0.0.1"], KeyKind::Ecdsa);
    let https = load(
        1,
        &format!(
            r#"stage {{
                webapp "w" {{ .hostnames = ("*")  {}
                    rule {{ .returnCode = 200  .returnText = "safe " + $tlsAlpn }} }}
                httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w")  .tlsMode = true }}
            }}"#,
            identity.properties()
        ),
    )
    .unwrap_or_else(|e| panic!("{e}"));
    let origin = origin();
    let proxy = proxy("tunnelServer", &format!("{LOCAL} .pacPath = \"/proxy.pac\""));
    let via = format!("http://{}", proxy.addr());
    let ca_file = ca.certificate().display().to_string();
    let url = format!("https://{}/", https.addr());
    assert_eq!(curl(&["-x", &via, "--cacert", &ca_file, &url]), Ok("safe h2".into()));
    let url = format!("http://{}/a?b", origin.addr());
    assert_eq!(curl(&["-x", &via, &url]), Ok("GET /a?b 1.1 hemi".into()));
    assert_eq!(curl(&["-x", &via, "-p", &url]), Ok("GET /a?b ".into()));
    let posted = curl(&["-x", &via, "-d", "content", &url]);
    assert_eq!(posted, Ok("POST /a?b 1.1 hemi".into()));
    let chunks = ["-d", "content", "-H", "transfer-encoding: chunked"];
    let posted = curl(&[&["-x", &via, &url][..], &chunks].concat());
    assert_eq!(posted, Ok("POST /a?b 1.1 hemi".into()));
    // Its own pages are none, but for the one that tells how to use it.
    let pac = curl(&[&format!("{via}/proxy.pac")]).unwrap();
    assert!(pac.contains(&format!("return \"PROXY {}\"", proxy.addr())), "{pac}");
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(curl(&[&status[..], &[&via]].concat()), Ok("400".into()));
}

#[test]
fn who_does_not_log_in_goes_nowhere() {
    if peer("curl").is_none() {
        return;
    }
    let origin = origin();
    let properties = format!("{LOCAL} {} .userHosts = [\"tom\": (\"10.0.0.0/8\")]", users());
    let (socks, tunnel) = (proxy("socksServer", &properties), proxy("tunnelServer", &properties));
    let url = format!("http://{}/", origin.addr());
    let page = |via: &str| curl(&["-x", via, &url]);
    let through = |user: &str| page(&format!("socks5://{user}@{}", socks.addr()));
    assert_eq!(through("mia:secret"), Ok("GET / ".into()));
    assert_eq!(through("mia:secret"), Ok("GET / ".into()));
    assert_eq!(through("mia:wrong"), Err(97));
    assert_eq!(through("who:secret"), Err(97));
    // One who may go somewhere else.
    assert_eq!(through("tom:secret"), Err(97));
    assert_eq!(page(&format!("socks5://{}", socks.addr())), Err(97));
    assert_eq!(page(&format!("socks4://{}", socks.addr())), Err(97));

    let status = |user: &[&str]| {
        let via = format!("http://{}", tunnel.addr());
        let base = ["-x", &via, "-o", "/dev/null", "-w", "%{http_code}"];
        curl(&[&base[..], user, &[&url]].concat())
    };
    assert_eq!(status(&["-U", "mia:secret"]), Ok("200".into()));
    assert_eq!(status(&["-U", "mia:secret", "--proxy-anyauth"]), Ok("200".into()));
    assert_eq!(status(&["-U", "mia:wrong"]), Ok("407".into()));
    assert_eq!(status(&["-U", "tom:secret"]), Ok("403".into()));
    assert_eq!(status(&[]), Ok("407".into()));
}

#[test]
fn tokens_let_in_and_are_read_again() {
    if peer("curl").is_none() {
        return;
    }
    let origin = origin();
    let dir = TempDir::new().unwrap();
    let file = dir.write("tokens", "# the first\nmia:0123456789abcdef\n").unwrap();
    let properties =
        |file: &Path| format!("{LOCAL} .tokenFile = \"{}\" .allow = (\"all\")", file.display());
    let proxy = proxy("tunnelServer", &properties(&file));
    let (via, url) = (format!("http://{}", proxy.addr()), format!("http://{}/", origin.addr()));
    let status = |token: &str, more: &[&str]| {
        let field = format!("Proxy-Authorization: Bearer {token}");
        let base = ["-x", &via, "-o", "/dev/null", "-w", "%{http_code} %{http_connect}"];
        curl(&[&base[..], &["--proxy-header", &field], more, &[&url]].concat())
    };
    assert_eq!(status("0123456789abcdef", &[]), Ok("200 000".into()));
    assert_eq!(status("0123456789abcdef", &["-p"]), Ok("200 200".into()));
    assert_eq!(status("0123456789abcdee", &[]), Ok("407 000".into()));
    assert_eq!(status("0123456789abcde", &[]), Ok("407 000".into()));
    // Nobody has said a name that has a password here.
    let basic = curl(&[
        "-x",
        &via,
        "-U",
        "mia:0123456789abcdef",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &url,
    ]);
    assert_eq!(basic, Ok("407".into()));
    std::fs::write(&file, "mia:fedcba9876543210\n").unwrap();
    let changed = || status("fedcba9876543210", &[]) == Ok("200 000".into());
    assert!(eventually(Duration::from_secs(60), changed));
    assert_eq!(status("0123456789abcdef", &[]), Ok("407 000".into()));
    for (text, why) in [
        ("mia:short", "1: the token is too short"),
        ("0123456789abcdef", "1: no `name:token`"),
        ("mia:0123456789abcde\"f", "1: a token has letters"),
        ("a:0123456789abcdef\nb:0123456789abcdef", "2: the token is somebody's already"),
    ] {
        let bad = dir.write("bad", text).unwrap();
        let text = format!(
            "stage {{ tunnelServer \"t\" {{ .address = \"127.0.0.1:0\" {} }} }}",
            properties(&bad)
        );
        let error = load(1, &text).err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn nobody_gets_to_this_machine_unless_he_may() {
    let origin = origin();
    let proxy = proxy("tunnelServer", ".denyHosts = (\"*.deny.test\")");
    let port = origin.addr().port();
    // By its name, by what a resolver takes for its address, and by IPv6.
    for host in ["127.0.0.1", "localhost", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]"] {
        let mut client = proxy.connect();
        client.send(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n")).unwrap();
        let status = client.read_response().unwrap().status;
        assert!([400, 403, 502].contains(&status), "{host}: {status}");
    }
    assert_eq!(counter(&origin, "conns_accepted"), 0);
    let mut client = proxy.connect();
    client.send("CONNECT a.deny.test:443 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().status, 403);
}

#[test]
fn strangers_are_not_served_where_nobody_logs_in() {
    // What listens on all addresses serves this machine alone, and is told whom else.
    let some = proxy("socksServer", &format!("{LOCAL} .allow = (\"127.0.0.9\")"));
    let mut other = some.connect();
    let _ = other.send([5, 1, 0]);
    assert!(other.read_some().map_or(true, |bytes| bytes.is_empty()));
    let mut known = Client::connect_from([127, 0, 0, 9].into(), some.addr()).unwrap();
    known.send([5, 1, 0]).unwrap();
    assert_eq!(known.read_exact(2).unwrap(), [5, 0]);
}

#[test]
fn what_is_no_socks_is_closed() {
    let proxy = proxy("socksServer", &format!("{LOCAL} .handshakeTimeout = 300ms"));
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[5, 1, 9], &[6], &[5, 1, 0, 5, 9, 9], &[5]] {
        let mut client = proxy.connect();
        client.send(bytes).unwrap();
        // Slow ones too.
        let _ = client.read_to_end();
    }
    assert!(eventually(Duration::from_secs(10), || proxy.server().active() == 0));
}

/// The address in an answer to a SOCKS client.
fn bound(client: &mut TcpStream) -> SocketAddr {
    let mut reply = [0; 10];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply[..4], [5, 0, 0, 1], "{reply:?}");
    let [_, _, _, _, a, b, c, d, p, q] = reply;
    SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p, q])))
}

fn ask(proxy: &Running, command: u8, to: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(proxy.addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(&[5, 1, 0]).unwrap();
    client.read_exact(&mut [0; 2]).unwrap();
    let mut request = vec![5, command, 0, 1, 127, 0, 0, 1];
    request.extend(to.port().to_be_bytes());
    client.write_all(&request).unwrap();
    client
}

#[test]
fn a_connection_is_waited_for() {
    let proxy = proxy("socksServer", &format!("{LOCAL} .commands = (\"connect\", \"bind\")"));
    let host: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let mut client = ask(&proxy, 2, host);
    let at = bound(&mut client);
    let mut host = TcpStream::connect(at).unwrap();
    assert_eq!(bound(&mut client), host.local_addr().unwrap());
    host.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    client.write_all(b"thanks").unwrap();
    host.read_exact(&mut [0; 6]).unwrap();
    // One connection is all.
    assert!(TcpStream::connect(at).is_err());
}

#[test]
fn datagrams_go_and_come() {
    let proxy = proxy("socksServer", LOCAL);
    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut control = ask(&proxy, 3, "0.0.0.0:0".parse().unwrap());
    let at = bound(&mut control);
    let program = UdpSocket::bind("127.0.0.1:0").unwrap();
    for socket in [&host, &program] {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    let mut head = vec![0, 0, 0, 1, 127, 0, 0, 1];
    head.extend(host.local_addr().unwrap().port().to_be_bytes());
    program.send_to(&[&head[..], b"ping"].concat(), at).unwrap();
    let mut buf = [0; 100];
    let (len, from) = host.recv_from(&mut buf).unwrap();
    assert_eq!(&buf[..len], b"ping");
    host.send_to(b"pong", from).unwrap();
    let (len, _) = program.recv_from(&mut buf).unwrap();
    assert_eq!(buf[..len], [&head[..], b"pong"].concat());
    // Whom nobody has asked is not heard, nor is a third one that sends; nor what is in pieces.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"psst", from).unwrap();
    stranger.send_to(&[&head[..], b"mine"].concat(), at).unwrap();
    let mut piece = [&head[..], b"piece"].concat();
    piece[2] = 1;
    program.send_to(&piece, at).unwrap();
    assert!(eventually(Duration::from_secs(10), || counter(&proxy, "datagrams_dropped") == 3));
    // It ends with its connection.
    drop(control);
    assert!(eventually(Duration::from_secs(10), || proxy.server().active() == 0));
}

#[test]
fn content_in_chunks_comes_whole_and_nothing_behind_it() {
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = host.local_addr().unwrap();
    let proxy = proxy("tunnelServer", LOCAL);
    let mut client = proxy.connect();
    let head =
        format!("POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(head + "3\r\nabc\r\n").unwrap();
    let (mut stream, _) = host.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client
        .send("A;x=y\r\n0123456789\r\n0\r\nsome: trailer\r\n\r\nGET http://other/ HTTP/1.1\r\n")
        .unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"0\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        got.extend(byte);
    }
    let text = String::from_utf8(got).unwrap();
    assert!(text.ends_with("3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"), "{text}");
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    drop(stream);
    assert_eq!(client.read_response().unwrap().status, 204);
}

#[test]
fn backends_are_reached_by_way_of_proxies() {
    let origin = origin();
    let properties = format!("{LOCAL} {}", users());
    let (socks, tunnel) = (proxy("socksServer", &properties), proxy("tunnelServer", &properties));
    for (proxy, via, good) in [
        (&socks, format!("socks5://mia:secret@{}", socks.addr()), true),
        (&tunnel, format!("http://mia:secret@{}", tunnel.addr()), true),
        (&socks, format!("socks5://mia:wrong@{}", socks.addr()), false),
        (&socks, format!("socks5://{}", socks.addr()), false),
        (&tunnel, format!("http://{}", tunnel.addr()), false),
    ] {
        let before = counter(proxy, "ways_opened");
        // Of HTTP,
        let backend = format!(
            "http1Backend \"b\" {{ .via = \"{via}\"  node {{ .address = \"{}\" }} }}",
            origin.addr()
        );
        let front = site(&backend, "rule { httpProxy { .toBackend = \"b\" } }");
        assert_eq!(front.get("/way").status, if good { 200 } else { 502 }, "{via}");
        // in its second version too,
        let second = site(
            &backend.replace("http1Backend", "http2Backend"),
            "rule { httpProxy { .toBackend = \"b\" } }",
        );
        assert_eq!(second.get("/way").status, if good { 200 } else { 502 }, "{via}");
        // and of whatever else.
        let text = format!(
            r#"stage {{
                tcpxBackend "b" {{ .via = "{via}"  node {{ .address = "{}" }} }}
                tcpxRouter "main" {{ .address = "127.0.0.1:0"  case {{ tcpxProxy {{ .toBackend = "b" }} }} }}
            }}"#,
            origin.addr()
        );
        let router = load(1, &text).unwrap();
        let mut client = router.connect();
        // One for whom there is no way may be cut off before it has asked.
        let asked = client.send("GET /way HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        match asked.and_then(|()| client.read_response()) {
            Ok(answer) => assert!(good && answer.text().contains("GET /way"), "{via}"),
            Err(_) => assert!(!good, "{via}"),
        }
        drop((front, second, router));
        // Ways are counted when they are over.
        let ways = || counter(proxy, "ways_opened") - before;
        assert!(
            eventually(Duration::from_secs(30), || ways() == if good { 3 } else { 0 }),
            "{via}"
        );
    }
}
