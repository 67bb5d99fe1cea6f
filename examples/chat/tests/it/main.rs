//! Guests chat, by the page and by a client of ours.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use chat::{Chat, ChatConfig};
use hemi_web::testing::{Client, Server, TestSocket};
use serde_json::{Value, json};

async fn next(guest: &mut TestSocket) -> Value {
    let message = guest.recv().await.unwrap().unwrap();
    serde_json::from_slice(message.as_bytes()).unwrap()
}

async fn enter(server: &Server, name: &str) -> TestSocket {
    let mut guest = TestSocket::connect(server.address(), "/socket").await.unwrap();
    guest.send(json!({"enter": {"name": name}}).to_string()).await.unwrap();
    guest
}

#[tokio::test]
async fn guests_hear_each_other_and_what_was_said_before() {
    let server = Server::of(Chat::new(ChatConfig { history: 2 })).unwrap();
    let mut ann = enter(&server, " Ann ").await;
    let came = json!({"here": {"name": "Ann", "count": 1, "entered": true}});
    assert_eq!(next(&mut ann).await, came);
    for text in ["one", "two", "three"] {
        ann.send(json!({"words": {"text": text}}).to_string()).await.unwrap();
        assert_eq!(next(&mut ann).await, json!({"words": {"name": "Ann", "text": text}}));
    }
    let mut ben = enter(&server, "Ben").await;
    for text in ["two", "three"] {
        assert_eq!(next(&mut ben).await, json!({"words": {"name": "Ann", "text": text}}));
    }
    let came = json!({"here": {"name": "Ben", "count": 2, "entered": true}});
    assert_eq!((next(&mut ann).await, next(&mut ben).await), (came.clone(), came));
    ben.close(hemi_web::CloseCode::GOING_AWAY).await.unwrap();
    let left = json!({"here": {"name": "Ben", "count": 1, "entered": false}});
    assert_eq!(next(&mut ann).await, left);
    // What is no message of the chat ends it.
    ann.send("{}").await.unwrap();
    assert_eq!(ann.closed().await.unwrap().unwrap().code.number(), 1007);
}

#[tokio::test]
async fn there_is_a_page() {
    let client = Client::of(Chat::new(ChatConfig::default()));
    let page = client.get("/").send().await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("new WebSocket("));
}
