//! What goes wrong with connections below HTTP.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::time::Duration;

use hemi_test::eventually;
use hemi_test::process::raise_file_limit;

use super::{backend, config, counter, echo, router_to, start, talk};
use crate::server::Running;

const LONG: Duration = Duration::from_secs(20);

fn is_idle(server: &Running) -> bool {
    eventually(LONG, || server.server().active() == 0)
}

#[test]
fn a_node_that_does_not_listen_is_passed_over() {
    let (gone, echo) = (echo(), echo());
    let dead = gone.addr();
    drop(gone);
    let backend = format!(
        r#"tcpxBackend "b" {{ .balancer = "roundRobin"  .maxFailures = 0
            node {{ .address = "{dead}" }}  node {{ .address = "{}" }} }}"#,
        echo.addr()
    );
    let router = start(&config(&backend, "case { tcpxProxy { .toBackend = \"b\" } }"));
    for _ in 0..4 {
        talk(&mut router.connect(), b"ping");
    }
    // Where none listens, the client sees an error, not an end.
    let router = router_to(dead, "");
    let error = router.connect().read_some().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_node_that_does_not_accept_is_waited_for_as_long_as_told() {
    // The backlog is full, and nobody accepts.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix_listen(&listener);
    let address = listener.local_addr().unwrap();
    let fill: Vec<_> = (0..8)
        .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)))
        .collect();
    let backend = format!(
        "tcpxBackend \"b\" {{ .connectTimeout = 200ms  .maxTries = 1  node {{ .address = \"{address}\" }} }}"
    );
    let router = start(&config(&backend, "case { tcpxProxy { .toBackend = \"b\" } }"));
    assert!(router.connect().with_timeout(LONG).read_some().is_err());
    drop(fill);
}

/// Has a listener keep one connection in its queue.
fn rustix_listen(listener: &TcpListener) {
    socket2::SockRef::from(listener).listen(0).unwrap();
}

#[test]
fn a_reset_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let router = router_to(listener.local_addr().unwrap(), "");
    // Of the client,
    let mut client = router.connect();
    client.send("ping").unwrap();
    let (mut node, _) = listener.accept().unwrap();
    node.read_exact(&mut [0; 4]).unwrap();
    client.reset().unwrap();
    assert_eq!(node.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    // of the node,
    let mut client = router.connect();
    client.send("ping").unwrap();
    let (node, _) = listener.accept().unwrap();
    socket2::SockRef::from(&node).set_linger(Some(Duration::ZERO)).unwrap();
    drop(node);
    assert_eq!(client.read_some().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(is_idle(&router));
}

#[test]
fn a_storm_of_resets_leaves_nothing_behind() {
    let echo = echo();
    let router = router_to(echo.addr(), "");
    for round in 0..300 {
        let mut client = router.connect();
        if round % 3 > 0 {
            client.send("ping").unwrap();
        }
        if round % 3 == 2 {
            client.read_exact(4).unwrap();
        }
        client.reset().unwrap();
    }
    assert!(is_idle(&router) && is_idle(&echo));
    talk(&mut router.connect(), b"ping");
    assert_eq!(counter(&router, "conns_accepted"), 301);
}

#[test]
fn who_is_silent_for_too_long_is_cut() {
    let echo = echo();
    let router = router_to(echo.addr(), ".idleTimeout = 300ms");
    let mut silent = router.connect();
    talk(&mut silent, b"ping");
    assert!(silent.read_some().is_err());
    // Who has ended his way only, too.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let router = router_to(listener.local_addr().unwrap(), ".idleTimeout = 300ms");
    let mut half = router.connect();
    half.finish().unwrap();
    let (mut node, _) = listener.accept().unwrap();
    assert_eq!(node.read(&mut [0]).unwrap(), 0);
    assert!(half.read_some().is_err());
    assert!(is_idle(&router));
    let router = router_to(echo.addr(), ".totalTimeout = 500ms");
    let mut busy = router.connect();
    let mut talks = || busy.send("ping").is_ok() && busy.read_exact(4).is_ok();
    assert!(eventually(LONG, || !talks()));
}

#[test]
fn a_reload_keeps_connections() {
    let echo = echo();
    let text = |proxy: &str| {
        let case = format!("case {{ tcpxProxy {{ .toBackend = \"b\"  {proxy} }} }}");
        format!("stage {{ {} }}", config(&backend("b", echo.addr()), &case))
    };
    let mut router = crate::server::load(2, &text("")).unwrap();
    let address = router.addr();
    raise_file_limit().unwrap();
    let mut clients: Vec<_> = (0..1000).map(|_| router.connect()).collect();
    clients.iter_mut().for_each(|client| talk(client, b"before"));
    router.reload(&text(".idleTimeout = 1h"));
    assert_eq!(router.addr(), address);
    clients.iter_mut().for_each(|client| talk(client, b"after"));
    talk(&mut router.connect(), b"new");
}
