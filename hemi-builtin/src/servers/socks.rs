//! The server `socksServer`: a forward proxy by SOCKS 5, 4 and 4a.
//!
//! ```gorox
//! stage {
//! 	socksServer "out" {
//! 		.address = "127.0.0.1:3108"
//! 		.users = ["mia": "$6$oUbwzMOKBm3lw3fh$R9ZzAqmMUxkJgGc7LcqMTiPhCCyxhOuTVjQZD3xYzyPHFnzMqbIFgdXe9LzdLMQZmcSpbbHO4sIYGUGeq6CHv1"]
//! 		.denyHosts = ("*.internal.test")
//! 	}
//! }
//! ```
//!
//! Clients connect through it (CONNECT), send datagrams (UDP ASSOCIATE), and if `commands` says so wait for a
//! connection (BIND). Where there are users, clients log in by name and password, which version 4 can't.
//! Where there are neither users nor `.allow`, only clients on this machine are served: it is no open proxy by mistake.
//!
//! Nobody gets to this machine or a private network through it, unless `allowHosts` has a block of these, or
//! `allowPrivate` says so.

mod associate;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::Explain;
use hemi_core::config::ConfigType;
use hemi_core::deadline::within;
use hemi_core::gate::Accepted;
use hemi_core::io::{Ends, Io as _, NotReceived, Socket, receive, send};
use hemi_core::listen::Peer;
use hemi_proto::socks::{
    Command, Hello, Host, Login, Method, Reply, Request, SocksError, put_login, put_method,
    put_reply, put_reply_four,
};
use serde::Deserialize;
use tokio::net::TcpListener;
use tracing::debug;

use super::forward::{ForwardServer, Protocol, Proxy};
use crate::destinations::NoWay;
use crate::tokens::TokensConfig;
use crate::users::Credentials;

/// A forward proxy by SOCKS.
pub type SocksServer = ForwardServer<Socks>;

/// A forward proxy by SOCKS.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct SocksConfig {
    /// What clients may want: `"connect"`, `"udp"` (UDP ASSOCIATE) and `"bind"`.
    pub commands: Vec<Wanted>,
    /// How long the client has to say what it wants, and to log in.
    pub handshake_timeout: Duration,
    /// How long a connection is waited for after BIND.
    pub bind_timeout: Duration,
}

impl Default for SocksConfig {
    fn default() -> Self {
        Self {
            commands: Vec::from([Wanted::Connect, Wanted::Udp]),
            handshake_timeout: Duration::from_secs(10),
            bind_timeout: Duration::from_secs(60),
        }
    }
}

/// What clients may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wanted {
    /// CONNECT
    Connect,
    /// UDP ASSOCIATE
    Udp,
    /// BIND
    Bind,
}

impl ConfigType for Wanted {
    fn kind() -> std::borrow::Cow<'static, str> {
        "\"connect\", \"udp\" or \"bind\"".into()
    }

    fn show(&self) -> String {
        let name = match self {
            Self::Connect => "connect",
            Self::Udp => "udp",
            Self::Bind => "bind",
        };
        name.to_owned().show()
    }
}

/// How clients of SOCKS say what they want.
#[derive(Debug)]
pub struct Socks(SocksConfig);

impl Protocol for Socks {
    const SIGN: &'static str = "socksServer";
    type Config = SocksConfig;

    fn create(config: SocksConfig) -> (Self, TokensConfig) {
        (Self(config), TokensConfig::default())
    }

    async fn serve(proxy: Arc<Proxy<Self>>, accepted: Accepted) {
        let Accepted { socket, peer, ticket, .. } = accepted;
        let mut session = Session { proxy, socket, peer, buf: BytesMut::new(), user: None };
        if let Some(Err(why)) = ticket.until_ending(session.run()).await {
            debug!(peer = %session.peer, "a client of SOCKS is not served: {why:?}");
        }
    }
}

/// A client's connection.
struct Session {
    proxy: Arc<Proxy<Socks>>,
    socket: Socket,
    peer: Peer,
    buf: BytesMut,
    /// Who has logged in.
    user: Option<String>,
}

/// The version that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Four,
    Five,
}

/// Why a client is not served.
#[derive(Debug)]
#[expect(dead_code, reason = "they are told in the log")]
enum Unserved {
    Handshake(NotReceived<SocksError>),
    Io(io::Error),
    Denied(&'static str),
    Way(NoWay),
}

impl From<io::Error> for Unserved {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<NotReceived<SocksError>> for Unserved {
    fn from(why: NotReceived<SocksError>) -> Self {
        Self::Handshake(why)
    }
}

impl Session {
    async fn run(&mut self) -> Result<(), Unserved> {
        if !self.proxy.proxying.serves(self.peer.ip()) {
            self.socket.reset();
            return Err(Unserved::Denied("the client's address"));
        }
        let limit = self.limit();
        match receive(&mut self.socket, &mut self.buf, limit, Hello::read).await? {
            Hello::Four(_) if self.proxy.proxying.has_users() => {
                self.reply(Version::Four, Reply::NotAllowed, nowhere()).await?;
                Err(self.deny("version 4 can't log in"))
            }
            Hello::Four(request) => self.fulfil(Version::Four, request).await,
            Hello::Five { anonymous, password } => {
                self.log_in(anonymous, password).await?;
                let read = receive(&mut self.socket, &mut self.buf, limit, Request::read).await;
                if let Err(NotReceived::Malformed(e)) = &read
                    && let Some(reply) = e.reply()
                {
                    self.reply(Version::Five, reply, nowhere()).await?;
                }
                self.fulfil(Version::Five, read?).await
            }
        }
    }

