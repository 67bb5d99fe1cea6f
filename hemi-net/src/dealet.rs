//! The kind `dealet`: does something with a connection, of TCP or of QUIC, or a flow of datagrams, or leaves it to the next.

use std::future::Future;
use std::sync::Arc;

use hemi_core::config::KindName;
use hemi_core::{BoxFuture, Component, Kind, Lifecycle, Place, Rank, Registry};

use crate::{Opening, QuixConn, TcpxConn, UdpxFlow};

/// The kind of dealets.
#[derive(Debug)]
pub struct DealetKind;

impl KindName for DealetKind {
    const NAME: &'static str = "dealet";
}

impl Kind for DealetKind {
    type Object = AnyDealet;
    const RANK: Rank = Rank::PART;
    const PLACE: Place = Place::Inside;
}

/// What comes of a dealet's look at a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deal {
    /// It is for the next dealet.
    Next,
    /// It is over, and is closed.
    Done,
}

/// Does something with connections.
///
/// ```
/// use hemi_core::io::Outbox;
/// use hemi_core::{Component, Explain, Lifecycle};
/// use hemi_net::{Deal, Dealet, TcpxConn};
///
/// /// Greets, and hangs up.
/// #[derive(serde::Deserialize, Explain, Component)]
/// struct Greeter {}
///
/// impl Dealet for Greeter {
///     async fn deal(&self, conn: &mut TcpxConn) -> Deal {
///         let mut out = Outbox::default();
///         out.small().extend_from_slice(b"hello\n");
///         conn.send(out).await;
///         Deal::Done
///     }
/// }
/// ```
pub trait Dealet: Lifecycle {
    /// Deals with a connection. The future is dropped when the server has to end at once.
    fn deal(&self, conn: &mut TcpxConn) -> impl Future<Output = Deal> + Send;

    /// The same for those that need not wait; none if this one has to.
    fn deal_now(&self, conn: &mut TcpxConn) -> Option<Deal> {
        let _ = conn;
        None
    }

    /// Whether it asks for what the client's first bytes tell, so that these must be waited for.
    fn peeks(&self) -> bool {
        false
    }

    /// How the connections begin that it deals with. All of a router begin so.
    fn opening(&self) -> Opening {
        Opening::AsIs
    }
}

/// Does something with flows of datagrams.
pub trait UdpxDealet: Send + Sync + 'static {
    /// Deals with what has come from a client. It must not wait: what takes longer is another task's business,
    /// by [`UdpxFlow::relay`] or [`UdpxFlow::answerer`].
    fn deal_flow(&self, flow: &mut UdpxFlow<'_>) -> Deal;

    /// Whether it asks for what the first datagrams of QUIC tell, so that these must be looked at.
    fn peeks_flow(&self) -> bool {
        false
    }
}

/// Does something with connections of QUIC that a router terminates.
pub trait QuixDealet: Lifecycle {
    /// Deals with a connection. The future is dropped when the server has to end at once.
    fn deal_quix(&self, conn: &mut QuixConn) -> impl Future<Output = Deal> + Send;
}

/// A dealet as a case stores it: what it does with connections, with flows of datagrams, and with connections of QUIC.
pub struct AnyDealet {
    pub(crate) sign: &'static str,
    pub(crate) tcpx: Option<Arc<dyn DynDealet>>,
    pub(crate) udpx: Option<Arc<dyn UdpxDealet>>,
    pub(crate) quix: Option<Arc<dyn DynQuixDealet>>,
}

/// The form of [`QuixDealet`] that a case stores.
pub trait DynQuixDealet: Send + Sync {
    /// See [`QuixDealet::deal_quix`].
    fn deal_quix<'a>(&'a self, conn: &'a mut QuixConn) -> BoxFuture<'a, Deal>;
}

impl<D: QuixDealet> DynQuixDealet for D {
    fn deal_quix<'a>(&'a self, conn: &'a mut QuixConn) -> BoxFuture<'a, Deal> {
        Box::pin(QuixDealet::deal_quix(self, conn))
    }
}

