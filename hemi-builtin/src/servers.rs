//! Servers.

mod discard;
mod echo;
pub(crate) mod proxying;
mod small;
mod socks;
mod tunnel;

pub use discard::{Discard, DiscardServer};
pub use echo::{Echo, EchoServer};
pub use small::{Service, SmallConfig, SmallServer};
pub use socks::{SocksConfig, SocksServer};
pub use tunnel::{TunnelConfig, TunnelServer};
