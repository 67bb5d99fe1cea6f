//! The server `tunnelServer`: a forward proxy by HTTP/1.1, for browsers and programs that know `https_proxy`.
//!
//! ```gorox
//! stage {
//! 	tunnelServer "out" {
//! 		.address = "127.0.0.1:3128"
//! 		.allowHosts = ("*.example.com", "10.0.0.0/8")
//! 		.allowPorts = (80, 443)
//! 		.pacPath = "/proxy.pac"
//! 	}
//! }
//! ```
//!
//! A client asks it for a tunnel to a host (CONNECT, RFC 9110, 9.3.6), or for an `http://` URL, which is
//! asked for on a connection of its own. Where there are users, clients say a name and its password by
//! Basic authentication (RFC 7617); where there are tokens, one of these (Bearer, RFC 6750). Where there are neither
//! these nor `.allow`, only clients on this machine are served: it is no open proxy by mistake.
//!
//! Nobody gets to this machine or a private network through it, unless `allowHosts` has a block of these, or
//! `allowPrivate` says so.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hemi_core::gate::Accepted;
use hemi_core::io::{Ends, Io, NotReceived, Outbox, Socket, receive, send};
use hemi_core::listen::Peer;
use hemi_core::{Explain, Result};
use hemi_proto::authority::Authority;
use hemi_proto::http1::{
    BodyDecoder, BodyLength, Decoded, HeadLimits, HeadReader, RequestHead, Scheme, TargetForm,
    encode_request, encode_response,
};
use hemi_proto::socks::Host;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{Method, StatusCode};
use serde::Deserialize;
use tracing::debug;

use super::forward::{ForwardServer, Protocol, Proxy};
use super::proxying::Unknown;
use crate::destinations::NoWay;
use crate::realm::Realm;
use crate::tokens::TokensConfig;

/// A forward proxy by HTTP.
pub type TunnelServer = ForwardServer<Tunnels>;

/// A forward proxy by HTTP.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelConfig {
    /// Whether requests for `http://` URLs are passed on too, and not tunnels alone.
    pub forward: bool,
    /// Where clients find how to use it, as a file for automatic configuration (PAC): such as
    /// `"/proxy.pac"`. By default there is none.
    pub pac_path: Option<String>,
    /// What clients are told they need a password for.
    realm: Realm,
    /// How long the client has to say what it wants.
    pub head_timeout: Duration,
}

impl Default for TunnelConfig {
    fn default() -> Self {
        let head_timeout = Duration::from_secs(10);
        Self { forward: true, pac_path: None, realm: Realm::default(), head_timeout }
    }
}

/// How clients of HTTP say what they want.
#[derive(Debug)]
pub struct Tunnels(TunnelConfig);

impl Protocol for Tunnels {
    const SIGN: &'static str = "tunnelServer";
    type Config = (TunnelConfig, TokensConfig);

    fn create((config, tokens): Self::Config) -> (Self, TokensConfig) {
        (Self(config), tokens)
    }

    async fn serve(proxy: Arc<Proxy<Self>>, accepted: Accepted) {
        let Accepted { socket, peer, ticket, .. } = accepted;
        let mut client =
            Client { proxy, socket, buf: BytesMut::new(), user: None, content: Content::Sized(0) };
        let served = ticket.until_ending(client.serve(&peer)).await;
        if let Some(Err(refused)) = served {
            debug!(%peer, status = %refused.status, "a client of a proxy is refused: {}", refused.why);
            // Who is gone is not told.
            let _ = ticket.until_ending(client.refuse(&refused)).await;
        }
    }
}

/// A client's connection.
struct Client {
    proxy: Arc<Proxy<Tunnels>>,
    socket: Socket,
    buf: BytesMut,
    /// Who has said a name and its password.
    user: Option<String>,
    /// What has not come of the request's content.
    content: Content,
}

/// Content of a request that is still to come.
enum Content {
    /// So many bytes.
    Sized(u64),
    /// Chunks, which are made anew from what has come of them.
    Chunked(BodyDecoder, BytesMut),
}

/// What a client is told instead of what it wants.
struct Refused {
    status: StatusCode,
    why: &'static str,
}

impl Refused {
    fn new(status: StatusCode, why: &'static str) -> Self {
        Self { status, why }
    }
}

