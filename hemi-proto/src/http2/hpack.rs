//! HPACK (RFC 7541): field lines, compressed.

pub use self::decoder::{Decoder, HpackError};
pub use self::encoder::{Encoder, Standing, encode_content_length, encode_field, encode_status};

mod decoder;
mod encoder;
mod static_table;
mod table;

#[cfg(test)]
mod tests;
