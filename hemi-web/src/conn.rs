//! Connections, by protocol version, and what they share.

pub(crate) mod http1;
mod upload;
mod watch;
