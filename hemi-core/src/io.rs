//! What protocol code knows of a connection's bytes: one small trait, so that the driver below it can change.
//!
//! [`Io`] takes bytes into a buffer of the core's [`pool`] and sends what an [`Outbox`] holds: small
//! things copied together into one write, large ones by reference, files by `sendfile`.
//! [`Socket`] has two drivers: one on epoll, through tokio, and one on io_uring; see [`IoDriver`].

mod dial;
mod file;
mod foreign;
pub(crate) mod outbox;
mod pacing;
mod pipe;
pub mod pool;
mod receive;
mod relay;
pub(crate) mod socket;
mod splice;
pub(crate) mod uring;
mod via;

use std::io;
use std::str::FromStr;
use std::task::{Context, Poll};

use bytes::BytesMut;

pub use crate::sys::watch_readable;
pub use dial::Dialing;
pub(crate) use dial::{be_transparent, keep_alive};
pub(crate) use file::Room;
pub use file::SharedFile;
pub use foreign::Foreign;
pub use outbox::Outbox;
pub(crate) use pacing::unpace;
pub use receive::{NotReceived, receive, send};
pub use relay::{Ends, Relay, Relayed, relay};
pub(crate) use socket::Family;
pub use socket::Socket;
pub use splice::{LONG, Splice};
pub use via::Via;

/// By what the bytes of connections are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoDriver {
    /// By io_uring where the system has it and allows it, or else by epoll.
    Auto,
    /// By a system call per piece, when epoll says that it is time.
    Epoll,
    /// By an io_uring per core, which spares system calls. Needs Linux 6.1.
    Uring,
}

impl IoDriver {
    /// What is used unless said otherwise.
    pub const DEFAULT: Self = Self::Auto;
}

impl FromStr for IoDriver {
    type Err = String;

    /// Reads `auto`, `epoll` or `uring`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "epoll" => Ok(Self::Epoll),
            "uring" => Ok(Self::Uring),
            _ => Err(format!("`{name}` is none of auto, epoll and uring")),
        }
    }
}

/// A connection's byte stream. `poll_*` follow the rules of [`std::future::Future::poll`].
pub trait Io: Send + Unpin + 'static {
    /// Appends what has come to `buf`, at most what its capacity has room for; 0 is the end of the stream.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Sends from the front of `out` until it is empty.
    ///
    /// # Errors
    /// Besides the peer's going away: `UnexpectedEof` if a file has become shorter than was promised.
    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>>;

    /// Bytes taken from outboxes that still wait here, about: the peer's slowness is seen by them too.
    fn unsent(&self) -> usize {
        0
    }

    /// Tells that what is sent next is the last: the end goes with it, and is told when all of it is sent.
    fn last(&mut self) {}

    /// Says that nothing more will be sent. What was sent still arrives.
    fn shutdown(&mut self) -> io::Result<()>;

    /// Has the connection end with an error for the peer, instead of an end, when it is dropped; what was
    /// sent and not taken is lost. A Unix socket can't tell the difference.
    fn reset(&mut self);

    /// The socket, if its bytes are those of the stream: then they may pass without being looked at.
    fn socket(&mut self) -> Option<&mut Socket> {
        None
    }
}
