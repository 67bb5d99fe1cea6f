//! Routers below HTTP on the Hemi engine: TCP connections and datagrams of UDP go to backends as they are.
//!
//! A [`TcpxRouter`] accepts connections, and asks its [`Case`]s, in the order written, whether they are for
//! it; the [`Dealet`]s inside of that do what is to be done. So does a [`UdpxRouter`] with datagrams, and a [`QuixRouter`]
//! with connections of QUIC, terminated or not.

#![forbid(unsafe_code)]

mod backend;
mod case;
mod dealet;
mod quix;
mod record;
mod tcpx;
mod tls;
mod udpx;
mod vars;

pub use backend::{Dialed, TcpxBackend, TcpxBackendConfig, TcpxBackendKind};
pub use case::{Case, CaseConfig, CaseKind};
pub use dealet::{
    AnyDealet, Deal, Dealet, DealetKind, DealetRegistry, DynDealet, DynQuixDealet, QuixDealet,
    UdpxDealet,
};
pub use quix::backend::{QuixBackend, QuixBackendConfig, QuixBackendKind, QuixDialed};
pub use quix::conn::QuixConn;
pub use quix::{QuixConfig, QuixRouter};
pub use tcpx::conn::TcpxConn;
pub use tcpx::opening::Opening;
pub use tcpx::{TcpxConfig, TcpxRouter, Transparent};
pub use udpx::flow::{Answerer, UdpxFlow, UdpxRelay};
pub use udpx::{UdpxBackend, UdpxBackendKind, UdpxConfig, UdpxRouter};
pub use vars::NetVar;

use hemi_core::Registry;
use hemi_core::server::ServerRegistry;

/// Adds this crate's components.
pub fn register(registry: &mut Registry) {
    registry
        .add::<TcpxBackendKind, TcpxBackend>(|backend| backend)
        .add::<CaseKind, Case>(|case| case)
        .add::<UdpxBackendKind, UdpxBackend>(|backend| backend)
        .add::<QuixBackendKind, QuixBackend>(|backend| backend)
        .server::<TcpxRouter>()
        .server::<UdpxRouter>()
        .server::<QuixRouter>();
}
