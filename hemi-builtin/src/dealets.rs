//! Dealets: what is done with connections, and datagrams, that come to a router.

mod access;
mod dns_proxy;
mod limit;
mod mysql_proxy;
mod pgsql_proxy;
mod quix_proxy;
mod redis_proxy;
mod tcpx_proxy;
mod udpx_proxy;

pub use access::AccessDealet;
pub use dns_proxy::{DnsProxy, DnsProxyConfig};
pub use limit::{LimitDealet, LimitDealetConfig};
pub use mysql_proxy::{MysqlProxy, MysqlProxyConfig};
pub use pgsql_proxy::PgsqlProxy;
pub use quix_proxy::{QuixProxy, QuixProxyConfig};
pub use redis_proxy::RedisProxy;
pub use tcpx_proxy::{TcpxProxy, TcpxProxyConfig};
pub use udpx_proxy::{UdpxProxy, UdpxProxyConfig};
