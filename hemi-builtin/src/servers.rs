//! Servers.

mod discard;
mod echo;
pub(crate) mod proxying;
mod reverse;
mod small;
mod socks;
mod tunnel;

pub use discard::{Discard, DiscardServer};
pub use echo::{Echo, EchoServer};
pub use reverse::{ReverseConfig, ReverseServer};
pub use small::{Service, SmallConfig, SmallServer};
pub use socks::{SocksConfig, SocksServer};
pub use tunnel::{TunnelConfig, TunnelServer};
