//! How connections are closed.

use hemi_proto::websocket::{Header, Incoming, Opcode};
use hemi_web::testing::{Server, TestSocket};
use hemi_web::{Close, CloseCode, Mapper, Response, SocketError, WebSocketUpgrade};

use super::{connect, server};

#[tokio::test]
async fn a_close_is_answered_in_kind() {
    let server = server();
    let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    for code in codes.into_iter().chain([3000, 3999, 4000, 4999]) {
        for reason in ["", "Hello", &"*".repeat(123)] {
            let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
            let close = Close::new(CloseCode::new(code).unwrap(), reason);
            client.frame(Header::whole(Opcode::Close), &close.payload()).await.unwrap();
            assert_eq!(client.incoming().await.unwrap(), Incoming::Close(Some(close)));
            client.ended().await.unwrap();
        }
    }
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    client.frame(Header::whole(Opcode::Close), b"").await.unwrap();
    assert_eq!(client.incoming().await.unwrap(), Incoming::Close(None));
    client.ended().await.unwrap();
}

#[tokio::test]
async fn nothing_comes_after_a_close() {
    let (_server, mut client) = connect().await;
    client.send("first").await.unwrap();
    client.close(CloseCode::NORMAL).await.unwrap();
    // The connection may be gone by then.
    let _ = client.send("too late").await;
    let _ = client.frame(Header::whole(Opcode::Ping), b"too late").await;
    assert_eq!(client.recv().await.unwrap(), Some("first".into()));
    let close = Incoming::Close(Some(CloseCode::NORMAL.into()));
    assert_eq!(client.incoming().await.unwrap(), close);
    client.ended().await.unwrap();
}

#[tokio::test]
async fn a_close_between_fragments_ends_the_message() {
    let (_server, mut client) = connect().await;
    let header = Header { fin: false, ..Header::whole(Opcode::Text) };
    client.frame(header, b"half a mess").await.unwrap();
    client.close(CloseCode::GOING_AWAY).await.unwrap();
    let close = Incoming::Close(Some(CloseCode::GOING_AWAY.into()));
    assert_eq!(client.incoming().await.unwrap(), close);
}

#[tokio::test]
async fn bad_closes_are_refused() {
    let server = server();
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
    let codes = codes.map(|code| (u16::to_be_bytes(code).to_vec(), 1002));
    let others =
        [(b"\x03".to_vec(), 1002), (b"\x03\xe8\xce\xba\xe1\xbd\xb9\xed\xa0\x80".to_vec(), 1007)];
    for (payload, code) in codes.into_iter().chain(others) {
        let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
        client.frame(Header::whole(Opcode::Close), &payload).await.unwrap();
        let close = client.closed().await.unwrap().unwrap();
        assert_eq!(close.code.number(), code, "{payload:x?}");
        client.ended().await.unwrap();
    }
}

/// Closes, and goes on to receive; what comes still it would like to send.
async fn leave(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        socket.send("bye").await?;
        socket.close(Close::new(CloseCode::new(4000).unwrap(), "enough"));
        let mut late = Vec::new();
        while let Some(message) = socket.recv().await? {
            late.push(message);
            assert_eq!(socket.send("too late").await, Err(SocketError::Closed));
        }
        assert_eq!(late, ["one".into(), "two".into()]);
        assert_eq!(socket.client_close().map(|close| close.code.number()), Some(4001));
        Ok::<_, SocketError>(())
    })
}

#[tokio::test]
async fn who_closes_first_still_receives() {
    let server = Server::of(Mapper::new().get("/", leave)).unwrap();
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("bye".into()));
    client.send("one").await.unwrap();
    let close = Close::new(CloseCode::new(4000).unwrap(), "enough");
    assert_eq!(client.incoming().await.unwrap(), Incoming::Close(Some(close)));
    client.send("two").await.unwrap();
    client.close(CloseCode::new(4001).unwrap()).await.unwrap();
    client.ended().await.unwrap();
}

#[tokio::test]
async fn both_may_close_at_once() {
    let server = Server::of(Mapper::new().get("/", leave)).unwrap();
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    client.send("one").await.unwrap();
    client.send("two").await.unwrap();
    client.close(CloseCode::new(4001).unwrap()).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("bye".into()));
    // Its own, not an echo of ours.
    assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 4000);
    client.ended().await.unwrap();
}

#[tokio::test]
async fn a_handle_that_ends_closes() {
    async fn fail(upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |_socket| Err("no luck"))
    }
    async fn end(upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |mut socket| {
            let _ = socket.recv().await;
        })
    }
    async fn hand_on(upgrade: WebSocketUpgrade) -> Response {
        // The handle ends, but its socket lives on elsewhere.
        upgrade.on_upgrade(async |mut socket| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    while let Ok(Some(message)) = socket.recv().await {
                        socket.send(message).await.unwrap();
                    }
                });
            });
        })
    }
    let mapper = Mapper::new().get("/fail", fail).get("/end", end).get("/hand-on", hand_on);
    let server = Server::of(mapper).unwrap();
    let mut client = TestSocket::connect(server.address(), "/fail").await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code, CloseCode::INTERNAL_ERROR);
    client.ended().await.unwrap();
    let mut client = TestSocket::connect(server.address(), "/end").await.unwrap();
    client.send("enough").await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code, CloseCode::NORMAL);
    client.ended().await.unwrap();
    let mut client = TestSocket::connect(server.address(), "/hand-on").await.unwrap();
    for n in 0..100 {
        client.send(n.to_string()).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(n.to_string().into()));
    }
    client.close(CloseCode::NORMAL).await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code, CloseCode::NORMAL);
    client.ended().await.unwrap();
}
