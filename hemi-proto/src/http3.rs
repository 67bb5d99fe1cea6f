//! HTTP/3 (RFC 9114) with QPACK (RFC 9204), as a server sees it, and a client
//! whose side has no dynamic table: frames, settings, the order of what comes on
//! each stream, and the error that each violation is to be answered with.
//!
//! A QUIC connection has one [`Incoming`] for the streams that the client opened in its direction only, and
//! one [`RequestStream`] for each request. What they read are the bytes of one stream in their order; what
//! is to be sent they append to a buffer.

mod code;
mod control;
pub mod datagram;
mod frame;
pub mod qpack;
mod request;
mod settings;
pub mod varint;

pub use self::code::Code;
pub use self::control::{ControlEvent, ControlStream, Incoming, Prioritized, UniKind};
pub use self::frame::{put_data_head, put_goaway, put_headers_head};
pub use self::request::{Fault, Part, RequestStream};
pub use self::settings::Settings;
