//! HTTP/2 (RFC 9113), the server's side, with neither socket nor clock: bytes in, [`Event`]s and bytes out.
//!
//! [`Connection`] reads frames off a buffer, says what they mean for requests, and writes what they ask for in
//! return. It holds what the protocol needs to know of streams, and chooses which is to send next; what
//! streams carry is the caller's. What costs a server more than its client has a price: see [`Connection::earn`].

pub use self::connection::{Config, Connection, Event, Shutdown};
pub use self::error::{ConnectionError, ErrorCode};
pub use self::head::{End, HeadWriter};
pub use self::send::Turn;
pub use self::settings::Settings;
pub use self::watch::{NotFollowed, Watch, Watched};

pub mod hpack;

mod block;
mod budget;
mod connection;
mod control;
mod error;
mod frame;
mod head;
mod receive;
mod send;
mod settings;
mod stream;
mod watch;

/// What a client's side of a connection starts with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
