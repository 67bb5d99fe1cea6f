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
use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::config::{ConfigType, Size, Spanned};
use hemi_core::deadline::within;
use hemi_core::gate::{Accepted, Gate, GateConfig, GateCounters};
use hemi_core::io::{Io as _, NotReceived, Relay, Relayed, Socket, receive, send};
use hemi_core::listen::{Address, ListenOptions, Peer};
use hemi_core::metrics::Measures;
use hemi_core::server::Server;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use hemi_proto::socks::{
    Command, Hello, Host, Login, Method, Reply, Request, SocksError, put_login, put_method,
    put_reply, put_reply_four,
};
use serde::Deserialize;
use tokio::net::TcpListener;
use tracing::debug;

use super::proxying::Counters;
use crate::access_list::{AccessConfig, AccessList};
use crate::destinations::{Destinations, DestinationsConfig, NoWay};
use crate::users::{Credentials, UserList, UsersConfig};

/// A forward proxy by SOCKS.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct SocksConfig {
    /// Where to listen: `"127.0.0.1:1080"`, `":1080"`, or the path of a Unix socket.
    pub address: Spanned<Address>,
    /// What clients may want: `"connect"`, `"udp"` (UDP ASSOCIATE) and `"bind"`.
    #[serde(default = "usual_commands")]
    pub commands: Vec<Wanted>,
    /// How long the client has to say what it wants, and to log in.
    #[serde(default = "ten_seconds")]
    pub handshake_timeout: Duration,
    /// How long nothing may pass either way.
    #[serde(default = "ten_minutes")]
    pub idle_timeout: Duration,
    /// How long a connection is waited for after BIND.
    #[serde(default = "one_minute")]
    pub bind_timeout: Duration,
    /// Bytes that may pass in a second, each way of each connection, such as `1M`; any number by default.
    #[serde(default)]
    pub bandwidth: Option<Size>,
}

fn usual_commands() -> Vec<Wanted> {
    [Wanted::Connect, Wanted::Udp].to_vec()
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
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

/// A forward proxy by SOCKS.
#[derive(Debug)]
pub struct SocksServer {
    address: Address,
    gate_config: GateConfig,
    gate_counters: Arc<GateCounters>,
    gate: OnceLock<Gate>,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    commands: Vec<Wanted>,
    handshake: Duration,
    idle: Duration,
    bind: Duration,
    rate: Option<NonZeroU64>,
    clients: AccessList,
    users: Option<UserList>,
    destinations: Destinations,
    counters: Arc<Counters>,
}

impl Component for SocksServer {
    const SIGN: &'static str = "socksServer";
    type Config = (SocksConfig, GateConfig, AccessConfig, UsersConfig, DestinationsConfig);

    fn create(
        (config, gate, access, users, destinations): Self::Config,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let address = cx.listen_on(config.address)?;
        let cores = cx.cores();
        let anonymous = users.is_empty();
        let users = if anonymous { None } else { Some(UserList::create(users, cx)?) };
        let access = if anonymous { access.or_local() } else { access };
        let shared = Shared {
            commands: config.commands,
            handshake: config.handshake_timeout,
            idle: config.idle_timeout,
            bind: config.bind_timeout,
            rate: config.bandwidth.and_then(|bytes| NonZeroU64::new(bytes.0)),
            clients: AccessList::create(access, cx)?,
            users,
            destinations: Destinations::create(destinations, cx)?,
            counters: cx.keep(|| Counters::new(cores)),
        };
        Ok(Self {
            address,
            gate_config: gate,
            gate_counters: cx.keep(|| GateCounters::new(cores)),
            gate: OnceLock::new(),
            shared: Arc::new(shared),
        })
    }
}

impl Lifecycle for SocksServer {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let (options, counters) = (ListenOptions::default(), self.gate_counters.clone());
        let gate = Gate::open(cx, &self.address, &self.gate_config, options, counters)?;
        let _ = self.gate.set(gate);
        self.shared.clients.prepare(cx)?;
        self.shared.users.as_ref().map_or(Ok(()), |users| users.prepare(cx))
    }

    async fn run(&self, cx: &Run) {
        let Some(gate) = self.gate.get() else { return };
        let shared = self.shared.clone();
        let follow = async {
            match &self.shared.users {
                Some(users) => drop(tokio::join!(self.shared.clients.run(cx), users.run(cx))),
                None => self.shared.clients.run(cx).await,
            }
        };
        tokio::join!(gate.run(cx, move |accepted| serve(shared.clone(), accepted)), follow);
    }

    fn measure(&self, out: &mut Measures) {
        if let Some(gate) = self.gate.get() {
            gate.measure(out);
        }
        self.shared.counters.measure(out);
    }
}

