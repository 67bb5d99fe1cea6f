//! Servers.

mod echo;

pub use echo::{EchoConfig, EchoServer};