/// The form of [`Dealet`] that a case stores.
pub trait DynDealet: Send + Sync {
    /// See [`Dealet::deal`].
    fn deal<'a>(&'a self, conn: &'a mut TcpxConn) -> BoxFuture<'a, Deal>;

    /// See [`Dealet::deal_now`].
    fn deal_now(&self, conn: &mut TcpxConn) -> Option<Deal>;

    /// See [`Dealet::peeks`].
    fn peeks(&self) -> bool;

    /// See [`Dealet::opening`].
    fn opening(&self) -> Opening;
}

impl<D: Dealet> DynDealet for D {
    fn deal<'a>(&'a self, conn: &'a mut TcpxConn) -> BoxFuture<'a, Deal> {
        Box::pin(Dealet::deal(self, conn))
    }

    fn deal_now(&self, conn: &mut TcpxConn) -> Option<Deal> {
        Dealet::deal_now(self, conn)
    }

    fn peeks(&self) -> bool {
        Dealet::peeks(self)
    }

    fn opening(&self) -> Opening {
        Dealet::opening(self)
    }
}

/// Registers dealets.
pub trait DealetRegistry {
    /// Adds a dealet for connections.
    fn dealet<D: Dealet + Component>(&mut self) -> &mut Self;

    /// Adds a dealet for flows of datagrams.
    fn udpx_dealet<D: UdpxDealet + Component>(&mut self) -> &mut Self;

    /// Adds a dealet for both.
    fn dealet_of_both<D: Dealet + UdpxDealet + Component>(&mut self) -> &mut Self;

    /// Adds a dealet for connections of QUIC.
    fn quix_dealet<D: QuixDealet + Component>(&mut self) -> &mut Self;

    /// Adds a dealet for all of these.
    fn dealet_of_all<D: Dealet + UdpxDealet + QuixDealet + Component>(&mut self) -> &mut Self;
}

impl DealetRegistry for Registry {
    fn dealet<D: Dealet + Component>(&mut self) -> &mut Self {
        self.add::<DealetKind, D>(|dealet: Arc<D>| {
            Arc::new(AnyDealet { tcpx: Some(dealet), ..AnyDealet::none(D::SIGN) })
        })
    }

    fn udpx_dealet<D: UdpxDealet + Component>(&mut self) -> &mut Self {
        self.add::<DealetKind, D>(|dealet: Arc<D>| {
            Arc::new(AnyDealet { udpx: Some(dealet), ..AnyDealet::none(D::SIGN) })
        })
    }

    fn dealet_of_both<D: Dealet + UdpxDealet + Component>(&mut self) -> &mut Self {
        self.add::<DealetKind, D>(|dealet: Arc<D>| {
            let (tcpx, udpx) = (Some(dealet.clone() as _), Some(dealet as _));
            Arc::new(AnyDealet { tcpx, udpx, ..AnyDealet::none(D::SIGN) })
        })
    }

    fn quix_dealet<D: QuixDealet + Component>(&mut self) -> &mut Self {
        self.add::<DealetKind, D>(|dealet: Arc<D>| {
            Arc::new(AnyDealet { quix: Some(dealet), ..AnyDealet::none(D::SIGN) })
        })
    }

    fn dealet_of_all<D: Dealet + UdpxDealet + QuixDealet + Component>(&mut self) -> &mut Self {
        self.add::<DealetKind, D>(|dealet: Arc<D>| {
            let (tcpx, udpx) = (Some(dealet.clone() as _), Some(dealet.clone() as _));
            Arc::new(AnyDealet { sign: D::SIGN, tcpx, udpx, quix: Some(dealet) })
        })
    }
}

impl AnyDealet {
    /// One that deals with nothing.
    fn none(sign: &'static str) -> Self {
        Self { sign, tcpx: None, udpx: None, quix: None }
    }
}
