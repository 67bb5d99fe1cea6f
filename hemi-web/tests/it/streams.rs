//! Contents that are made while they are sent, and server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use hemi_core::Shut;
use hemi_test::raw::Client;
use hemi_web::testing::Server;
use hemi_web::{Body, Event, Mapper, Path, Sse, State};
use http::{HeaderMap, HeaderValue};

/// What an iterator gives.
struct Each<I>(I);

impl<I: Iterator + Unpin> Stream for Each<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

fn connect(server: &Server) -> Client {
    Client::connect(server.address()).unwrap()
}

fn get(client: &mut Client, path: &str) {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
}

/// Ends a server, in the background.
fn quit(server: Server) -> std::thread::JoinHandle<()> {
    std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(server.quit());
    })
}

fn numbers() -> Body {
    Body::from_stream(Each((0..1000).map(|number| Ok::<_, Infallible>(format!("{number}\n")))))
}

fn breaks_off() -> Body {
    let pieces = [Ok(Bytes::from_static(b"abc")), Err("no more")];
    Body::from_stream(Each(pieces.into_iter()))
}

/// Puts in two pieces, and ends as it is told.
fn channel(Path(end): Path<String>) -> Body {
    let (sender, body) = Body::channel(1);
    tokio::spawn(async move {
        for piece in ["a", "b"] {
            sender.send(piece).await.unwrap();
        }
        match &*end {
            "finish" => sender.finish(),
            "trailers" => {
                let trailers = HeaderMap::from_iter([(
                    http::HeaderName::from_static("x-sum"),
                    HeaderValue::from_static("2"),
                )]);
                sender.finish_with(trailers).await.unwrap();
            }
            "abort" => sender.abort("no more").await.unwrap(),
            _ => drop(sender),
        }
    });
    body
}

#[test]
fn streams_and_channels_are_contents() {
    let mapper = Mapper::new().get("/numbers", numbers).get("/channel/{end}", channel);
    let server = Server::of(mapper).unwrap();
    let mut client = connect(&server);
    get(&mut client, "/numbers");
    let text = client.read_response().unwrap().text();
    assert_eq!((text.lines().count(), text.lines().last()), (1000, Some("999")));
    get(&mut client, "/channel/finish");
    assert_eq!(client.read_response().unwrap().text(), "ab");
    get(&mut client, "/channel/trailers");
    let reply = client.read_response().unwrap();
    assert_eq!(
        (&*reply.text(), &*reply.trailers),
        ("ab", &[("x-sum".to_owned(), "2".to_owned())][..])
    );
}

#[test]
fn content_that_breaks_off_does_not_look_whole() {
    let mapper = Mapper::new().get("/stream", breaks_off).get("/channel/{end}", channel);
    let server = Server::of(mapper).unwrap();
    for path in ["/stream", "/channel/abort", "/channel/drop"] {
        let mut client = connect(&server);
        get(&mut client, path);
        assert!(client.read_response().is_err(), "{path}");
    }
}

/// Puts pieces in until nobody reads any more, and says so.
fn endless(ended: State<Shut>) -> Body {
    let (sender, body) = Body::channel(1);
    tokio::spawn(async move {
        while sender.send("more").await.is_ok() {}
        sender.unread().await;
        ended.cancel();
    });
    body
}

#[tokio::test]
async fn who_makes_content_learns_that_nobody_reads_it() {
    let ended = Shut::new();
    let server = Server::of(Mapper::with_state(ended.clone()).get("/", endless)).unwrap();
    let mut client = connect(&server);
    get(&mut client, "/");
    client.read_response_to_head().unwrap();
    drop(client);
    ended.cancelled().await;
}

type Senders = Arc<std::sync::Mutex<Vec<hemi_web::EventSender>>>;

/// Says hello, and leaves the rest to the test.
async fn listen(senders: State<Senders>) -> Sse {
    let (sender, sse) = Sse::channel(4);
    sender.send(Event::data("hello").name("first").id(1)).await.unwrap();
    senders.lock().unwrap().push(sender);
    sse
}

#[test]
fn events_come_as_they_are_sent_and_end_when_the_server_drains() {
    let senders = Senders::default();
    let server = Server::of(Mapper::with_state(senders.clone()).get("/", listen)).unwrap();
    let mut client = connect(&server);
    get(&mut client, "/");
    let head = client.read_response_to_head().unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("cache-control"), Some("no-store"));
    let mut expect = |text: &str| {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len()).to_lowercase();
        let came = client.read_exact(chunk.len()).unwrap();
        assert_eq!(String::from_utf8_lossy(&came).to_lowercase(), chunk);
    };
    expect("data: hello\nevent: first\nid: 1\n\n");
    let sender = senders.lock().unwrap()[0].clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(sender.send(Event::data("a\nb"))).unwrap();
    expect("data: a\ndata: b\n\n");
    let quit = quit(server);
    // The end of the content, as if it were whole, and of the connection.
    assert_eq!(client.read_to_end().unwrap(), b"0\r\n\r\n");
    quit.join().unwrap();
    assert!(runtime.block_on(sender.send(Event::data("late"))).is_err());
}

#[test]
fn silence_is_filled_with_comments() {
    let silent = || {
        let (sender, sse) = Sse::channel(1);
        // Kept to the end of the runtime.
        tokio::spawn(async move { sender.unread().await });
        sse.keep_alive(Duration::from_millis(1))
    };
    let server = Server::of(Mapper::new().get("/", silent)).unwrap();
    let mut client = connect(&server);
    get(&mut client, "/");
    client.read_response_to_head().unwrap();
    assert_eq!(client.read_exact(16).unwrap(), b"3\r\n:\n\n\r\n3\r\n:\n\n\r\n");
}
