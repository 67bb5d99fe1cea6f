//! The logger `syslogLogger`, with the test as its daemon.

use std::io::{self, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::Arc;
use std::time::Duration;

use hemi_core::logger::LoggerKind;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{TempDir, eventually};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::server::{Running, ask, load, site_on};

const SOON: Duration = Duration::from_secs(20);

/// A site whose requests are logged to a daemon.
fn logged(address: &str, properties: &str) -> Running {
    let logger = format!(
        r#"syslogLogger "log" {{
            .address = "{address}"
            .format = $method + " " + $uri
            {properties}
        }}"#
    );
    // What is set here is inherited, unless the logger has it.
    let logger = format!(".delay = 1ms  {logger}");
    let rules = r#".useLogger = "log"
        rule $path == "/fault" { .returnCode = 503 }
        rule $path == "/gone" { .returnCode = 410 }
        rule { .returnCode = 200  .returnText = "hello" }"#;
    site_on(2, &logger, rules)
}

fn get(server: &Running, target: &str) {
    ask(&mut server.connect(), "GET", target, &[]).unwrap();
}

/// Asserts that a message is what RFC 5424 says, and returns its priority and the record.
#[track_caller]
fn parse(message: &[u8]) -> (u16, String) {
    let message = std::str::from_utf8(message).unwrap();
    let (priority, rest) = message.strip_prefix('<').unwrap().split_once(">1 ").unwrap();
    let parts: Vec<&str> = rest.splitn(7, ' ').collect();
    let [time, host, app, process, id, data, record] = parts[..] else { panic!("{message}") };
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{message}");
    assert!(!host.is_empty(), "{message}");
    assert_eq!((app, id, data), ("hemi", "-", "-"), "{message}");
    assert_eq!(process, std::process::id().to_string(), "{message}");
    (priority.parse().unwrap(), record.to_owned())
}

/// Reads one message from a stream: its length, a space, its bytes.
fn read_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        match byte[0] {
            b' ' => break,
            digit => length = length * 10 + usize::from(digit - b'0'),
        }
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// What a daemon receives of three requests.
fn expect_three(server: Running, mut receive: impl FnMut() -> Vec<u8>) {
    for (target, priority) in [("/", 190), ("/gone?%22", 188), ("/fault", 187)] {
        get(&server, target);
        // local7 is 23.
        assert_eq!(parse(&receive()), (priority, format!("GET {target}")));
    }
    server.quit();
}

#[test]
fn messages_come_as_datagrams_of_a_unix_socket() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    daemon.set_read_timeout(Some(SOON)).unwrap();
    expect_three(logged(path.to_str().unwrap(), ""), || {
        let mut message = [0; 1000];
        let len = daemon.recv(&mut message).unwrap();
        message[..len].to_vec()
    });
}

#[test]
fn messages_come_by_udp() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(SOON)).unwrap();
    expect_three(logged(&daemon.local_addr().unwrap().to_string(), ""), || {
        let mut message = [0; 1000];
        let len = daemon.recv(&mut message).unwrap();
        message[..len].to_vec()
    });
}

#[test]
fn messages_come_on_a_unix_stream() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    let daemon = UnixListener::bind(&path).unwrap();
    let mut stream = None;
    expect_three(logged(path.to_str().unwrap(), r#".transport = "stream""#), || {
        let stream = stream.get_or_insert_with(|| daemon.accept().unwrap().0);
        stream.set_read_timeout(Some(SOON)).unwrap();
        read_frame(stream).unwrap()
    });
}

#[test]
fn messages_come_over_tls_from_who_believes_the_daemon() {
    let ca = Authority::new("ca");
    let (chain, key) = ca.server(&["localhost"], KeyKind::Ecdsa).read().unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let daemon = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", daemon.local_addr().unwrap().port());
    let trust = format!(".tlsTrustedCa = \"{}\"", ca.certificate().display());
    let mut stream = None;
    expect_three(logged(&address, &format!(".transport = \"tls\"  {trust}")), || {
        let stream = stream.get_or_insert_with(|| {
            let stream = daemon.accept().unwrap().0;
            stream.set_read_timeout(Some(SOON)).unwrap();
            StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)
        });
        read_frame(stream).unwrap()
    });
}

/// A daemon on TCP, and the site that logs to it.
fn over_tcp(properties: &str) -> (TcpListener, Running) {
    let daemon = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = daemon.local_addr().unwrap().port();
    let properties = format!(".transport = \"stream\"  {properties}");
    let server = logged(&format!("localhost:{port}"), &properties);
    (daemon, server)
}

