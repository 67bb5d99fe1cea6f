//! The server `echoServer` (RFC 862): sends back what it gets, over TCP or a Unix socket.
//!
//! ```gorox
//! stage {
//! 	echoServer "echo" { .address = "127.0.0.1:3007" }
//! }
//! ```

use std::io;
use std::time::Duration;

use hemi_core::Explain;
use hemi_core::io::Socket;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::small::{Service, SmallServer};

/// Sends back what it gets.
#[derive(Debug, Deserialize, Explain)]
pub struct Echo {}

/// Sends back what it gets.
pub type EchoServer = SmallServer<Echo>;

impl Service for Echo {
    const SIGN: &'static str = "echoServer";

    async fn take(socket: &mut Socket, bytes: &[u8], idle: Duration) -> io::Result<()> {
        timeout(idle, socket.write_all(bytes)).await?
    }
}
