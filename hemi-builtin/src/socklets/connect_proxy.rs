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
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hemi_core::config::Size;
use hemi_core::deadline::Patience;
use hemi_core::io::{Io as _, Relay, Relayed};
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use hemi_proto::socks::Host;
use hemi_web::{Datagrams, Reply, Request, Response, Socklet};
use http::header::{HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, UPGRADE};
use http::{Method, StatusCode};
use serde::Deserialize;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::access_list::{AccessConfig, AccessList};
use crate::destinations::{Destinations, DestinationsConfig, NoWay};
use crate::realm::Realm;
use crate::servers::proxying::Counters;
use crate::users::{Credentials, UserList, UsersConfig};

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
    /// How long nothing may pass either way.
    idle_timeout: Duration,
    /// Bytes that may pass in a second, each way of each stream, such as `1M`; any number by default.
    bandwidth: Option<Size>,
}

impl Default for ConnectProxyConfig {
    fn default() -> Self {
        let (realm, idle_timeout) = (Realm::default(), Duration::from_secs(600));
        Self { realm, udp: true, idle_timeout, bandwidth: None }
    }
}

/// A forward proxy in a webapp.
#[derive(Debug)]
pub struct ConnectProxy {
    challenge: HeaderValue,
    udp: bool,
    idle: Duration,
    rate: Option<NonZeroU64>,
    clients: AccessList,
    users: Option<UserList>,
    destinations: Destinations,
    counters: Arc<Counters>,
}

/// What a client wants.
enum Wanted {
    Stream(Host, u16),
    Datagrams(Host, u16),
}

impl Component for ConnectProxy {
    const SIGN: &'static str = "connectProxy";
    type Config = (ConnectProxyConfig, AccessConfig, UsersConfig, DestinationsConfig);

    fn create(
        (config, access, users, destinations): Self::Config,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let cores = cx.cores();
        let anonymous = users.is_empty();
        let users = if anonymous { None } else { Some(UserList::create(users, cx)?) };
        let access = if anonymous { access.or_local() } else { access };
        Ok(Self {
            challenge: config.realm.challenge("Basic", ", charset=\"UTF-8\""),
            udp: config.udp,
            idle: config.idle_timeout,
            rate: config.bandwidth.and_then(|bytes| NonZeroU64::new(bytes.0)),
            clients: AccessList::create(access, cx)?,
            users,
            destinations: Destinations::create(destinations, cx)?,
            counters: cx.keep(|| Counters::new(cores)),
        })
    }
}

impl Lifecycle for ConnectProxy {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.clients.prepare(cx)?;
        self.users.as_ref().map_or(Ok(()), |users| users.prepare(cx))
    }

    async fn run(&self, cx: &Run) {
        match &self.users {
            Some(users) => drop(tokio::join!(self.clients.run(cx), users.run(cx))),
            None => self.clients.run(cx).await,
        }
    }

    fn measure(&self, out: &mut Measures) {
        self.counters.measure(out);
    }
}

impl Socklet for ConnectProxy {
    async fn accept(&self, req: &mut Request) -> Reply {
        let wanted = match wanted(req) {
            Some(Ok(Wanted::Datagrams(..))) if !self.udp => return StatusCode::FORBIDDEN.into(),
            Some(Ok(wanted)) => wanted,
            Some(Err(status)) => return status.into(),
            None => return Reply::Next,
        };
        if !self.clients.allows(req.remote_ip()) {
            self.counters.denied.add(1);
            return StatusCode::FORBIDDEN.into();
        }
        let field = req.headers().get(PROXY_AUTHORIZATION);
        let said = field.and_then(|field| Credentials::of_basic(field.as_bytes()));
        let user = match self.log_in(said).await {
            Ok(user) => user,
            Err(refused) => return refused.into(),
        };
        let opened = match wanted {
            Wanted::Stream(host, port) => self.open_stream(&host, port, user.as_deref()).await,
            Wanted::Datagrams(host, port) => {
                self.open_datagrams(&host, port, user.as_deref()).await
            }
        };
        match opened {
            Ok(response) => response.into(),
            Err(why) => {
                if matches!(why, NoWay::Denied) {
                    self.counters.denied.add(1);
                }
                why.status().into()
            }
        }
    }
}

impl ConnectProxy {
    /// Who the client is, if it has to say so.
    async fn log_in(&self, said: Option<Credentials>) -> Result<Option<String>, Response> {
        let Some(users) = &self.users else { return Ok(None) };
        let known = match &said {
            Some(said) => users.check(said).await,
            None => Ok(false),
        };
        match known {
            Ok(true) => Ok(said.map(|said| said.name)),
            Ok(false) => {
                self.counters.denied.add(1);
                let refused = Response::from(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
                Err(refused.field(PROXY_AUTHENTICATE, self.challenge.clone()))
            }
            Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE.into()),
        }
    }

    async fn open_stream(
        &self,
        host: &Host,
        port: u16,
        user: Option<&str>,
    ) -> Result<Response, NoWay> {
        let mut other = self.destinations.dial(host, port, user).await?;
        let relay = Relay { rate: self.rate, ..Relay::new(self.idle) };
        let counters = self.counters.clone();
        Ok(Response::upgrade(move |mut conn| async move {
            let mut passed = Relayed::default();
            let end = relay.run(&mut conn, &mut other, Bytes::new(), &mut passed).await;
            counters.passed(passed);
            if end.is_err() {
                conn.reset();
                other.reset();
            }
        }))
    }

    async fn open_datagrams(
        &self,
        host: &Host,
        port: u16,
        user: Option<&str>,
    ) -> Result<Response, NoWay> {
        let found = self.destinations.find(host, port, user).await?;
        let Some(&to) = found.first() else { return Err(NoWay::Unresolved) };
        let socket = connect(to).await.map_err(NoWay::Unreachable)?;
        let (counters, idle) = (self.counters.clone(), self.idle);
        let response = Response::upgrade(move |conn| async move {
            counters.opened.add(1);
            pass(conn.into_datagrams(), &socket, &counters, idle).await;
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