impl Server for SocksServer {
    fn active(&self) -> usize {
        self.gate.get().map_or(0, Gate::active)
    }

    fn addresses(&self) -> Vec<Address> {
        self.gate.get().map(|gate| gate.address().clone()).into_iter().collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.gate_counters.named().into_iter().chain(self.shared.counters.named()).collect()
    }
}

async fn serve(shared: Arc<Shared>, accepted: Accepted) {
    let Accepted { socket, peer, ticket, .. } = accepted;
    let mut session = Session { shared, socket, peer, buf: BytesMut::new(), user: None };
    if let Some(Err(why)) = ticket.until_ending(session.run()).await {
        debug!(peer = %session.peer, "a client of SOCKS is not served: {why:?}");
    }
}

/// A client's connection.
struct Session {
    shared: Arc<Shared>,
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
        if !self.shared.clients.allows(self.peer.ip()) {
            self.socket.reset();
            return Err(self.deny("the client's address"));
        }
        let limit = self.shared.handshake;
        match receive(&mut self.socket, &mut self.buf, limit, Hello::read).await? {
            Hello::Four(_) if self.shared.users.is_some() => {
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
        let shared = self.shared.clone();
        let limit = shared.handshake;
        let method = match &shared.users {
            None => anonymous.then_some(Method::Anonymous),
            Some(_) => password.then_some(Method::Password),
        };
        let mut out = BytesMut::new();
        put_method(&mut out, method);
        send(&mut self.socket, &out, limit).await?;
        let (Some(_), users) = (method, &shared.users) else {
            return Err(self.deny("no way to log in"));
        };
        let Some(users) = users else { return Ok(()) };
        let login = receive(&mut self.socket, &mut self.buf, limit, Login::read).await?;
        let (name, password) = (String::from_utf8(login.name), String::from_utf8(login.password));
        let good = match (name, password) {
            (Ok(name), Ok(password)) => {
                let credentials = Credentials { name, password };
                let known = users.check_now(&credentials);
                let good = match known {
                    Some(good) => good,
                    None => users.check(&credentials).await.unwrap_or(false),
                };
                self.user = good.then_some(credentials.name);
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
        if !self.shared.commands.contains(&wanted) {
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
        let shared = self.shared.clone();
        match shared.destinations.dial(&host, port, self.user.as_deref()).await {
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
        let shared = self.shared.clone();
        let expected = match &request.host {
            Host::Ip(ip) if ip.is_unspecified() => None,
            host => {
                match shared.destinations.find(host, request.port, self.user.as_deref()).await {
                    Ok(found) => Some(found),
                    Err(no_way) => return self.no_way(version, no_way).await,
                }
            }
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
        match within(shared.bind, accepting).await {
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
        if matches!(why, NoWay::Denied) {
            self.shared.counters.denied.add(1);
        }
        self.reply(version, reply, nowhere()).await?;
        Err(Unserved::Way(why))
    }

    async fn relay(&mut self, mut other: Socket) -> Result<(), Unserved> {
        let shared = self.shared.clone();
        let early = std::mem::take(&mut self.buf).freeze();
        let mut passed = Relayed::default();
        let relay = Relay { rate: shared.rate, ..Relay::new(shared.idle) };
        let end = relay.run(&mut self.socket, &mut other, early, &mut passed).await;
        shared.counters.passed(passed);
        if end.is_err() {
            self.socket.reset();
            other.reset();
        }
        Ok(end?)
    }

    async fn reply(&mut self, version: Version, reply: Reply, at: SocketAddr) -> io::Result<()> {
        let mut out = BytesMut::new();
        match version {
            Version::Four => put_reply_four(&mut out, reply, at),
            Version::Five => put_reply(&mut out, reply, at),
        }
        send(&mut self.socket, &out, self.shared.handshake).await
    }

    fn deny(&self, what: &'static str) -> Unserved {
        self.shared.counters.denied.add(1);
        Unserved::Denied(what)
    }
}

/// An address where there is none to tell.
fn nowhere() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
}