impl From<NoWay> for Refused {
    fn from(why: NoWay) -> Self {
        let text = match &why {
            NoWay::Denied => "this host is not allowed",
            NoWay::Unresolved => "no such host",
            NoWay::Unreachable(e) if e.kind() == io::ErrorKind::TimedOut => {
                "the host does not answer"
            }
            NoWay::Unreachable(_) => "the host can't be connected to",
        };
        Self::new(why.status(), text)
    }
}

impl Client {
    /// Does what the client wants. Once that has begun, there is nothing left to tell.
    async fn serve(&mut self, peer: &Peer) -> Result<(), Refused> {
        if !self.proxy.proxying.serves(peer.ip()) {
            return Err(Refused::new(StatusCode::FORBIDDEN, "the client's address"));
        }
        let (mut reader, mut head) = (HeadReader::default(), RequestHead::default());
        let limits = HeadLimits::default();
        let limit = self.limit();
        let read = receive(&mut self.socket, &mut self.buf, limit, |buf| {
            Ok(reader.read_request(buf, &mut head, &limits)?.then_some(()))
        });
        match read.await {
            Ok(()) => {}
            Err(NotReceived::Malformed(e)) => {
                let e: hemi_proto::http1::HeadError = e;
                return Err(Refused::new(e.status(), "malformed"));
            }
            Err(NotReceived::Timeout) => {
                return Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "too slow"));
            }
            Err(NotReceived::Closed | NotReceived::Io(_)) => return Ok(()),
        }
        let form = head.target.form();
        if form == TargetForm::Origin && self.is_pac(&head) {
            return self.send_pac(&head).await;
        }
        self.authenticate(&head).await?;
        match form {
            TargetForm::Authority => self.tunnel(&head).await,
            TargetForm::Absolute(Scheme::Http) if self.proxy.protocol.0.forward => {
                self.forward(head).await
            }
            _ => Err(Refused::new(StatusCode::BAD_REQUEST, "this is a proxy")),
        }
    }

    async fn authenticate(&mut self, head: &RequestHead) -> Result<(), Refused> {
        let field = head.headers.first(PROXY_AUTHORIZATION);
        self.user = self.proxy.proxying.authorize(field).await.map_err(|why| match why {
            Unknown::Refused => Refused::new(
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                "a name and its password, or a token, is needed",
            ),
            Unknown::Busy => Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many passwords"),
        })?;
        Ok(())
    }

    async fn dial(&self, authority: Option<&Authority>, port: u16) -> Result<Socket, Refused> {
        let bad = || Refused::new(StatusCode::BAD_REQUEST, "no such host");
        let authority = authority.ok_or_else(bad)?;
        let host = authority.hostname().trim_matches(['[', ']']);
        let host: Host = host.parse().map_err(|_| bad())?;
        let port = authority.port().unwrap_or(port);
        Ok(self.proxy.proxying.dial(&host, port, self.user.as_deref()).await?)
    }

    async fn tunnel(&mut self, head: &RequestHead) -> Result<(), Refused> {
        let mut other = self.dial(head.authority.as_ref(), 443).await?;
        let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
        let limit = self.limit();
        if send(&mut self.socket, established, limit).await.is_err() {
            return Ok(());
        }
        let early = std::mem::take(&mut self.buf).freeze();
        // How it ends, both have seen.
        let _ = self.proxy.proxying.relay(&mut self.socket, &mut other, early, Ends::Both).await;
        Ok(())
    }

    /// Asks for what is behind a URL, and passes the answer on as it comes.
    async fn forward(&mut self, head: RequestHead) -> Result<(), Refused> {
        let mut other = self.dial(head.authority.as_ref(), 80).await?;
        let mut request = BytesMut::new();
        let target = head.target.path_and_query_bytes();
        let fields = forwarded(&head);
        encode_request(&mut request, &head.method, &target, &fields)
            .map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "malformed"))?;
        if send(&mut other, &request, self.limit()).await.is_err() {
            return Err(Refused::new(StatusCode::BAD_GATEWAY, "the host has gone"));
        }
        let early = match head.framing {
            BodyLength::Chunked => {
                let decoder = BodyDecoder::new(BodyLength::Chunked);
                self.content = Content::Chunked(decoder, std::mem::take(&mut self.buf));
                Bytes::new()
            }
            BodyLength::Sized(length) => {
                let here = usize::try_from(length).unwrap_or(usize::MAX).min(self.buf.len());
                self.content = Content::Sized(length - here as u64);
                self.buf.split_to(here).freeze()
            }
            BodyLength::None | BodyLength::UntilClose => Bytes::new(),
        };
        let proxy = self.proxy.clone();
        let _ = proxy.proxying.relay(self, &mut other, early, Ends::Second).await;
        Ok(())
    }

    /// How long the client, and the host, have for a head.
    fn limit(&self) -> Duration {
        self.proxy.protocol.0.head_timeout
    }

    fn is_pac(&self, head: &RequestHead) -> bool {
        self.proxy.protocol.0.pac_path.as_deref().is_some_and(|path| path == head.target.path())
            && matches!(head.method, Method::GET | Method::HEAD)
    }

    async fn send_pac(&mut self, head: &RequestHead) -> Result<(), Refused> {
        // What an authority may be made of is harmless in a string.
        let own = head.authority.as_ref().map(Authority::as_str).unwrap_or_default();
        let text =
            format!("function FindProxyForURL(url, host) {{\n    return \"PROXY {own}\";\n}}\n");
        let media_type = HeaderValue::from_static("application/x-ns-proxy-autoconfig");
        let content = if head.method == Method::HEAD { "" } else { &text };
        self.answer(StatusCode::OK, media_type, text.len(), content, Vec::new()).await;
        Ok(())
    }

    async fn refuse(&mut self, refused: &Refused) {
        let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
        let text = format!("{}\n", refused.why);
        let challenges = match refused.status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                self.proxy.proxying.challenges(&self.proxy.protocol.0.realm)
            }
            _ => Vec::new(),
        };
        self.answer(refused.status, media_type, text.len(), &text, challenges).await;
    }

    async fn answer(
        &mut self,
        status: StatusCode,
        media_type: HeaderValue,
        length: usize,
        content: &str,
        challenges: Vec<HeaderValue>,
    ) {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, media_type);
        fields.insert(CONTENT_LENGTH, length.into());
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
        for challenge in challenges {
            fields.append(PROXY_AUTHENTICATE, challenge);
        }
        let mut out = BytesMut::new();
        encode_response(&mut out, status, &fields);
        out.extend_from_slice(content.as_bytes());
        let limit = self.limit();
        let _ = send(&mut self.socket, &out, limit).await;
        let _ = self.socket.shutdown();
    }
}

