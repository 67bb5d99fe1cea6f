//! Components for special needs, asked through the servers that hold them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is tests")]

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(all(feature = "consul", feature = "etcd", feature = "redis", feature = "zookeeper"))]
mod registries;
mod server;
#[cfg(feature = "webdav")]
mod webdav;