    /// Has the client log in, if it has to.
    async fn log_in(&mut self, anonymous: bool, password: bool) -> Result<(), Unserved> {
        let (proxy, limit) = (self.proxy.clone(), self.limit());
        let has_users = proxy.proxying.has_users();
        let method = match has_users {
            false => anonymous.then_some(Method::Anonymous),
            true => password.then_some(Method::Password),
        };
        let mut out = BytesMut::new();
        put_method(&mut out, method);
        send(&mut self.socket, &out, limit).await?;
        if method.is_none() {
            return Err(self.deny("no way to log in"));
        }
        if !has_users {
            return Ok(());
        }
        let login = receive(&mut self.socket, &mut self.buf, limit, Login::read).await?;
        let (name, password) = (String::from_utf8(login.name), String::from_utf8(login.password));
        let good = match (name, password) {
            (Ok(name), Ok(password)) => {
                let said = Credentials { name, password };
                let good = proxy.proxying.knows(&said).await.unwrap_or(false);
                self.user = good.then_some(said.name);
                good
            }
            _ => false,
        };
        out.clear();
        put_login(&mut out, good);
        send(&mut self.socket, &out, limit).await?;
        if good { Ok(()) } else { Err(self.deny("the login")) }
    }

    async fn fulfil(&mut self, version: Version, request: Request) -> Result<(), Unserved> {
        let wanted = match request.command {
            Command::Connect => Wanted::Connect,
            Command::Bind => Wanted::Bind,
            Command::Associate => Wanted::Udp,
        };
        if !self.proxy.protocol.0.commands.contains(&wanted) {
            self.reply(version, Reply::UnknownCommand, nowhere()).await?;
            return Err(self.deny("the command"));
        }
        match wanted {
            Wanted::Connect => self.connect(version, request).await,
            Wanted::Bind => self.bind(version, request).await,
            Wanted::Udp => associate::run(self, version).await,
        }
    }

    async fn connect(&mut self, version: Version, request: Request) -> Result<(), Unserved> {
        let Request { host, port, .. } = request;
        let dialed = self.proxy.proxying.dial(&host, port, self.user.as_deref()).await;
        match dialed {
            Ok(other) => {
                let at = other.local_addr().unwrap_or_else(nowhere);
                self.reply(version, Reply::Succeeded, at).await?;
                self.relay(other).await
            }
            Err(no_way) => self.no_way(version, no_way).await,
        }
    }

    /// Waits for a connection of the host, and tells the client where to.
    async fn bind(&mut self, version: Version, request: Request) -> Result<(), Unserved> {
        let proxying = &self.proxy.proxying;
        let expected = match &request.host {
            Host::Ip(ip) if ip.is_unspecified() => None,
            host => match proxying.find(host, request.port, self.user.as_deref()).await {
                Ok(found) => Some(found),
                Err(no_way) => return self.no_way(version, no_way).await,
            },
        };
        let own = self.socket.local_addr().map_or(Ipv4Addr::LOCALHOST.into(), |at| at.ip());
        let listener = TcpListener::bind((own, 0)).await?;
        self.reply(version, Reply::Succeeded, listener.local_addr()?).await?;
        let accepting = async {
            loop {
                let (stream, from) = listener.accept().await?;
                let ip = from.ip().to_canonical();
                if expected.as_ref().is_none_or(|all| all.iter().any(|at| at.ip() == ip)) {
                    return io::Result::Ok((stream, from));
                }
            }
        };
        match within(self.proxy.protocol.0.bind_timeout, accepting).await {
            Some(Ok((stream, from))) => {
                drop(listener);
                self.reply(version, Reply::Succeeded, from).await?;
                self.relay(stream.into()).await
            }
            Some(Err(e)) => Err(e.into()),
            None => {
                self.reply(version, Reply::TimedOut, nowhere()).await?;
                Err(io::Error::from(io::ErrorKind::TimedOut).into())
            }
        }
    }

    async fn no_way(&mut self, version: Version, why: NoWay) -> Result<(), Unserved> {
        use io::ErrorKind as K;
        let reply = match &why {
            NoWay::Denied => Reply::NotAllowed,
            NoWay::Unresolved => Reply::HostUnreachable,
            NoWay::Unreachable(e) => match e.kind() {
                K::ConnectionRefused => Reply::Refused,
                K::NetworkUnreachable => Reply::NetworkUnreachable,
                K::HostUnreachable => Reply::HostUnreachable,
                K::TimedOut => Reply::TimedOut,
                _ => Reply::Failed,
            },
        };
        self.reply(version, reply, nowhere()).await?;
        Err(Unserved::Way(why))
    }

    async fn relay(&mut self, mut other: Socket) -> Result<(), Unserved> {
        let early = std::mem::take(&mut self.buf).freeze();
        let proxying = &self.proxy.proxying;
        Ok(proxying.relay(&mut self.socket, &mut other, early, Ends::Both).await?)
    }

    async fn reply(&mut self, version: Version, reply: Reply, at: SocketAddr) -> io::Result<()> {
        let mut out = BytesMut::new();
        match version {
            Version::Four => put_reply_four(&mut out, reply, at),
            Version::Five => put_reply(&mut out, reply, at),
        }
        let limit = self.limit();
        send(&mut self.socket, &out, limit).await
    }

    /// How long the client has for each word.
    fn limit(&self) -> Duration {
        self.proxy.protocol.0.handshake_timeout
    }

    fn deny(&self, what: &'static str) -> Unserved {
        self.proxy.proxying.counters().denied.add(1);
        Unserved::Denied(what)
    }
}

/// An address where there is none to tell.
fn nowhere() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
}