#[test]
fn messages_come_by_tcp_also_after_the_daemon_has_closed() {
    let (daemon, server) = over_tcp(r#".facility = "local0"  .severity = "notice""#);
    for round in 0..3 {
        get(&server, &format!("/{round}"));
        let (mut stream, _) = daemon.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let message = read_frame(&mut stream).unwrap();
        assert_eq!(parse(&message), (16 * 8 + 5, format!("GET /{round}")));
    }
    server.quit();
}

#[test]
fn the_last_messages_come_before_the_stage_ends() {
    let (daemon, server) = over_tcp(".delay = 1h");
    const REQUESTS: usize = 500;
    let mut client = server.connect();
    for n in 0..REQUESTS {
        ask(&mut client, "GET", &format!("/{n}"), &[]).unwrap();
    }
    drop(client);
    let received = std::thread::spawn(move || {
        let (mut stream, _) = daemon.accept().unwrap();
        std::iter::from_fn(|| read_frame(&mut stream).ok()).map(|m| parse(&m).1).collect::<Vec<_>>()
    });
    server.quit();
    let expected: Vec<_> = (0..REQUESTS).map(|n| format!("GET /{n}")).collect();
    assert_eq!(received.join().unwrap(), expected);
}

#[test]
fn a_daemon_that_comes_late_hears_what_was_kept_and_drops_are_counted() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    // Room for one message.
    let server = logged(path.to_str().unwrap(), ".bufSize = 1");
    let mut client = server.connect();
    let dropped = || server.find::<LoggerKind>("log").dropped();
    let mut sent = 0;
    assert!(eventually(SOON, || {
        ask(&mut client, "GET", &format!("/{sent}"), &[]).unwrap();
        sent += 1;
        dropped() > 0
    }));
    let daemon = UnixDatagram::bind(&path).unwrap();
    daemon.set_read_timeout(Some(SOON)).unwrap();
    let receive = || {
        let mut message = [0; 1000];
        let len = daemon.recv(&mut message).ok()?;
        Some(parse(&message[..len]).1)
    };
    assert_eq!(receive().unwrap(), "GET /0");
    let logger = server.find::<LoggerKind>("log");
    server.quit();
    daemon.set_nonblocking(true).unwrap();
    let received = 1 + std::iter::from_fn(receive).count() as u64;
    assert_eq!(logger.dropped() + received, sent);
}

#[test]
fn nobody_waits_for_a_daemon_that_does_not_read() {
    let (daemon, server) = over_tcp(".bufSize = 64K");
    let logger = server.find::<LoggerKind>("log");
    let mut client = server.connect();
    let long = format!("/{}", "x".repeat(4000));
    // Once the sockets are full, all are dropped.
    let mut sent = 0;
    assert!(eventually(SOON * 3, || {
        for _ in 0..100 {
            assert_eq!(ask(&mut client, "GET", &long, &[]).unwrap().status, 200);
        }
        sent += 100;
        logger.dropped() > sent / 2
    }));
    drop(client);
    let (mut stream, _) = daemon.accept().unwrap();
    server.quit();
    // What was left at the end is counted too.
    let received = std::iter::from_fn(|| read_frame(&mut stream).ok()).count() as u64;
    assert!(received > 0);
    assert_eq!(received + logger.dropped(), sent);
}

#[test]
fn what_does_not_fit_into_a_datagram_is_dropped() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(SOON)).unwrap();
    let long = "y".repeat(7000);
    let format = format!(".format = $uri{}", " + $uri".repeat(9));
    let server = logged(&daemon.local_addr().unwrap().to_string(), "");
    get(&server, "/before");
    let mut message = vec![0; 100_000];
    let len = daemon.recv(&mut message).unwrap();
    assert_eq!(parse(&message[..len]).1, "GET /before");
    server.quit();
    let config = format!(
        r#"syslogLogger "log" {{ .address = "{}"  .delay = 1ms  {format} }}"#,
        daemon.local_addr().unwrap()
    );
    let server = site_on(1, &config, r#".useLogger = "log"  rule { .returnCode = 200 }"#);
    get(&server, &format!("/{long}"));
    let dropped = || server.find::<LoggerKind>("log").dropped();
    assert!(eventually(SOON, || dropped() == 1));
    get(&server, "/a");
    let len = daemon.recv(&mut message).unwrap();
    assert_eq!(parse(&message[..len]).1, "/a".repeat(10));
}

#[test]
fn mistakes_are_told() {
    for (properties, message) in [
        (r#".facility = "local8""#, "did you mean \"local"),
        (r#".severity = "error""#, "\"error\" is not known here"),
        (r#".transport = "tcp""#, "\"tcp\" is not known here"),
        (r#".appName = "my app""#, "no name for syslog"),
        (r#".address = "somewhere""#, "no address of a daemon"),
        (r#".address = "::1:514""#, "no address of a daemon"),
        (r#".address = "log.test:0""#, "no address of a daemon"),
    ] {
        let config = format!("stage {{ syslogLogger \"log\" {{ {properties} }} }}");
        let error = load(1, &config).err().expect("an error").to_string();
        assert!(error.contains(message), "{error}");
    }
}
