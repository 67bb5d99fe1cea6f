//! A connection of QUIC, terminated, on its way through a router.

use std::any::Any;
use std::borrow::Cow;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hemi_core::backend::Target;
use hemi_core::clock::{self, Moment};
use hemi_core::config::Lookup;
use hemi_core::io::Relay;
use hemi_core::listen::Peer;
use hemi_core::quic::quinn::{Connection, VarInt};
use hemi_core::tls::TlsInfo;

use super::backend::QuixDialed;
use super::relay::{self, Passed};
use crate::{Dialed, NetVar};

/// A connection of QUIC that a router has accepted, and terminates.
#[derive(Debug)]
pub struct QuixConn {
    conn: Connection,
    peer: Peer,
    reached: SocketAddr,
    tls: TlsInfo,
    since: Moment,
    /// What is let go of with the connection.
    held: Vec<Box<dyn Any + Send + Sync>>,
    node: Option<Target>,
    passed: Arc<Passed>,
    reason: &'static str,
}

impl QuixConn {
    /// One that has come to this address of a router.
    pub(super) fn new(conn: Connection, peer: Peer, bound: SocketAddr, tls: TlsInfo) -> Self {
        let ip = conn.local_ip().map_or(bound.ip(), |ip| ip.to_canonical());
        Self {
            conn,
            peer,
            reached: SocketAddr::new(ip, bound.port()),
            tls,
            since: clock::now(),
            held: Vec::new(),
            node: None,
            passed: Arc::default(),
            reason: "unmatched",
        }
    }

    /// Where it came from when it began.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The client's address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.peer.ip()
    }

    /// Where the client has connected to.
    #[must_use]
    pub fn reached(&self) -> SocketAddr {
        self.reached
    }

    /// The protocol that was agreed on.
    #[must_use]
    pub fn protocol(&self) -> &[u8] {
        self.tls.alpn.as_deref().unwrap_or_default()
    }

    /// When it was accepted.
    #[must_use]
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Keeps something until the connection is over.
    pub fn hold(&mut self, what: impl Any + Send + Sync) {
        self.held.push(Box::new(what));
    }

    /// Says why it ended, for the log.
    pub fn end_as(&mut self, reason: &'static str) {
        self.reason = reason;
    }

    /// Closes it with this code of the application (RFC 9000, 20.2), if it still stands.
    pub fn close(&self, code: VarInt) {
        self.conn.close(code, b"");
    }

    /// Passes on all that both sides send, streams and datagrams, until one of them has ended: the other then ends with
    /// the same code, or with `lost` if it broke.
    pub async fn relay(&mut self, dialed: QuixDialed, lost: VarInt) {
        let QuixDialed { conn, pick } = dialed;
        self.node = Some(pick.endpoint().target().clone());
        self.reason = "stopped";
        self.reason = relay::relay(&self.conn, &conn, &self.passed, lost).await;
    }

    /// Passes each stream that the client opens on to a connection that `dial` makes, until the client has ended. Streams
    /// that it can't be made for, or that break, end with the code `lost`.
    pub async fn relay_streams<F, Fut>(&mut self, dial: F, how: Relay, lost: VarInt)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Option<Dialed>> + Send + 'static,
    {
        self.reason = "stopped";
        self.reason = relay::relay_streams(&self.conn, dial, how, &self.passed, lost).await;
    }

    /// Bytes that have passed: from the client, and to it.
    pub(super) fn passed(&self) -> (u64, u64) {
        let Passed { there, back } = &*self.passed;
        (there.load(Ordering::Relaxed), back.load(Ordering::Relaxed))
    }
}

impl Lookup<NetVar> for QuixConn {
    fn lookup<'a>(&'a self, var: &'a NetVar) -> Cow<'a, [u8]> {
        let text = |text: String| Cow::Owned(text.into_bytes());
        let source = match self.peer {
            Peer::Tcp(address) => Some(address),
            Peer::Unix => None,
        };
        match var {
            NetVar::SrcHost => source.map(|at| text(at.ip().to_string())).unwrap_or_default(),
            NetVar::SrcPort => source.map(|at| text(at.port().to_string())).unwrap_or_default(),
            NetVar::DstHost => text(self.reached.ip().to_string()),
            NetVar::DstPort => text(self.reached.port().to_string()),
            NetVar::ServerName => {
                self.tls.server_name.as_deref().unwrap_or_default().as_bytes().into()
            }
            NetVar::NextProto => self.protocol().into(),
            NetVar::Protocol => b"quic"[..].into(),
            NetVar::Node => {
                self.node.as_ref().map(|node| text(node.to_string())).unwrap_or_default()
            }
            NetVar::BytesReceived => text(self.passed().0.to_string()),
            NetVar::BytesSent => text(self.passed().1.to_string()),
            NetVar::Reason => self.reason.as_bytes().into(),
            _ => Cow::default(),
        }
    }
}
