//! The wire of HRPC, by which services inside a cluster call each other: calls are streams of one connection, with
//! credit, deadlines, cancellation and trailers.
//!
//! Both sides begin with a [`PREFACE`] and a HELLO; then there are frames: a head of 12 bytes, the first four of which
//! say how long the rest is. All integers are big-endian. `docs/hrpc.md` is the specification.

mod code;
mod frame;
mod mux;
mod parts;
mod seen;

#[cfg(test)]
mod tests;

pub use code::Code;
pub use frame::{Decoded, Flags, Frame, FrameError, HEAD_LEN, Head, Kind, Limits, decode};
pub use mux::{Broken, Chunk, Event, Message, Mux, NoStream, Rest, Side};
pub use parts::{Asked, Hello, Open, Replied, frame, goaway, hello, ping, reset};
pub use seen::Seen;

/// What both sides begin with; the sixth byte is the version.
pub const PREFACE: &[u8; 8] = b"\xa8HRPC\x01\0\0";

/// Bytes of a message in one frame, at most: others get their turn in between.
pub const CHUNK: usize = 16 << 10;

/// Bytes that may be sent on a stream, behind its first frame, before the other side gives credit for more.
pub const STREAM_CREDIT: u64 = 64 << 10;

/// The same on all streams of a connection together.
pub const CONN_CREDIT: u64 = 1 << 20;

/// Bytes of metadata that a frame may have, at most.
pub const METADATA: usize = 64 << 10;

/// Bytes that stand in a CALL besides metadata and message, at most: the two names, mostly.
pub const NAMES: usize = 1 << 10;

/// Calls that may be under way before the server has said how many.
pub const FIRST_STREAMS: u32 = 100;

/// What stands at the start of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// HRPC, in a version that is understood.
    Hrpc,
    /// What may become that.
    Partly,
    /// Something else.
    Other,
}

/// Looks at what a connection begins with. A side that speaks a later version would speak this one, too.
#[must_use]
pub fn begun(bytes: &[u8]) -> Begun {
    let length = bytes.len().min(5);
    if bytes.get(..length) != PREFACE.get(..length) {
        return Begun::Other;
    }
    match bytes.get(5) {
        Some(0) => Begun::Other,
        _ if bytes.len() < PREFACE.len() => Begun::Partly,
        _ => Begun::Hrpc,
    }
}
