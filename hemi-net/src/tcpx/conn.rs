//! A connection on its way through a router.

use std::any::Any;
use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hemi_core::backend::Target;
use hemi_core::clock::{self, Moment};
use hemi_core::config::Lookup;
use hemi_core::deadline::Patience;
use hemi_core::io::{Io, Outbox, Relay, Relayed, pool};
use hemi_core::listen::Peer;
use hemi_core::tls::{Link, TlsInfo};
use hemi_proto::client_hello::{self, ClientHello};
use hemi_proto::pgsql::Startup;
use hemi_proto::redis;
use hemi_proto::sniff::{self, Guess, Protocol};

use super::mysql::Client;
use super::opening::Begun;
use crate::{Dialed, NetVar};

/// A connection that a router has accepted.
#[derive(Debug)]
pub struct TcpxConn {
    link: Link,
    /// What the client has said, and nobody has taken yet.
    early: BytesMut,
    peer: Peer,
    /// Where it was meant to go, if that is known from a proxy in front or the firewall.
    diverted: Option<SocketAddr>,
    /// Where it has come, once that was asked.
    local: OnceLock<Option<SocketAddr>>,
    since: Moment,
    /// There if TLS is terminated.
    tls: Option<Arc<TlsInfo>>,
    hello: Option<Box<ClientHello>>,
    /// What it has named in a protocol that begins with that.
    startup: Option<Box<Startup>>,
    /// There while a client of MySQL has not proved who it is.
    pub(super) mysql: Option<Box<Client>>,
    /// None before the client's first bytes were looked at.
    protocol: Option<&'static str>,
    /// What is let go of with the connection.
    held: Vec<Box<dyn Any + Send + Sync>>,
    pub(super) node: Option<Target>,
    pub(super) passed: Relayed,
    pub(super) reason: &'static str,
}

impl TcpxConn {
    pub(super) fn new(link: Link, peer: Peer, diverted: Option<SocketAddr>) -> Self {
        let tls = match &link {
            Link::Tls(stream) => Some(stream.info().clone()),
            Link::Plain(_) => None,
        };
        Self {
            link,
            early: BytesMut::new(),
            peer,
            diverted,
            local: OnceLock::new(),
            since: clock::now(),
            tls,
            hello: None,
            startup: None,
            mysql: None,
            protocol: None,
            held: Vec::new(),
            node: None,
            passed: Relayed::default(),
            reason: "unmatched",
        }
    }

