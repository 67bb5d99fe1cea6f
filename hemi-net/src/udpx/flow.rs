//! What has come from a client by UDP, on its way through a router.

use std::any::Any;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::Pick;
use hemi_core::config::Lookup;
use hemi_core::datagrams::{Burst, Sender};
use hemi_core::listen::Address;
use hemi_proto::client_hello::ClientHello;

use super::Home;
use super::session::{Passing, Session, Table};
use crate::quix::conns::{Conn, Id};
use crate::{NetVar, UdpxBackend};

/// Datagrams of a client that have come in a row, and of no session.
pub struct UdpxFlow<'a> {
    pub(super) burst: Burst<'a>,
    pub(super) home: &'a Arc<Home>,
    pub(super) table: &'a mut Table,
    /// What has come before, and is part of it, if that had to be waited for; then the burst is among them.
    pub(super) early: Vec<Box<[u8]>>,
    /// There if it begins a connection of QUIC, and somebody wants to know.
    pub(super) hello: Option<Arc<ClientHello>>,
    /// What it is of, if that is a connection of QUIC.
    pub(super) of: Option<Of>,
    pub(super) case: usize,
    pub(super) held: Vec<Box<dyn Any + Send + Sync>>,
    pub(super) reason: &'static str,
}

/// What datagrams of a connection of QUIC are of.
#[derive(Debug)]
pub(super) enum Of {
    /// One that begins, by the id that its client has chosen for that.
    New(Id),
    /// One whose client comes by another way now, or one of the same node.
    Known(Arc<Conn>),
}

/// How datagrams are passed on.
#[derive(Clone, Debug)]
pub struct UdpxRelay {
    /// The backend.
    pub backend: Arc<UdpxBackend>,
    /// How long nothing may pass either way.
    pub idle: Duration,
    /// After how many answers it is over; any number if that is zero.
    pub answers: u64,
}

/// Answers a client, for as long as somebody wants to.
#[derive(Clone)]
pub struct Answerer {
    home: Arc<Home>,
    client: Sender,
    local: Option<IpAddr>,
}

impl UdpxFlow<'_> {
    /// The client; none if it comes by a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.burst.from.udp()
    }

    /// The client's address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.peer().map(|peer| peer.ip())
    }

    /// Where it has sent to; none if that is a Unix socket.
    #[must_use]
    pub fn reached(&self) -> Option<SocketAddr> {
        let Address::Tcp(bound) = self.home.address else { return None };
        Some(SocketAddr::new(self.burst.to.unwrap_or(bound.ip()), bound.port()))
    }

    /// What it has sent.
    #[must_use]
    pub fn burst(&self) -> Burst<'_> {
        self.burst.clone()
    }

    /// The node that it is to go to if that can be, by its [`hemi_core::backend::Endpoint::id`]: the one that knows
    /// the connection of QUIC that it is of.
    #[must_use]
    pub fn node(&self) -> Option<u64> {
        match &self.of {
            Some(Of::Known(conn)) => Some(conn.node),
            _ => None,
        }
    }

    /// Keeps something until the session is over; if there will be none, until it has been dealt with.
    pub fn hold(&mut self, what: impl Any + Send + Sync) {
        self.held.push(Box::new(what));
    }

    /// Says why it ends here.
    pub fn end_as(&mut self, reason: &'static str) {
        self.reason = reason;
    }

    /// Answers with a datagram; false if there is no room for it now.
    pub fn answer(&self, datagram: &[u8]) -> bool {
        self.home.answer(&self.burst.from, self.burst.to, datagram, datagram.len())
    }

    /// What answers later.
    #[must_use]
    pub fn answerer(&self) -> Answerer {
        Answerer { home: self.home.clone(), client: self.burst.from.clone(), local: self.burst.to }
    }

    /// Passes on what has come to this node, and from now on all that this client sends and the node answers. That
    /// is a session, of which there are only so many: one that no node has answered yet gives way to a new one.
    pub fn relay(&mut self, pick: Pick, how: UdpxRelay) {
        let node = pick.endpoint().target();
        let port = match self.home.port.connect(node) {
            Ok(port) => port,
            Err(e) => {
                tracing::debug!(%node, "cannot pass datagrams on: {e}");
                how.backend.nodes().failed(&pick);
                return self.end_as("unreachable");
            }
        };
        if !self.table.make_room(self.home.shared.most) {
            self.home.shared.counters.refused.add(1);
            return self.end_as("limited");
        }
        let client = (self.burst.from.clone(), self.burst.to);
        let counters = &self.home.shared.counters;
        counters.opened.add(1);
        let conn = match (self.of.take(), &self.home.shared.conns) {
            (Some(Of::Known(conn)), _) => {
                counters.moved.add(1);
                Some(conn)
            }
            (Some(Of::New(first)), Some(conns)) => {
                Some(Conn::new(conns, first, self.hello.clone(), pick.endpoint().id()))
            }
            _ => None,
        };
        let session = Arc::new(Session::new((port, node.clone()), client, self.reached(), conn));
        for bytes in &self.early {
            session.pass(&Burst { bytes, size: bytes.len(), ..self.burst.clone() }, counters);
        }
        if self.early.is_empty() {
            session.pass(&self.burst, counters);
        }
        self.table.add(session.clone());
        let held = std::mem::take(&mut self.held);
        let passing = Passing { pick, how, held, case: self.case };
        tokio::spawn(session.serve(self.home.clone(), passing));
        self.reason = "";
    }
}

impl Answerer {
    /// Answers with a datagram; false if there is no room for it now.
    pub fn answer(&self, datagram: &[u8]) -> bool {
        self.home.answer(&self.client, self.local, datagram, datagram.len())
    }
}

impl Lookup<NetVar> for UdpxFlow<'_> {
    fn lookup<'a>(&'a self, var: &'a NetVar) -> Cow<'a, [u8]> {
        let text = |text: String| Cow::Owned(text.into_bytes());
        match var {
            NetVar::SrcHost => self.ip().map(|ip| text(ip.to_string())).unwrap_or_default(),
            NetVar::SrcPort => {
                self.peer().map(|at| text(at.port().to_string())).unwrap_or_default()
            }
            NetVar::DstHost => {
                self.reached().map(|at| text(at.ip().to_string())).unwrap_or_default()
            }
            NetVar::DstPort => {
                self.reached().map(|at| text(at.port().to_string())).unwrap_or_default()
            }
            NetVar::ServerName => {
                let name = self.hello.as_ref().and_then(|hello| hello.server_name.as_deref());
                name.unwrap_or_default().as_bytes().into()
            }
            NetVar::NextProto => {
                self.hello.as_ref().map(|hello| &*hello.protocols).unwrap_or_default().into()
            }
            NetVar::Protocol => match (&self.hello, &self.of) {
                (None, None) => Cow::default(),
                _ => b"quic"[..].into(),
            },
            NetVar::Reason => self.reason.as_bytes().into(),
            _ => Cow::default(),
        }
    }
}
