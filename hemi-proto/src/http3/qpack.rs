//! QPACK (RFC 9204): field lines by tables that both sides know, one of them built as they go.
//!
//! The [`Decoder`] takes what the client adds to its table, and lets at most so many requests wait for that
//! as was allowed. The [`Encoder`] adds what answers often say to the table of the client, but points at what
//! the client has acknowledged only: an answer never waits there.

mod decoder;
mod encoder;
mod static_table;
mod string;
mod table;

pub use self::decoder::{Decoded, Decoder};
pub use self::encoder::{Encoder, StaticEncoder};

/// What an entry of a table counts for besides its bytes (RFC 9204 section 3.2.1).
const ENTRY_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests;