    /// Where it comes from.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The client's address; none if it comes by a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.peer.ip()
    }

    /// Where the client has connected to; none if that is a Unix socket.
    #[must_use]
    pub fn reached(&self) -> Option<SocketAddr> {
        if self.diverted.is_some() {
            return self.diverted;
        }
        let Link::Plain(socket) = &self.link else { return self.local.get().copied().flatten() };
        *self.local.get_or_init(|| socket.local_addr())
    }

    /// Where it was meant to go, and not to this router, if that is known from a proxy in front or the firewall.
    #[must_use]
    pub fn diverted(&self) -> Option<SocketAddr> {
        self.diverted
    }

    pub(super) fn note_local(&self, local: Option<SocketAddr>) {
        let _ = self.local.set(local);
    }

    /// It has begun like this, and these bytes are still to be read.
    pub(super) fn begin(&mut self, begun: Begun, early: BytesMut) {
        self.early = early;
        match begun {
            Begun::Pgsql(startup) => {
                self.startup = startup.map(Box::new);
                self.protocol = Some(Protocol::Pgsql.name());
            }
            Begun::Mysql(client) => {
                let (user, database) = (client.login.user.clone(), client.login.database.clone());
                self.startup = Some(Box::new(Startup { user, database }));
                self.protocol = Some("mysql");
                self.mysql = Some(client);
            }
            Begun::Redis(redis::Startup { user, database }) => {
                self.startup = Some(Box::new(Startup { user, database }));
                self.protocol = Some(Protocol::Redis.name());
            }
        }
    }

    /// How long ago it was accepted.
    #[must_use]
    pub fn age(&self) -> Duration {
        clock::now().since(self.since)
    }

    /// When it was accepted.
    #[must_use]
    pub fn since(&self) -> Moment {
        self.since
    }

    /// The connection itself, and what was received already.
    pub fn parts(&mut self) -> (&mut Link, &mut BytesMut) {
        (&mut self.link, &mut self.early)
    }

    /// Keeps something until the connection is closed.
    pub fn hold(&mut self, what: impl Any + Send + Sync) {
        self.held.push(Box::new(what));
    }

    /// Says why it ended, for the log.
    pub fn end_as(&mut self, reason: &'static str) {
        self.reason = reason;
    }

    /// Has the client see an error, and not an end, when the connection is closed.
    pub fn reset(&mut self) {
        self.link.reset();
    }

    /// Sends this; whether all of it was taken.
    pub async fn send(&mut self, mut out: Outbox) -> bool {
        poll_fn(|cx| self.link.poll_send(cx, &mut out)).await.is_ok()
    }

    /// Passes on what both sides send, until both have ended; first what the client has said already.
    pub async fn relay(&mut self, dialed: Dialed, relay: Relay) {
        let Dialed { link: mut other, target, pick: _pick, .. } = dialed;
        self.node = Some(target);
        let early = self.take_early();
        let ended = relay.run(&mut self.link, &mut other, early, &mut self.passed).await;
        self.reason = match &ended {
            Ok(()) => "done",
            Err(e) if e.kind() == io::ErrorKind::TimedOut => "timeout",
            Err(_) => "broken",
        };
        if ended.is_err() {
            // What is cut off must not look whole.
            self.link.reset();
            other.reset();
        }
    }

    fn take_early(&mut self) -> Bytes {
        let early = std::mem::take(&mut self.early);
        if early.capacity() == 0 { Bytes::new() } else { early.freeze() }
    }

    /// Looks at what the client says first, for so long at most, and leaves it there.
    pub(super) async fn peek(&mut self, limit: Duration) {
        if self.protocol.is_some() {
            return;
        }
        let mut patience = Patience::default();
        poll_fn(|cx| {
            loop {
                if self.is_known() {
                    return Poll::Ready(());
                }
                if self.early.capacity() == 0 {
                    self.early = pool::take();
                }
                self.early.reserve(1);
                match self.link.poll_recv(cx, &mut self.early) {
                    // An end, or an error, is found again by who reads on.
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => {
                        if self.early.is_empty() {
                            pool::give(std::mem::take(&mut self.early));
                        }
                        let over = patience.is_over(cx, limit);
                        return if over { Poll::Ready(()) } else { Poll::Pending };
                    }
                }
            }
        })
        .await;
        if self.protocol.is_none() {
            // In MySQL's protocol it is the server that greets.
            self.protocol = Some(if self.early.is_empty() { "mysql" } else { "" });
        }
    }

    /// Whether what has come tells all there is to know.
    fn is_known(&mut self) -> bool {
        match sniff::guess(&self.early) {
            Guess::Is(Protocol::Tls) => match ClientHello::read(&self.early) {
                Ok(None) if self.early.len() <= client_hello::MAX => return false,
                Ok(hello) => self.hello = hello.map(Box::new),
                Err(_) => {}
            },
            Guess::NeedMore => return false,
            Guess::Is(_) | Guess::Unknown => {}
        }
        self.protocol = Some(match sniff::guess(&self.early) {
            Guess::Is(protocol) => protocol.name(),
            _ => "",
        });
        true
    }

    fn server_name(&self) -> &str {
        let terminated = self.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        let peeked = self.hello.as_ref().and_then(|hello| hello.server_name.as_deref());
        terminated.or(peeked).unwrap_or_default()
    }

    fn next_proto(&self) -> &[u8] {
        let terminated = self.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        terminated.or(self.hello.as_ref().map(|hello| &*hello.protocols)).unwrap_or_default()
    }
}

impl Lookup<NetVar> for TcpxConn {
    fn lookup<'a>(&'a self, var: &'a NetVar) -> Cow<'a, [u8]> {
        let text = |text: String| Cow::Owned(text.into_bytes());
        let source = match self.peer {
            Peer::Tcp(address) => Some(address),
            Peer::Unix => None,
        };
        match var {
            NetVar::SrcHost => source.map(|at| text(at.ip().to_string())).unwrap_or_default(),
            NetVar::SrcPort => source.map(|at| text(at.port().to_string())).unwrap_or_default(),
            NetVar::DstHost => {
                self.reached().map(|at| text(at.ip().to_string())).unwrap_or_default()
            }
            NetVar::DstPort => {
                self.reached().map(|at| text(at.port().to_string())).unwrap_or_default()
            }
            NetVar::ServerName => self.server_name().as_bytes().into(),
            NetVar::NextProto => self.next_proto().into(),
            NetVar::Protocol => self.protocol.unwrap_or_default().as_bytes().into(),
            NetVar::User => {
                self.startup.as_ref().map_or(&[][..], |startup| startup.user.as_bytes()).into()
            }
            NetVar::Database => {
                self.startup.as_ref().map_or(&[][..], |startup| startup.database.as_bytes()).into()
            }
            NetVar::Node => {
                let node = self.node.as_ref();
                node.map(|node| text(node.to_string())).unwrap_or_default()
            }
            NetVar::BytesReceived => text(self.passed.there.to_string()),
            NetVar::BytesSent => text(self.passed.back.to_string()),
            NetVar::Reason => self.reason.as_bytes().into(),
            // What the log alone knows.
            NetVar::ConnTime | NetVar::Time | NetVar::Router | NetVar::Case => Cow::default(),
        }
    }
}
