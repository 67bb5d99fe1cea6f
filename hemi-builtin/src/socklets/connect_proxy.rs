//! The socklet `connectProxy`: a forward proxy in a webapp, for clients that speak HTTP/2 or HTTP/3: streams to hosts of
//! their choice (CONNECT, RFC 9113, 8.5, RFC 9114, 4.4), and datagrams (CONNECT-UDP, RFC 9298), those over HTTP/1.1 too.
//!
//! ```gorox
//! stage {
//! 	webapp "proxy" {
//! 		.hostnames = ("*")
//! 		.tlsCertificate = "conf/proxy.crt"
//! 		.tlsPrivateKey = "conf/proxy.key"
//! 		rule {
//! 			connectProxy {
//! 				.users = ["mia": "$6$oUbwzMOKBm3lw3fh$R9ZzAqmMUxkJgGc7LcqMTiPhCCyxhOuTVjQZD3xYzyPHFnzMqbIFgdXe9LzdLMQZmcSpbbHO4sIYGUGeq6CHv1"]
//! 				.allowPorts = (443)
//! 			}
//! 		}
//! 	}
//! 	httpxServer "proxy" {
//! 		.address = ":3143"
//! 		.webapps = ("proxy")
//! 		.tlsMode = true
//! 		.http3 = true
//! 	}
//! }
//! ```
//!
//! Streams are asked for by the host alone, so that the webapp must be one for all names; datagrams at
//! `/.well-known/masque/udp/HOST/PORT/`. CONNECT of HTTP/1.1 is the business of `tunnelServer`, whose properties these
//! are: where there are neither users nor `.allow`, only clients on this machine are served, and nobody gets to this
//! machine or a private network, unless `allowHosts` has a block of these, or `allowPrivate` says so.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hemi_core::deadline::Patience;
use hemi_core::io::Ends;
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use hemi_proto::socks::Host;
use hemi_web::{Datagrams, Reply, Request, Response, Socklet};
use http::header::{HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, UPGRADE};
use http::{Method, StatusCode};
use serde::Deserialize;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::destinations::NoWay;
use crate::realm::Realm;
use crate::servers::proxying::{Counters, ProxyConfig, Proxying, Unknown};
use crate::tokens::TokensConfig;

/// Says that datagrams may be sent as capsules (RFC 9297, 3.4).
const CAPSULE_PROTOCOL: HeaderName = HeaderName::from_static("capsule-protocol");

/// Bytes of a datagram, at most.
const DATAGRAM: usize = 64 << 10;

/// A forward proxy in a webapp.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectProxyConfig {
    /// What clients are told they need a password for.
    realm: Realm,
    /// Whether datagrams are passed on too.
    udp: bool,
}

impl Default for ConnectProxyConfig {
    fn default() -> Self {
        Self { realm: Realm::default(), udp: true }
    }
}

/// A forward proxy in a webapp.
#[derive(Debug)]
pub struct ConnectProxy {
    config: ConnectProxyConfig,
    proxying: Arc<Proxying>,
}

/// What a client wants.
enum Wanted {
    Stream(Host, u16),
    Datagrams(Host, u16),
}

impl Component for ConnectProxy {
    const SIGN: &'static str = "connectProxy";
    type Config = (ConnectProxyConfig, TokensConfig, ProxyConfig);

    fn create((config, tokens, proxy): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { config, proxying: Arc::new(Proxying::create(proxy, tokens, cx)?) })
    }
}

impl Lifecycle for ConnectProxy {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.proxying.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.proxying.run(cx).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.proxying.counters().measure(out);
    }
}

impl Socklet for ConnectProxy {
    async fn accept(&self, req: &mut Request) -> Reply {
        let wanted = match wanted(req) {
            Some(Ok(Wanted::Datagrams(..))) if !self.config.udp => {
                return StatusCode::FORBIDDEN.into();
            }
            Some(Ok(wanted)) => wanted,
            Some(Err(status)) => return status.into(),
            None => return Reply::Next,
        };
        if !self.proxying.serves(req.remote_ip()) {
            return StatusCode::FORBIDDEN.into();
        }
        let field = req.headers().get(PROXY_AUTHORIZATION).map(HeaderValue::as_bytes);
        let user = match self.proxying.authorize(field).await {
            // Whom a handlet has let in before may be known, too.
            Ok(user) => user.or_else(|| req.user().map(str::to_owned)),
            Err(Unknown::Refused) => return self.challenge().into(),
            Err(Unknown::Busy) => return StatusCode::SERVICE_UNAVAILABLE.into(),
        };
        let opened = match wanted {
            Wanted::Stream(host, port) => self.open_stream(&host, port, user.as_deref()).await,
            Wanted::Datagrams(host, port) => {
                self.open_datagrams(&host, port, user.as_deref()).await
            }
        };
        match opened {
            Ok(response) => response.into(),
            Err(why) => why.status().into(),
        }
    }
}

