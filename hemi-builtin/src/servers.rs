//! Servers.

mod echo;
pub(crate) mod proxying;
mod socks;
mod tunnel;

pub use echo::{EchoConfig, EchoServer};
pub use socks::{SocksConfig, SocksServer};
pub use tunnel::{TunnelConfig, TunnelServer};
