//! The server `discardServer` (RFC 863): throws away what it gets, over TCP or a Unix socket.
//!
//! ```gorox
//! stage {
//! 	discardServer "discard" { .address = "127.0.0.1:3009" }
//! }
//! ```
//!
//! It says nothing, so that only how fast it takes what is sent tells that it is there: to try out a network, or a
//! router, by.

use std::io;
use std::time::Duration;

use hemi_core::Explain;
use hemi_core::io::Socket;
use serde::Deserialize;

use super::small::{Service, SmallServer};

/// Throws away what it gets.
#[derive(Debug, Deserialize, Explain)]
pub struct Discard {}

/// Throws away what it gets.
pub type DiscardServer = SmallServer<Discard>;

impl Service for Discard {
    const SIGN: &'static str = "discardServer";

    async fn take(_: &mut Socket, _: &[u8], _: Duration) -> io::Result<()> {
        Ok(())
    }
}
