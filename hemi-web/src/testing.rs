//! For the tests of programs: asks their webapps without a socket, or serves them on one.

mod socket;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hemi_core::listen::{Address, Peer};
use hemi_core::server::ServerKind;
use hemi_core::{Engine, Error, Parts, Registry, Result};
use hemi_proto::http1::{HeadLimits, HeadReader};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::socket::TestSocket;
use crate::webapp::Begun;
use crate::{Body, Handlet, HttpxServer, Request, Rule, Webapp, trace};

/// Asks a webapp in this process, as a server would: with no socket between them, so that a test needs no
/// port. What runs in the background with a stage, such as cronjobs, does not run.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Rule, Webapp};
/// # use hemi_web::Mapper;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mapper = Mapper::new().post("/echo", async |text: String| text);
/// let client = Client::new(Webapp::new("w").rule(Rule::new().handlet(mapper)));
/// let answer = client.post("/echo").header("x-try", "1").body("Hello").send().await;
/// assert_eq!(answer.status(), 200);
/// assert_eq!(answer.text(), "Hello");
/// # }
/// ```
///
/// What it can't do is a mistake of the test, and a panic: a target or field that is none, an answer whose
/// content breaks off.
#[derive(Debug)]
pub struct Client {
    webapp: Arc<Webapp>,
}

macro_rules! methods {
    ($($name:ident $method:ident)+) => {
        $(
            #[doc = concat!("A request with the method ", stringify!($method), " for this path and query.")]
            pub fn $name(&self, target: &str) -> Ask<'_> {
                self.request(Method::$method, target)
            }
        )+
    };
}

impl Client {
    /// A client of this webapp.
    pub fn new(webapp: impl Into<Arc<Webapp>>) -> Self {
        Self { webapp: webapp.into() }
    }

    /// A client of a webapp that has this handlet alone: a [`crate::Mapper`], most often.
    pub fn of(handlet: impl Handlet) -> Self {
        Self::new(Webapp::new("test").rule(Rule::new().handlet(handlet)))
    }

    methods! { get GET  post POST  put PUT  delete DELETE  patch PATCH  head HEAD }

    /// A request with any method.
    pub fn request(&self, method: Method, target: &str) -> Ask<'_> {
        let (headers, body) = (HeaderMap::new(), Body::empty());
        Ask { webapp: &self.webapp, method, target: target.to_owned(), headers, body }
    }
}

/// A request that is made up.
#[must_use = "it is asked by `send`"]
#[derive(Debug)]
pub struct Ask<'a> {
    webapp: &'a Webapp,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Body,
}

impl Ask<'_> {
    /// The same with a field more.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let value = HeaderValue::try_from(value).unwrap_or_else(|e| panic!("{value}: {e}"));
        self.headers.append(name, value);
        self
    }

    /// The same with this content.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// The same with this as JSON.
    ///
    /// # Panics
    /// When it can't be JSON.
    #[track_caller]
    pub fn json(self, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).unwrap_or_else(|e| panic!("no JSON: {e}"));
        self.header(CONTENT_TYPE.as_str(), "application/json").body(json)
    }

    /// Asks, and takes the whole answer.
    ///
    /// # Panics
    /// When a server would not take it for a request, or the content of the answer breaks off.
    pub async fn send(self) -> Answer {
        let mut req = Request::awaited(Peer::Tcp(([127, 0, 0, 1], 1).into()), None);
        let mut head = BytesMut::from(&*self.head());
        let read =
            HeadReader::default().read_request(&mut head, req.head_mut(), &HeadLimits::default());
        assert!(matches!(read, Ok(true)), "{} \"{}\" is no request", self.method, self.target);
        self.webapp.trace(&mut req);
        let too_large = self.body.len().is_some_and(|len| len > self.webapp.body_limit());
        req.set_body(self.body);
        let mut response = match req.begin() {
            Err(status) => status.into(),
            Ok(()) if too_large => StatusCode::PAYLOAD_TOO_LARGE.into(),
            Ok(()) => match self.webapp.begin(&mut req) {
                Begun::Done(answered) => answered.response,
                Begun::Waits(at) => self.webapp.go_on(&mut req, at).await.response,
            },
        };
        self.webapp.finish(&mut req, &mut response);
        trace::end(&mut req, &response, response.content_len().unwrap_or_default());
        let content = match self.method {
            Method::HEAD => Ok(Bytes::new()),
            _ => response.take_body().bytes(u64::MAX).await,
        };
        let content = content.unwrap_or_else(|e| panic!("the content of the answer: {e}"));
        Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            content,
        }
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        let mut put = |name: &str, value: &[u8]| {
            head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        };
        if !self.headers.contains_key("host") {
            put("host", b"test");
        }
        for (name, value) in &self.headers {
            put(name.as_str(), value.as_bytes());
        }
        match self.body.len() {
            Some(0) => {}
            Some(len) => put("content-length", len.to_string().as_bytes()),
            None => put("transfer-encoding", b"chunked"),
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// An answer, with all its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    content: Bytes,
}

impl Answer {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields, but for those that a connection adds.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of a field, if it is there and is text; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The content.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.content
    }

    /// The content as text; what is no UTF-8 as `U+FFFD`.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// The content as JSON.
    ///
    /// # Errors
    /// When it is none, or no such value.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.content)
    }
}

/// A webapp that is served on a port of this machine, by an engine with one core: for tests with a client
/// of their own. What runs in the background with a stage does. Dropping it cuts what is under way.
///
/// ```
/// use std::io::{Read, Write};
///
/// use hemi_web::testing::Server;
/// # use hemi_web::Mapper;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::of(Mapper::new().get("/", async || "Hello"))?;
/// let mut socket = std::net::TcpStream::connect(server.address())?;
/// socket.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
/// let mut answer = String::new();
/// socket.read_to_string(&mut answer)?;
/// assert!(answer.ends_with("\r\n\r\nHello"));
/// server.quit().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    address: SocketAddr,
}

impl Server {
    /// Serves a webapp.
    ///
    /// # Errors
    /// When the system refuses a thread or a port.
    pub fn start(webapp: Webapp) -> Result<Self> {
        let any = Address::Tcp(([127, 0, 0, 1], 0).into());
        let mut parts = Parts::new();
        let webapp = webapp.install(&mut parts)?;
        HttpxServer::new(any, [webapp]).install("test", &mut parts)?;
        let mut engine = Engine::on(Registry::new(), NonZeroUsize::MIN)?;
        let stage = engine.load_parts(parts)?;
        let server = stage.find::<ServerKind>("test");
        match server.map(|server| server.addresses()).as_deref() {
            Some(&[Address::Tcp(address)]) => Ok(Self { engine, address }),
            _ => Err(Error::other("the server has no address")),
        }
    }

    /// Serves a webapp that has this handlet alone.
    ///
    /// # Errors
    /// See [`Server::start`].
    pub fn of(handlet: impl Handlet) -> Result<Self> {
        Self::start(Webapp::new("test").rule(Rule::new().handlet(handlet)))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it as a program would: what is under way is finished first.
    pub async fn quit(self) {
        self.engine.quit().await;
    }
}
