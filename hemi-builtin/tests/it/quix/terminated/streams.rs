//! Streams of QUIC to nodes that speak TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;

use hemi_core::quic::quinn::{ReadError, ReadToEndError, WriteError};
use hemi_test::eventually;
use hemi_test::peer::modules::python;
use hemi_test::tls::Authority;
use quinn::Connection;

use super::{LONG, bytes, client, code, connect, quinn, script, start, within};
use crate::server::Running;

fn router(ca: &Authority, node: SocketAddr, proxy: &str) -> Running {
    let backend =
        format!("tcpxBackend \"b\" {{ .maxTries = 1  node {{ .address = \"{node}\" }} }}");
    let case = format!("case {{ quixProxy {{ .toTcpxBackend = \"b\"  .lostCode = 5  {proxy} }} }}");
    start(ca, &backend, &format!(".tlsProtocols = (\"test\")  {case}"))
}

/// A server of TCP that answers with what it got once it has got all of it.
fn node(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    at
}

fn echo(mut stream: TcpStream) {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    let _ = stream.write_all(&got);
}

async fn ask(conn: &Connection, len: usize) {
    let sent = bytes(len);
    let (mut send, mut recv) = conn.open_bi().await.unwrap();
    send.write_all(&sent).await.unwrap();
    send.finish().unwrap();
    let got = recv.read_to_end(usize::MAX).await.unwrap();
    assert!(got == sent, "other bytes");
}

#[tokio::test]
async fn each_stream_has_a_connection_whose_ends_are_its_ends() {
    let ca = Authority::new("ca");
    let router = router(&ca, node(echo), "");
    let endpoint = client(&ca, &["test"]);
    let conn = connect(&endpoint, &router).await;
    for len in [1, 5000, 3_000_000] {
        within(ask(&conn, len)).await;
    }
    let all = async {
        let mut asked = tokio::task::JoinSet::new();
        for n in 1..200 {
            let conn = conn.clone();
            asked.spawn(async move { ask(&conn, n * 100).await });
        }
        while let Some(done) = asked.join_next().await {
            done.unwrap();
        }
    };
    within(all).await;
    conn.close(code(0), b"");
    within(endpoint.wait_idle()).await;
    assert!(eventually(LONG, || router.server().active() == 0));
}

#[tokio::test]
async fn the_node_may_end_first() {
    let ca = Authority::new("ca");
    let router = router(
        &ca,
        node(|mut stream| {
            stream.write_all(b"hello").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"first last");
        }),
        "",
    );
    let endpoint = client(&ca, &["test"]);
    let conn = connect(&endpoint, &router).await;
    let (mut send, mut recv) = conn.open_bi().await.unwrap();
    send.write_all(b"first ").await.unwrap();
    assert_eq!(within(recv.read_to_end(100)).await.unwrap(), b"hello");
    send.write_all(b"last").await.unwrap();
    send.finish().unwrap();
    assert_eq!(within(send.stopped()).await, Ok(None));
}

#[tokio::test]
async fn what_breaks_is_reset_and_tcp_has_nothing_like_other_streams() {
    let ca = Authority::new("ca");
    let resetting = node(|stream| {
        let mut got = [0; 4];
        (&stream).read_exact(&mut got).unwrap();
        // Bytes that were not taken make a reset of the end.
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    });
    let nobody = ([127, 0, 0, 1], hemi_test::free_port().unwrap()).into();
    for at in [resetting, nobody] {
        let router = router(&ca, at, "");
        let endpoint = client(&ca, &["test"]);
        let conn = connect(&endpoint, &router).await;
        let (mut send, mut recv) = conn.open_bi().await.unwrap();
        send.write_all(b"ping").await.unwrap();
        let error = within(recv.read_to_end(100)).await.unwrap_err();
        assert!(
            matches!(error, ReadToEndError::Read(ReadError::Reset(c)) if c == code(5)),
            "{error}"
        );
        let stopped = async {
            loop {
                if let Err(e) = send.write_all(b"more").await {
                    return e;
                }
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(within(stopped).await, WriteError::Stopped(code(5)));
        let mut one_way = conn.open_uni().await.unwrap();
        one_way.write_all(b"ping").await.unwrap();
        assert_eq!(within(one_way.stopped()).await, Ok(Some(code(5))));
        assert_eq!(conn.close_reason(), None);
    }
}

#[tokio::test]
async fn what_the_client_cuts_off_is_reset() {
    let ca = Authority::new("ca");
    let (told, mut hears) = tokio::sync::mpsc::channel(16);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            loop {
                let got = stream.read(&mut [0; 100]).map_err(|e| e.kind());
                let goes_on = matches!(got, Ok(1..));
                let _ = told.blocking_send(got);
                if !goes_on {
                    break;
                }
            }
        }
    });
    let router = router(&ca, at, "");
    let endpoint = client(&ca, &["test"]);
    let conn = connect(&endpoint, &router).await;
    let (mut send, _recv) = conn.open_bi().await.unwrap();
    send.write_all(b"part").await.unwrap();
    assert_eq!(within(hears.recv()).await, Some(Ok(4)));
    send.reset(code(1)).unwrap();
    assert_eq!(within(hears.recv()).await, Some(Err(ErrorKind::ConnectionReset)));
    // With the connection its streams go.
    let (mut send, _recv) = conn.open_bi().await.unwrap();
    send.write_all(b"part").await.unwrap();
    assert_eq!(within(hears.recv()).await, Some(Ok(4)));
    conn.close(code(0), b"");
    assert_eq!(within(hears.recv()).await, Some(Err(ErrorKind::ConnectionReset)));
}

#[test]
fn aioquic_is_answered_by_a_server_of_tcp() {
    let Some(mut asks) = python("aioquic") else { return };
    let ca = Authority::new("ca");
    let router = router(&ca, node(echo), "");
    asks.arg(script("echo.py")).arg(router.addr().port().to_string()).arg(ca.certificate());
    let done = asks.stderr(Stdio::piped()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "1 echoed\n100000 echoed\n");
}
