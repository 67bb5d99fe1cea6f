//! A handlet that does what the path asked for says.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Registry, Result};
use hemi_web::{
    Body, Handlet, HandletRegistry, Reply, Request, Response, Reviser, ReviserRegistry,
};
use http::header::{CONTENT_LENGTH, HeaderValue, LINK};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use serde::Deserialize;

pub(crate) fn register(registry: &mut Registry) {
    registry.handlet::<Probe>().handlet::<Breaks>().reviser::<Trace>();
}

/// Panics before it serves anything.
#[derive(Debug, Deserialize, Explain)]
struct Breaks {
    /// `created` or `prepared`
    when: String,
}

impl Component for Breaks {
    const SIGN: &'static str = "breaks";
    type Config = Self;

    fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
        assert_ne!(config.when, "created", "broken when created");
        Ok(config)
    }
}

impl Lifecycle for Breaks {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        panic!("broken when {}", self.when);
    }
}

impl Handlet for Breaks {
    async fn handle(&self, _: &mut Request) -> Reply {
        Reply::Next
    }
}

/// Leaves its name in requests and responses.
#[derive(Debug, Deserialize, Explain)]
struct Trace {
    /// What it leaves.
    name: String,
    /// Its place.
    rank: u8,
}

impl Component for Trace {
    const SIGN: &'static str = "trace";
    type Config = Self;

    fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(config)
    }
}

impl Lifecycle for Trace {}

impl Reviser for Trace {
    fn rank(&self) -> u8 {
        self.rank
    }

    fn request(&self, req: &mut Request) {
        req.headers_mut().append("trace", HeaderValue::try_from(&self.name).unwrap());
    }

    fn response(&self, req: &Request, response: &mut Response) {
        assert!(req.header("trace").is_some());
        response.headers_mut().append("trace", HeaderValue::try_from(&self.name).unwrap());
    }
}

/// Does what the path says.
#[derive(Debug, Deserialize, Explain)]
struct Probe {}

impl Component for Probe {
    const SIGN: &'static str = "probe";
    type Config = Self;

    fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(config)
    }
}

impl Lifecycle for Probe {}

impl Handlet for Probe {
    async fn handle(&self, req: &mut Request) -> Reply {
        let path = req.path().to_owned();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match *segments.as_slice() {
            ["now"] => "now".into(),
            // Answers without a look at the content.
            ["ignore"] => "ignored".into(),
            ["wait", millis] => {
                tokio::time::sleep(millis_of(millis)).await;
                "waited".into()
            }
            ["read"] => read(req).await,
            // Reads the content, then takes its time.
            ["read", millis] => {
                let reply = read(req).await;
                tokio::time::sleep(millis_of(millis)).await;
                reply
            }
            ["echo"] => Response::text(req.take_body()).into(),
            ["stream", pieces, size] => stream(pieces, size, End::Plain),
            // Tells early what the page will need, twice: before it waits, and after.
            ["hints"] => {
                let hint = || HeaderMap::from_iter([(LINK, HeaderValue::from_static("</a.css>"))]);
                req.early_hints(hint());
                tokio::task::yield_now().await;
                req.early_hints(hint());
                "hinted".into()
            }
            ["hints", count] => {
                let told =
                    (0..count.parse().unwrap()).filter(|_| req.early_hints(HeaderMap::new()));
                told.count().to_string().into()
            }
            // Begins to answer, and never goes on.
            ["never"] => {
                let (sender, body) = Body::channel(1);
                tokio::spawn(async move {
                    let _ = sender.send("begun").await;
                    sender.unread().await;
                });
                Response::text(body).into()
            }
            ["trailers"] => stream("2", "3", End::Trailers),
            ["fails"] => stream("100", "10000", End::Error),
            ["long"] => stream("2", "3", End::Long),
            ["short"] => stream("2", "3", End::Short),
            // Leaves the request to the next, and marks whatever comes of it.
            ["mark", ..] => {
                req.revise(|response| {
                    response.headers_mut().append("mark", HeaderValue::from_static("late"));
                });
                match path.ends_with("panic") {
                    true => panic!("after the mark"),
                    false => Reply::Next,
                }
            }
            ["panic"] => panic!("asked to"),
            ["panic", "streaming"] => stream("100", "10000", End::Panic),
            ["empty"] => Response::new(StatusCode::OK).into(),
            ["length"] => Response::new(StatusCode::OK)
                .field(CONTENT_LENGTH, HeaderValue::from_static("1234"))
                .into(),
            ["status", code] => {
                let status = StatusCode::from_bytes(code.as_bytes()).unwrap();
                let length = HeaderValue::from_static("4");
                Response::text("text").with_status(status).field(CONTENT_LENGTH, length).into()
            }
            ["big"] => Response::text(Body::from(Bytes::from(vec![b'x'; 64 << 20]))).into(),
            // A file, given by its absolute path.
            ["file", ref path @ ..] => {
                let file = std::fs::File::open(format!("/{}", path.join("/"))).unwrap();
                let len = file.metadata().unwrap().len();
                Response::text(Body::file(file, 0..len)).into()
            }
            ["host"] => req.authority().map_or("none", |a| a.as_str()).to_owned().into(),
            _ => Reply::Next,
        }
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        match req.path() {
            "/now" => Some("now".into()),
            "/now/streamed" => Some(stream("3", "4", End::Slow)),
            "/now/panic" => panic!("asked to, at once"),
            _ => None,
        }
    }
}

async fn read(req: &mut Request) -> Reply {
    let mut len = 0;
    let mut trailers = String::new();
    let mut body = Pin::new(req.body());
    loop {
        let next = std::future::poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await;
        match next {
            None => break,
            Some(Err(e)) => return format!("error: {e}").into(),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => len += data.len(),
                Err(frame) => trailers = format!(", {:?}", frame.into_trailers().unwrap()),
            },
        }
    }
    format!("{len} bytes{trailers}").into()
}

fn millis_of(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap())
}

fn stream(pieces: &str, size: &str, end: End) -> Reply {
    let (left, size) = (pieces.parse().unwrap(), size.parse().unwrap());
    let wait = Box::pin(tokio::time::sleep(Duration::ZERO));
    Response::text(Body::stream(Pieces { left, size, end, wait })).into()
}

/// How a streamed answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Plain,
    /// Plain, with a pause of 300 ms before each piece.
    Slow,
    Trailers,
    Error,
    /// With less than was promised.
    Short,
    /// With more.
    Long,
    Panic,
}

struct Pieces {
    left: usize,
    size: usize,
    end: End,
    wait: Pin<Box<tokio::time::Sleep>>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
        if self.end == End::Slow && self.left > 0 {
            std::task::ready!(Future::poll(self.wait.as_mut(), cx));
            self.wait = Box::pin(tokio::time::sleep(Duration::from_millis(300)));
        }
        if self.left > 0 {
            self.left -= 1;
            return Poll::Ready(Some(Ok(Frame::data(vec![b'x'; self.size].into()))));
        }
        Poll::Ready(match std::mem::replace(&mut self.end, End::Plain) {
            End::Plain | End::Slow | End::Short | End::Long => None,
            End::Error => Some(Err("asked to".into())),
            End::Panic => panic!("asked to, while streaming"),
            End::Trailers => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", HeaderValue::from_static("6"));
                Some(Ok(Frame::trailers(trailers)))
            }
        })
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.end {
            End::Short => http_body::SizeHint::with_exact(100),
            End::Long => http_body::SizeHint::with_exact(5),
            _ => http_body::SizeHint::default(),
        }
    }
}
