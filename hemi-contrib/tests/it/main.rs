//! Components for special needs, asked through the servers that hold them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is tests")]

mod server;
#[cfg(feature = "webdav")]
mod webdav;
