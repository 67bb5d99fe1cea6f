//! Dealets: what is done with connections, and datagrams, that come to a router.

mod access;
mod limit;
mod tcpx_proxy;
mod udpx_proxy;

pub use access::AccessDealet;
pub use limit::{LimitDealet, LimitDealetConfig};
pub use tcpx_proxy::{TcpxProxy, TcpxProxyConfig};
pub use udpx_proxy::{UdpxProxy, UdpxProxyConfig};