/// The fields of a request for a host, of those that came with it.
fn forwarded(head: &RequestHead) -> HeaderMap {
    let mut fields = head.headers.to_map();
    let nominated: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    let hop_by_hop = [CONNECTION, PROXY_AUTHORIZATION, TE, UPGRADE];
    let others = ["keep-alive", "proxy-connection"].map(HeaderName::from_static);
    for name in nominated.into_iter().chain(hop_by_hop).chain(others) {
        fields.remove(name);
    }
    fields.append(VIA, HeaderValue::from_static("1.1 hemi"));
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    if head.framing == BodyLength::Chunked {
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    fields
}

/// As the sender of a request's content, and of nothing behind it.
impl Io for Client {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let (decoder, chunks) = match &mut self.content {
            Content::Sized(0) => return Poll::Pending,
            Content::Sized(left) => {
                let before = buf.len();
                let got = ready!(self.socket.poll_recv(cx, buf))?;
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(got);
                buf.truncate(before + taken);
                *left -= taken as u64;
                return Poll::Ready(Ok(taken));
            }
            Content::Chunked(decoder, chunks) => (decoder, chunks),
        };
        if decoder.is_ended() {
            return Poll::Pending;
        }
        let before = buf.len();
        loop {
            match decoder.decode(chunks) {
                Ok(Decoded::Data(data)) => {
                    buf.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                    buf.extend_from_slice(&data);
                    buf.extend_from_slice(b"\r\n");
                    return Poll::Ready(Ok(buf.len() - before));
                }
                Ok(Decoded::End(_)) => {
                    buf.extend_from_slice(b"0\r\n\r\n");
                    return Poll::Ready(Ok(buf.len() - before));
                }
                Ok(Decoded::NeedMore) => {
                    chunks.reserve(4096);
                    if ready!(self.socket.poll_recv(cx, chunks))? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                Err(e) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, e))),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>> {
        self.socket.poll_send(cx, out)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.socket.shutdown()
    }

    fn reset(&mut self) {
        self.socket.reset();
    }
}
