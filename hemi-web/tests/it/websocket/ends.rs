//! Clients that are slow, silent or gone, and servers that drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hemi_core::config::Size;
use hemi_proto::websocket::{Header, Incoming, Opcode};
use hemi_web::testing::{Server, TestSocket};
use hemi_web::{
    Broadcast, CloseCode, Mapper, Response, Slow, SocketError, State, WebSocketConfig,
    WebSocketUpgrade,
};
use tokio::sync::mpsc;

use super::{connect, server_with};

const SOON: Duration = Duration::from_millis(150);

/// How long a test waits for what is to happen.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What a handle has come to, told to its test.
struct Told<T> {
    sender: mpsc::Sender<T>,
    config: WebSocketConfig,
}

fn told<T>(config: WebSocketConfig) -> (Told<T>, mpsc::Receiver<T>) {
    let (sender, receiver) = mpsc::channel(8);
    (Told { sender, config }, receiver)
}

async fn next<T>(receiver: &mut mpsc::Receiver<T>) -> T {
    tokio::time::timeout(TIMEOUT, receiver.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn who_answers_no_pings_is_gone() {
    let server = server_with(WebSocketConfig { ping_interval: SOON, ..WebSocketConfig::default() });
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    for _ in 0..2 {
        assert!(matches!(client.incoming().await.unwrap(), Incoming::Ping(_)));
    }
    client.ended().await.unwrap();
    // Who answers stays.
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    for _ in 0..4 {
        let Incoming::Ping(payload) = client.incoming().await.unwrap() else { panic!("no ping") };
        client.frame(Header::whole(Opcode::Pong), &payload).await.unwrap();
    }
    client.send("still here").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("still here".into()));
}

/// Sends without end, and tells how often, and why it could not go on.
async fn flood(upgrade: WebSocketUpgrade, told: State<Told<(usize, SocketError)>>) -> Response {
    upgrade.config(told.config.clone()).on_upgrade(async move |mut socket| {
        for sent in 0.. {
            if let Err(e) = socket.send(vec![0; 64 << 10]).await {
                let _ = told.sender.try_send((sent, e));
                return Err(e);
            }
        }
        Ok(())
    })
}

#[tokio::test]
async fn who_takes_nothing_is_waited_for_and_then_cut() {
    let config = WebSocketConfig { send_timeout: SOON, ..WebSocketConfig::default() };
    let (state, mut ends) = told(config);
    let server = Server::of(Mapper::with_state(state).get("/", flood)).unwrap();
    let client = TestSocket::connect(server.address(), "/").await.unwrap();
    let (sent, why) = next(&mut ends).await;
    assert_eq!(why, SocketError::Stalled);
    // What the kernel holds for both sides, and a little more.
    assert!(sent < 400, "{sent} messages of 64 KiB");
    drop(client);
    server.quit().await;
}

#[tokio::test]
async fn who_goes_without_a_close_is_lost() {
    let (state, mut ends) = told(WebSocketConfig::default());
    let server = Server::of(Mapper::with_state(state).get(
        "/",
        async |upgrade: WebSocketUpgrade, told: State<Told<SocketError>>| {
            upgrade.on_upgrade(async move |mut socket| {
                let lost = socket.recv().await.unwrap_err();
                let _ = told.sender.try_send(lost);
                // Nor can anything be sent.
                assert_eq!(socket.send("x").await, Err(lost));
            })
        },
    ))
    .unwrap();
    drop(TestSocket::connect(server.address(), "/").await.unwrap());
    assert!(matches!(next(&mut ends).await, SocketError::Lost(_)));
    // What has come with an end is read first.
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    client.frame(Header { fin: false, ..Header::whole(Opcode::Text) }, b"half").await.unwrap();
    drop(client);
    assert!(matches!(next(&mut ends).await, SocketError::Lost(_)));
}

#[tokio::test]
async fn frames_and_messages_have_bounds() {
    let config = WebSocketConfig {
        max_message_size: Size(1000),
        max_frame_size: Size(600),
        max_fragments: 4,
        ..WebSocketConfig::default()
    };
    let server = server_with(config);
    let code = async |frames: &[(bool, Opcode, usize)]| {
        let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
        for &(fin, opcode, len) in frames {
            let header = Header { fin, ..Header::whole(opcode) };
            // After the one that is too much the server may be gone.
            let _ = client.frame(header, &vec![b'x'; len]).await;
        }
        match client.recv().await.unwrap() {
            Some(_) => None,
            None => client.closed().await.unwrap().map(|close| close.code.number()),
        }
    };
    let (first, more) = (Opcode::Text, Opcode::Continuation);
    assert_eq!(code(&[(true, first, 600)]).await, None);
    assert_eq!(code(&[(true, first, 601)]).await, Some(1009));
    assert_eq!(code(&[(false, first, 600), (true, more, 400)]).await, None);
    assert_eq!(code(&[(false, first, 600), (true, more, 401)]).await, Some(1009));
    let empty = (false, more, 0);
    assert_eq!(code(&[(false, first, 1), empty, empty, (true, more, 1)]).await, None);
    assert_eq!(code(&[(false, first, 1), empty, empty, empty, (true, more, 1)]).await, Some(1008));
    // Of a giant not a byte is waited for.
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    client.bytes(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0").await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code, CloseCode::TOO_BIG);
}

#[tokio::test]
async fn a_server_that_drains_says_so_and_waits() {
    let (server, mut client) = connect().await;
    client.send("before").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("before".into()));
    let quit = tokio::spawn(server.quit());
    let Incoming::Close(Some(close)) = client.incoming().await.unwrap() else { panic!("no close") };
    assert_eq!(close.code, CloseCode::GOING_AWAY);
    client.close(CloseCode::GOING_AWAY).await.unwrap();
    client.ended().await.unwrap();
    quit.await.unwrap();
}

#[tokio::test]
async fn who_does_not_answer_a_close_is_cut() {
    let config = WebSocketConfig { close_timeout: SOON, ..WebSocketConfig::default() };
    let (state, mut ends) = told::<()>(config);
    // A handle that does not listen is no hindrance.
    let server = Server::of(Mapper::with_state(state).get(
        "/",
        async |upgrade: WebSocketUpgrade, told: State<Told<()>>| {
            upgrade.config(told.config.clone()).on_upgrade(async move |socket| {
                let sender = socket.sender();
                while sender.send("tick").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                drop(socket);
                let _ = told.sender.try_send(());
            })
        },
    ))
    .unwrap();
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    assert!(client.recv().await.unwrap().is_some());
    let quit = tokio::spawn(server.quit());
    loop {
        match client.incoming().await.unwrap() {
            Incoming::Close(_) => break,
            _ => continue,
        }
    }
    client.ended().await.unwrap();
    next(&mut ends).await;
    quit.await.unwrap();
}

struct Room {
    room: Broadcast,
    joined: AtomicUsize,
}

async fn listen(upgrade: WebSocketUpgrade, state: State<Room>) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        let member = state.room.join(&socket);
        state.joined.fetch_add(1, Ordering::SeqCst);
        while let Some(message) = socket.recv().await? {
            state.room.send_from(&member, &message);
        }
        Ok::<_, SocketError>(())
    })
}

