//! The wire of rpcx, by which services written in Go and in Rust call each other: frames of calls, answers,
//! heartbeats and pushes on one connection.
//!
//! A frame is a head of 16 bytes, the last four of which say how long the rest is; the rest is the service, the
//! method, metadata and the payload, each behind its length. All integers are big-endian.

mod connect;
mod frame;
mod head;
mod metadata;

#[cfg(test)]
mod tests;

pub use crate::gzip::{GunzipError, gunzip, gzip};
pub use connect::{CONNECT, CONNECTED, read_connect, read_connected};
pub use frame::{Decoded, Frame, FrameError, Limits, Open, decode, echo, encode};
pub use head::{CodecId, Compression, HEAD_LEN, Head, MAGIC, Mode};
pub(crate) use metadata::split;
pub use metadata::{Metadata, Pairs};

/// A payload of more bytes than this is compressed, where both sides want that.
pub const COMPRESSED_FROM: usize = 1024;

/// The key of metadata that has the text of an error.
pub const ERROR_KEY: &str = "__rpcx_error__";

/// The key of metadata that has the caller's token.
pub const AUTH_KEY: &str = "__AUTH";

/// The key of metadata that has the time left to the caller, in milliseconds.
pub const TIMEOUT_KEY: &str = "__ServerTimeout";
