//! Services.

mod echo;

pub use echo::{EchoService, EchoServiceConfig};
