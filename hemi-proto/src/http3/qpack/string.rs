//! String literals (RFC 9204 section 4.1.2): plain, or in Huffman code.

use bytes::{BufMut, Bytes, BytesMut};

use crate::huffman;
use crate::prefix_int::{self, IntError};

/// Why there is no string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StringError {
    /// More bytes are needed.
    Incomplete,
    /// It is malformed, or too long.
    Malformed,
}

impl From<IntError> for StringError {
    fn from(e: IntError) -> Self {
        match e {
            IntError::Incomplete => Self::Incomplete,
            IntError::TooLarge => Self::Malformed,
        }
    }
}

/// A string as it was sent.
#[derive(Clone, Copy)]
pub(super) struct Literal<'a> {
    bytes: &'a [u8],
    is_huffman: bool,
}

impl<'a> Literal<'a> {
    /// Takes a string off the front of `bytes`: its length has `prefix` bits, with that of the code above.
    pub(super) fn take(prefix: u32, bytes: &mut &'a [u8], most: u64) -> Result<Self, StringError> {
        let first = *bytes.first().ok_or(StringError::Incomplete)?;
        let mut rest = *bytes;
        let length = prefix_int::decode(prefix, &mut rest)?;
        if length > most {
            return Err(StringError::Malformed);
        }
        let (taken, rest) =
            rest.split_at_checked(length as usize).ok_or(StringError::Incomplete)?;
        *bytes = rest;
        Ok(Self { bytes: taken, is_huffman: first & (1 << prefix) != 0 })
    }

    /// What it says, in a new buffer, or as a part of `whole`, of which it is one.
    pub(super) fn read(self, whole: &Bytes) -> Result<Bytes, StringError> {
        if self.is_huffman { self.decode() } else { Ok(whole.slice_ref(self.bytes)) }
    }

    /// What it says, in a new buffer: for what is kept longer.
    pub(super) fn to_owned(self) -> Result<Bytes, StringError> {
        if self.is_huffman { self.decode() } else { Ok(Bytes::copy_from_slice(self.bytes)) }
    }

    fn decode(self) -> Result<Bytes, StringError> {
        let mut decoded = BytesMut::with_capacity(self.bytes.len() * 8 / 5 + 1);
        huffman::decode(self.bytes, &mut decoded).map_err(|_| StringError::Malformed)?;
        Ok(decoded.freeze())
    }
}

/// Appends a string: in Huffman code where that is shorter. The length has `prefix` bits; `flags` are those
/// above the bit that tells of the code.
pub(super) fn put(out: &mut impl BufMut, prefix: u32, flags: u8, text: &[u8]) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        prefix_int::encode(out, prefix, flags | 1 << prefix, coded as u64);
        huffman::encode(text, out);
    } else {
        prefix_int::encode(out, prefix, flags, text.len() as u64);
        out.put_slice(text);
    }
}
