//! Dealets: what is done with connections that a router has accepted.

mod access;
mod limit;
mod tcpx_proxy;

pub use access::AccessDealet;
pub use limit::{LimitDealet, LimitDealetConfig};
pub use tcpx_proxy::{TcpxProxy, TcpxProxyConfig};
