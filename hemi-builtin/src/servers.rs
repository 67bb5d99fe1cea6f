//! Servers.

mod discard;
mod echo;
mod forward;
pub(crate) mod proxying;
mod reverse;
mod small;
mod socks;
mod tunnel;

pub use discard::{Discard, DiscardServer};
pub use echo::{Echo, EchoServer};
pub use forward::{ForwardConfig, ForwardServer, Protocol, Proxy};
pub use proxying::{ProxyConfig, ProxyingConfig};
pub use reverse::{ReverseConfig, ReverseServer};
pub use small::{Service, SmallConfig, SmallServer};
pub use socks::{Socks, SocksConfig, SocksServer};
pub use tunnel::{TunnelConfig, TunnelServer, Tunnels};
