//! Services of tower as handlets.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hemi_core::Lifecycle;
use hemi_test::raw::Client;
use hemi_web::testing::Server;
use hemi_web::{Body, Handlet, Mapper, Reply, Rule, Tower, Webapp};
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower_service::Service;

/// A service like those of others: is not ready at once, and has its own body and error.
#[derive(Clone, Default)]
struct Foreign {
    polled: bool,
}

type Answer = Result<Response<Frames>, Box<dyn std::error::Error + Send + Sync>>;

impl Service<Request<Body>> for Foreign {
    type Response = Response<Frames>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if std::mem::replace(&mut self.polled, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, req: Request<Body>) -> Self::Future {
        assert!(self.polled, "called before it was ready");
        Box::pin(answer(req))
    }
}

async fn answer(req: Request<Body>) -> Answer {
    let (parts, mut body) = req.into_parts();
    let frames = match parts.uri.path() {
        "/held" => {
            let held = parts.extensions.get::<Arc<()>>().map(Arc::downgrade);
            drop(parts);
            Frames::whole(format!("{}", held.is_some_and(|held| held.upgrade().is_some())))
        }
        "/seen" => {
            let ip = parts.extensions.get::<Wrapped>().map(|wrapped| wrapped.0.ip());
            let (uri, version, field) = (parts.uri, parts.version, &parts.headers["x-field"]);
            Frames::whole(format!("{} {uri} {version:?} {field:?} {ip:?}", parts.method))
        }
        "/echo" => {
            let mut pieces = Vec::new();
            while let Some(piece) = body.chunk().await.transpose()? {
                pieces.push(Frame::data(piece));
            }
            Frames::of(pieces)
        }
        "/trailers" => {
            let trailers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("x-sum"),
                http::HeaderValue::from_static("3"),
            )]);
            Frames::of([Frame::data("abc".into()), Frame::trailers(trailers)])
        }
        "/pieces" => {
            let mut frames = Frames::of(["ab", "c"].map(|piece| Frame::data(piece.into())));
            frames.len = Some(3);
            frames
        }
        "/empty" => Frames::of([]),
        _ => return Err("no such path".into()),
    };
    let response = Response::builder().status(StatusCode::ACCEPTED).header("x-from", "foreign");
    Ok(response.body(frames)?)
}

/// A body that gives these frames.
struct Frames {
    frames: std::vec::IntoIter<Frame<Bytes>>,
    len: Option<u64>,
}

impl Frames {
    fn of(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        Self { frames: frames.into_iter().collect::<Vec<_>>().into_iter(), len: None }
    }

    fn whole(text: String) -> Self {
        let len = Some(text.len() as u64);
        Self { len, ..Self::of([Frame::data(text.into())]) }
    }
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.frames.next();
        let read = next.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        self.len = self.len.map(|len| len - read);
        Poll::Ready(next.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        self.len.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[derive(Clone)]
struct Wrapped(SocketAddr);

/// Leaves something with the request that is to last as long as it.
struct Holds;

impl Lifecycle for Holds {}

impl Handlet for Holds {
    async fn handle(&self, req: &mut hemi_web::Request) -> Reply {
        req.extensions().insert(Arc::new(()));
        Reply::Next
    }
}

#[test]
fn what_handlets_have_left_with_the_request_lasts_until_it_is_answered() {
    let rule = Rule::new().handlet(Holds).handlet(Tower::new(Foreign::default()));
    let server = Server::start(Webapp::new("w").rule(rule)).unwrap();
    let mut client = Client::connect(server.address()).unwrap();
    client.send("GET /held HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "true");
}

#[test]
fn services_answer_as_handlets_do() {
    let tower = Tower::new(Foreign::default()).peer(Wrapped);
    let mapper = Mapper::new().handlet("/{*rest}", tower);
    let server = Server::of(mapper).unwrap();
    let mut client = Client::connect(server.address()).unwrap();
    let mut ask = |head: &str| {
        client.send(format!("{head}\r\n\r\n").replace("HTTP", "HTTP/1.1\r\nhost: x")).unwrap();
        client.read_response().unwrap()
    };
    let reply = ask("GET /seen?a=b%20c HTTP\r\nx-field: y");
    assert_eq!(reply.text(), "GET /seen?a=b%20c HTTP/1.1 \"y\" Some(127.0.0.1)");
    assert_eq!((reply.status, reply.header("x-from")), (202, Some("foreign")));
    assert_eq!(reply.header("transfer-encoding"), None);
    let reply = ask("POST /echo HTTP\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(reply.text().trim(), "hello");
    let reply = ask("GET /trailers HTTP");
    assert_eq!((&*reply.text(), reply.trailers.len()), ("abc", 1));
    let reply = ask("GET /pieces HTTP");
    assert_eq!((&*reply.text(), reply.header("content-length")), ("abc", Some("3")));
    let reply = ask("GET /empty HTTP");
    assert_eq!((&*reply.text(), reply.header("content-length")), ("", Some("0")));
    let reply = ask("GET /else HTTP");
    assert_eq!(reply.status, 500);
    assert!(!reply.text().contains("no such path"));
}
