//! Routers below HTTP on the Hemi engine: TCP connections go to backends as they are.
//!
//! A [`TcpxRouter`] accepts connections, and asks its [`Case`]s, in the order written, whether they are for
//! it; the [`Dealet`]s inside of that do what is to be done.

#![forbid(unsafe_code)]

mod backend;
mod case;
mod dealet;
mod tcpx;
mod vars;

pub use backend::{Dialed, TcpxBackend, TcpxBackendConfig, TcpxBackendKind};
pub use case::{Case, CaseConfig, CaseKind};
pub use dealet::{Deal, Dealet, DealetKind, DealetRegistry, DynDealet};
pub use tcpx::conn::TcpxConn;
pub use tcpx::{TcpxConfig, TcpxRouter};
pub use vars::NetVar;

use hemi_core::Registry;
use hemi_core::server::ServerRegistry;

/// Adds this crate's components.
pub fn register(registry: &mut Registry) {
    registry
        .add::<TcpxBackendKind, TcpxBackend>(|backend| backend)
        .add::<CaseKind, Case>(|case| case)
        .server::<TcpxRouter>();
}
