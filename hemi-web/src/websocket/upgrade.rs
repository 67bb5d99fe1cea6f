//! From a request to a WebSocket.

use std::sync::Arc;

use bytes::Bytes;
use hemi_core::gate::Outlook;
use hemi_proto::authority::Authority;
use hemi_proto::websocket::deflate::{self, Agreed};
use hemi_proto::websocket::handshake::{self, HandshakeError};
use hemi_proto::websocket::{Decoder, Deflater, Inflater, Role};
use http::header::{
    ALLOW, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, StatusCode};

use super::driver::Driver;
use super::state::Shared;
use super::{Outcome, SocketReceiver, SocketSender, WebSocket, WebSocketConfig};
use crate::{Extract, Matched, Request, Respond, Response};

/// A request for a WebSocket, which a handle takes, or a socklet makes of its request.
///
/// A request for something else is answered 426, and one that asks in a wrong way 400. One of a page of
/// another site, whose user may not know of it, is answered 403, unless [`WebSocketConfig::origins`] has it.
///
/// ```
/// use hemi_web::testing::{Server, TestSocket};
/// use hemi_web::{Mapper, Response, WebSocketConfig, WebSocketUpgrade};
///
/// async fn news(upgrade: WebSocketUpgrade) -> Response {
///     let config = WebSocketConfig { max_fragments: 1, ..WebSocketConfig::default() };
///     upgrade.config(config).protocols(["v2.news", "v1.news"]).on_upgrade(async |mut socket| {
///         let protocol = socket.protocol().unwrap_or("none").to_owned();
///         socket.send(protocol).await
///     })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::of(Mapper::new().get("/news", news))?;
/// let offer = [("sec-websocket-protocol", "v1.news, v3.news")];
/// let mut client = TestSocket::connect_with(server.address(), "/news", &offer).await?;
/// assert_eq!(client.header("sec-websocket-protocol"), Some("v1.news"));
/// assert_eq!(client.recv().await?.unwrap().as_text(), Some("v1.news"));
/// assert_eq!(client.closed().await?.unwrap().code.number(), 1000);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WebSocketUpgrade {
    /// In HTTP/1 only.
    accept: Option<HeaderValue>,
    asked: HeaderMap,
    authority: Option<Authority>,
    config: WebSocketConfig,
    protocol: Option<Box<str>>,
}

impl WebSocketUpgrade {
    /// The same for a socklet.
    ///
    /// # Errors
    /// When the request asks for something else, or in a wrong way.
    pub fn of(req: &Request) -> Result<Self, HandshakeError> {
        if !req.wants_upgrade() {
            return Err(HandshakeError::NotAsked);
        }
        let accept = handshake::check(req.method(), req.version(), req.headers())?;
        let mut asked = HeaderMap::new();
        for name in [ORIGIN, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL] {
            for line in req.headers().get_all(&name) {
                asked.append(name.clone(), line.clone());
            }
        }
        Ok(Self {
            accept,
            asked,
            authority: req.authority().cloned(),
            config: WebSocketConfig::default(),
            protocol: None,
        })
    }

    /// The same with other properties.
    #[must_use]
    pub fn config(self, config: WebSocketConfig) -> Self {
        Self { config, ..self }
    }

    /// The same with these subprotocols, of which the client chooses one; or none, if it speaks none of them.
    #[must_use]
    pub fn protocols<P: Into<String>>(mut self, supported: impl IntoIterator<Item = P>) -> Self {
        let supported: Vec<String> = supported.into_iter().map(Into::into).collect();
        self.protocol = handshake::choose_protocol(&self.asked, &supported).map(Into::into);
        self
    }

    /// The subprotocol that was chosen.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The answer, after which `handle` has the WebSocket.
    #[must_use]
    pub fn on_upgrade<F, Fut>(self, handle: F) -> Response
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        self.answer(|socket, _| handle(socket))
    }

    /// The same for who has to know of the server, too.
    pub(super) fn answer<F, Fut>(self, handle: F) -> Response
    where
        F: FnOnce(WebSocket, Outlook) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        if !self.is_welcome() {
            return StatusCode::FORBIDDEN.into();
        }
        let Self { accept, asked, config, protocol, .. } = self;
        let agreed = config.policy().and_then(|policy| deflate::accept(&asked, policy));
        let name = protocol.clone();
        let mut response = Response::upgrade(move |upgraded| {
            let shared = Arc::new(shared(&config, agreed.as_ref()));
            let outlook = upgraded.outlook().clone();
            let driver = Driver::new(shared.clone(), upgraded, &config);
            let (receiver, sender) = (SocketReceiver(shared.clone()), SocketSender(shared));
            driver.run(handle(WebSocket { receiver, sender, protocol }, outlook))
        });
        let fields = response.headers_mut();
        // Over HTTP/2 and 3 nothing is upgraded, and there is no key (RFC 8441, 5).
        if let Some(accept) = accept {
            fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(value) = agreed.and_then(|agreed| value(agreed.to_string())) {
            fields.insert(SEC_WEBSOCKET_EXTENSIONS, value);
        }
        if let Some(value) = name.and_then(|name| value(name.into())) {
            fields.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        response
    }

    /// What the WebSocket is to be like.
    pub(super) fn properties(&self) -> &WebSocketConfig {
        &self.config
    }

    /// Whether pages of this origin may connect (RFC 6455, 10.2): else the answer is 403.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        let Some(origin) = self.asked.get(ORIGIN) else { return true };
        let is_same = |known: &String| known == "*" || known.as_bytes() == origin.as_bytes();
        let of_same_host = || {
            let origin = origin.to_str().ok()?;
            let (_, authority) = origin.split_once("://")?;
            let authority = Authority::parse(Bytes::copy_from_slice(authority.as_bytes())).ok()?;
            Some(self.authority.as_ref() == Some(&authority))
        };
        self.config.origins.iter().any(is_same) || of_same_host() == Some(true)
    }
}

/// What the halves of a socket share.
fn shared(config: &WebSocketConfig, agreed: Option<&Agreed>) -> Shared {
    let inflater = agreed.map(|agreed| Inflater::new(Role::Server, agreed));
    let deflater = agreed.map(|agreed| Deflater::new(Role::Server, agreed, LEVEL));
    let decoder = Decoder::new(Role::Server, config.limits()).with_inflater(inflater);
    let compress_from = usize::try_from(config.compress_from.0).unwrap_or(usize::MAX);
    Shared::new(Role::Server, decoder, deflater, compress_from)
}

/// How thoroughly messages are compressed: what costs little gains most.
const LEVEL: i32 = 2;

fn value(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

impl<S: Send + Sync + 'static> Extract<S> for WebSocketUpgrade {
    type Error = HandshakeError;
    const AT_ONCE: bool = true;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, HandshakeError> {
        Self::of(req)
    }
}

impl Respond for HandshakeError {
    fn respond(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).respond();
        let fields = response.headers_mut();
        match self {
            Self::NotAsked | Self::Version => {
                fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
                fields.insert(SEC_WEBSOCKET_VERSION, handshake::VERSION);
            }
            Self::Method => {
                fields.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            Self::Key => {}
        }
        response
    }
}