#[tokio::test]
async fn a_slow_member_of_a_broadcast_misses_something_or_is_closed() {
    for slow in [Slow::Skip, Slow::Close] {
        let room = Broadcast::new(256 << 10, slow);
        let state = Arc::new(Room { room: room.clone(), joined: AtomicUsize::new(0) });
        let server = Server::of(Mapper::with_shared(state.clone()).get("/", listen)).unwrap();
        let mut quick = TestSocket::connect(server.address(), "/").await.unwrap();
        let mut idle = TestSocket::connect(server.address(), "/").await.unwrap();
        while state.joined.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        // More than the kernel holds.
        let message = "x".repeat(32 << 10);
        for _ in 0..500 {
            room.send(&message.clone().into());
            assert_eq!(quick.recv().await.unwrap(), Some(message.clone().into()));
        }
        quick.send("the last").await.unwrap();
        match slow {
            Slow::Skip => {
                let mut got = 0;
                // What is sent once there is room again comes.
                while idle.recv().await.unwrap().unwrap().as_text() != Some("found") {
                    got += 1;
                    room.send(&"found".into());
                }
                assert!(got < 500, "{got}");
            }
            Slow::Close => {
                let close = idle.closed().await.unwrap().unwrap();
                assert_eq!(close.code, CloseCode::TRY_LATER);
            }
        }
        server.quit().await;
        assert!(room.is_empty());
    }
}

#[tokio::test]
async fn messages_are_not_lost_by_those_who_wait_for_other_things_too() {
    let server = Server::of(Mapper::new().get("/", async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async |mut socket| {
            loop {
                tokio::select! {
                    message = socket.recv() => match message? {
                        Some(message) => socket.send(message).await?,
                        None => return Ok::<_, SocketError>(()),
                    },
                    () = tokio::task::yield_now() => {}
                }
            }
        })
    }))
    .unwrap();
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    for n in 0..200 {
        let text = n.to_string().repeat(1 + n * 40);
        client.send(text.clone()).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(text.into()));
    }
}
