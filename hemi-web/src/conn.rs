//! Connections, by protocol version, and what they share.

mod exchange;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod http3;
mod upload;
mod watch;

pub(crate) use http3::Flow;
