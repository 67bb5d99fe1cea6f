//! Datagrams of Unix sockets through a router.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use hemi_core::listen::Address;
use hemi_test::{TempDir, eventually};

use super::{Echo, LONG, PASS, client, counter, start, talk};

/// A client of this name, connected to a router.
fn unix_client(dir: &Path, name: &str) -> UnixDatagram {
    let client = UnixDatagram::bind(dir.join(name)).unwrap();
    client.connect(dir.join("router.sock")).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    client
}

/// Sends this until it comes back.
fn echoes(client: &UnixDatagram, bytes: &[u8]) {
    let mut buf = vec![0; 64 << 10];
    let echoed = eventually(LONG, || {
        client.send(bytes).unwrap();
        matches!(client.recv(&mut buf), Ok(len) if buf[..len] == *bytes)
    });
    assert!(echoed, "no answer");
}

#[test]
fn clients_of_unix_sockets_have_sessions() {
    let (echo, dir) = (Echo::start(), TempDir::new().unwrap());
    let path = dir.path().join("router.sock");
    let text = format!(
        r#"stage {{
            udpxBackend "b" {{ node {{ .address = "{}" }} }}
            udpxRouter "main" {{ .address = "{}"  .maxSessions = 2
                case $srcHost == "" && $dstPort == "" {{ limitDealet {{ .rate = 1000 }}  udpxProxy {{ .toBackend = "b" }} }} }}
        }}"#,
        echo.address,
        path.display()
    );
    let mut router = super::load(1, &text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(router.server().addresses(), [Address::Unix(path.clone())]);
    let clients = ["one", "two"].map(|name| unix_client(dir.path(), name));
    for size in [1, 0, 1200, 60_000] {
        for (n, client) in clients.iter().enumerate() {
            echoes(client, &vec![n as u8; size]);
        }
    }
    assert_eq!(counter(&router, "sessions_opened"), 2);
    // A reload keeps the socket and the sessions.
    router.reload(&text.replace("1000", "2000"));
    clients.iter().for_each(|client| echoes(client, b"again"));
    assert_eq!(counter(&router, "sessions_opened"), 2);
    let late = unix_client(dir.path(), "three");
    late.send(b"ping").unwrap();
    assert!(eventually(LONG, || counter(&router, "sessions_refused") == 1));
    drop(clients);
    router.quit();
    assert!(!path.exists());
}

#[test]
fn who_has_no_name_is_heard() {
    let (echo, dir) = (Echo::start(), TempDir::new().unwrap());
    let path = dir.path().join("router.sock");
    let text = format!(
        r#"stage {{
            udpxBackend "b" {{ node {{ .address = "{}" }} }}
            udpxRouter "main" {{ .address = "{}"  {PASS} }}
        }}"#,
        echo.address,
        path.display()
    );
    let router = start(&text);
    let client = UnixDatagram::unbound().unwrap();
    client.connect(&path).unwrap();
    for _ in 0..3 {
        client.send(b"a line of a log").unwrap();
    }
    assert!(eventually(LONG, || counter(&router, "datagrams_received") == 3));
    // Whatever they are answered goes nowhere.
    assert!(eventually(LONG, || counter(&router, "datagrams_dropped") == 3));
    assert_eq!(echo.end(), 3);
}

#[test]
fn nodes_may_be_unix_sockets() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("node.sock");
    let node = UnixDatagram::bind(&path).unwrap();
    let text = format!(
        r#"stage {{
            udpxBackend "b" {{ node {{ .address = "{}" }} }}
            udpxRouter "main" {{ .address = "127.0.0.1:0"  {PASS} }}
        }}"#,
        path.display()
    );
    let router = start(&text);
    let clients = [client(&router), client(&router)];
    let thread = std::thread::spawn(move || {
        let mut buf = vec![0; 64 << 10];
        loop {
            let (len, from) = node.recv_from(&mut buf).unwrap();
            if buf[..len] == *b"end of test" {
                return;
            }
            // Each session has a socket of its own, which has a name.
            node.send_to_addr(&buf[..len], &from).unwrap();
        }
    });
    for size in [1, 1200, 60_000] {
        for (n, client) in clients.iter().enumerate() {
            talk(client, &vec![n as u8; size]);
        }
    }
    assert_eq!(counter(&router, "sessions_opened"), 2);
    clients[0].send(b"end of test").unwrap();
    thread.join().unwrap();
    // Nobody listens there any more.
    assert!(eventually(LONG, || {
        clients.iter().for_each(|client| drop(client.send(b"ping")));
        router.server().active() == 0
    }));
}
