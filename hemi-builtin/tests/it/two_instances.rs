//! Two instances, with the configs that `docs/hweb.md` has for them.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use hemi_web::CloseCode;
use hemi_web::testing::TestSocket;

use crate::server::{Running, load_with};

/// The configs of the front and of the one behind it.
fn configs() -> [String; 2] {
    let page = include_str!("../../../docs/hweb.md");
    let mut blocks = page.split("```gorox\n").skip(1).filter_map(|rest| rest.split("```").next());
    [0, 1].map(|_| blocks.next().unwrap().to_owned())
}

fn start(config: &str, address: &str) -> Running {
    let config = config.replace(&format!(".address = \"{address}\""), ".address = \"127.0.0.1:0\"");
    load_with(1, &config, hemi_rpc::register).unwrap_or_else(|e| panic!("{e}"))
}

fn both() -> (Running, Running) {
    let [front, inside] = configs();
    let inside = start(&inside, "127.0.0.1:3081");
    let front = front.replace("127.0.0.1:3081", &inside.addr().to_string());
    (start(&front, ":3080"), inside)
}

#[test]
fn requests_pass() {
    let (front, _inside) = both();
    assert_eq!(front.get("/").text(), "Hello from inside");
}

#[tokio::test]
async fn websockets_pass() {
    let (front, _inside) = both();
    let mut socket = TestSocket::connect(front.addr(), "/chat").await.unwrap();
    for text in ["a".to_owned(), "b".repeat(300_000)] {
        socket.send(text.clone()).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(text.into()));
    }
    socket.close(CloseCode::NORMAL).await.unwrap();
    assert!(socket.closed().await.unwrap().is_some());
}

/// A call of gRPC, and what it is answered: its messages, and the status that stands in trailers.
async fn call(front: SocketAddr, path: &str, messages: &[&[u8]]) -> (Vec<u8>, http::HeaderMap) {
    let stream = tokio::net::TcpStream::connect(front).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = http::Request::post(format!("http://site.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut sending) = client.send_request(request, false).unwrap();
    for message in messages {
        let head = hemi_proto::grpc::frame_head(0, message.len());
        sending.send_data([&head[..], message].concat().into(), false).unwrap();
    }
    sending.send_data(Bytes::new(), true).unwrap();
    let (head, mut content) = answer.await.unwrap().into_parts();
    let mut all = Vec::new();
    while let Some(piece) = poll_fn(|cx| content.poll_data(cx)).await {
        let piece = piece.unwrap();
        content.flow_control().release_capacity(piece.len()).unwrap();
        all.extend_from_slice(&piece);
    }
    let trailers = poll_fn(|cx| content.poll_trailers(cx)).await.unwrap();
    (all, trailers.unwrap_or(head.headers))
}

#[tokio::test]
async fn grpc_passes_with_its_trailers() {
    let (front, _inside) = both();
    let message = vec![7; 200_000];
    let (answer, trailers) = call(front.addr(), "/Echo/Echo", &[&message]).await;
    let head = hemi_proto::grpc::frame_head(0, message.len());
    assert_eq!((&answer[..5], &answer[5..]), (&head[..], &message[..]));
    assert_eq!(trailers["grpc-status"], "0");
    let (answer, trailers) = call(front.addr(), "/Echo/None", &[b""]).await;
    assert_eq!((answer.len(), &trailers["grpc-status"]), (0, &"12".parse().unwrap()));
}