impl ConnectProxy {
    /// The answer to a client that has to say who it is.
    fn challenge(&self) -> Response {
        let refused = Response::from(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let challenges = self.proxying.challenges(&self.config.realm);
        challenges
            .into_iter()
            .fold(refused, |refused, challenge| refused.field(PROXY_AUTHENTICATE, challenge))
    }

    async fn open_stream(
        &self,
        host: &Host,
        port: u16,
        user: Option<&str>,
    ) -> Result<Response, NoWay> {
        let mut other = self.proxying.dial(host, port, user).await?;
        let proxying = self.proxying.clone();
        Ok(Response::upgrade(move |mut conn| async move {
            // How it ends, both have seen.
            let _ = proxying.relay(&mut conn, &mut other, Bytes::new(), Ends::Both).await;
        }))
    }

    async fn open_datagrams(
        &self,
        host: &Host,
        port: u16,
        user: Option<&str>,
    ) -> Result<Response, NoWay> {
        let found = self.proxying.find(host, port, user).await?;
        let Some(&to) = found.first() else { return Err(NoWay::Unresolved) };
        let socket = connect(to).await.map_err(NoWay::Unreachable)?;
        let proxying = self.proxying.clone();
        let response = Response::upgrade(move |conn| async move {
            proxying.counters().opened.add(1);
            let (client, counters) = (conn.into_datagrams(), proxying.counters());
            pass(client, &socket, counters, proxying.idle()).await;
        });
        Ok(response
            .field(UPGRADE, HeaderValue::from_static("connect-udp"))
            .field(CAPSULE_PROTOCOL, HeaderValue::from_static("?1")))
    }
}

/// What a request wants, if it wants what is done here.
fn wanted(req: &Request) -> Option<Result<Wanted, StatusCode>> {
    let bad = Some(Err(StatusCode::BAD_REQUEST));
    if req.method() == Method::CONNECT {
        let authority = req.authority()?;
        let host = authority.hostname().trim_matches(['[', ']']).parse();
        return match (host, authority.port()) {
            (Ok(host), Some(port)) => Some(Ok(Wanted::Stream(host, port))),
            _ => bad,
        };
    }
    if req.header("upgrade") != Some("connect-udp") {
        return None;
    }
    let rest = req.path().strip_prefix("/.well-known/masque/udp/")?;
    let (host, port) = rest.trim_end_matches('/').rsplit_once('/')?;
    match (host.parse(), port.parse()) {
        (Ok(host), Ok(port)) => Some(Ok(Wanted::Datagrams(host, port))),
        _ => bad,
    }
}

async fn connect(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    // Until that was told, nothing would be sent.
    socket.writable().await?;
    Ok(socket)
}

/// Passes datagrams on both ways, until the client ends, or nothing has passed for too long.
async fn pass(mut client: Datagrams, socket: &UdpSocket, counters: &Counters, idle: Duration) {
    let (mut patience, mut buf) = (Patience::default(), vec![0; 1 + DATAGRAM]);
    loop {
        let next = poll_fn(|cx| {
            match client.poll_recv(cx) {
                Poll::Ready(Ok(Some(datagram))) => return Poll::Ready(Next::There(datagram)),
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Pending => {}
            }
            // Before what comes stands whose it is: 0 is that of the host.
            let mut room = ReadBuf::new(&mut buf[1..]);
            match socket.poll_recv(cx, &mut room) {
                Poll::Ready(Ok(())) => return Poll::Ready(Next::Back(room.filled().len())),
                // Nobody listens there, for now.
                Poll::Ready(Err(_)) => return Poll::Ready(Next::Back(0)),
                Poll::Pending => {}
            }
            if patience.is_over(cx, idle) { Poll::Ready(Next::End) } else { Poll::Pending }
        });
        match next.await {
            Next::End => return,
            Next::There(datagram) => match datagram.split_first() {
                Some((0, payload)) => match socket.try_send(payload) {
                    Ok(_) => counters.received.add(payload.len() as u64),
                    Err(_) => counters.dropped.add(1),
                },
                // Those of contexts that nobody has spoken of.
                _ => counters.dropped.add(1),
            },
            Next::Back(0) => {}
            Next::Back(len) => {
                if client.send(&buf[..=len]).await.is_err() {
                    return;
                }
                counters.sent.add(len as u64);
            }
        }
        patience.renew();
    }
}

/// What comes next.
enum Next {
    /// Of the client.
    There(Bytes),
    /// Of the host, so many bytes.
    Back(usize),
    End,
}
