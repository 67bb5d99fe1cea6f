//! Integers with an N-bit prefix (RFC 7541 section 5.1), of which HPACK and QPACK are made.

use bytes::BufMut;
use thiserror::Error;

/// Why bytes are no integer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IntError {
    /// There are too few of them: more may follow, if more bytes may.
    #[error("integer is incomplete")]
    Incomplete,
    /// It is written in more than 9 bytes after the prefix, or is over 2^62 - 1.
    #[error("integer is too large")]
    TooLarge,
}

/// The largest integer that is taken: the largest of QUIC, too (RFC 9204 section 4.1.1).
pub const MAX: u64 = (1 << 62) - 1;

/// Takes an integer off the front of `bytes`, whose first byte has it in its lowest `prefix` bits (1 to 8).
/// `bytes` is left alone if there is none.
pub fn decode(prefix: u32, bytes: &mut &[u8]) -> Result<u64, IntError> {
    let (&first, mut rest) = bytes.split_first().ok_or(IntError::Incomplete)?;
    let full = full_prefix(prefix);
    let mut value = u64::from(first) & full;
    if value == full {
        let mut shift = 0;
        loop {
            let (&b, after) = rest.split_first().ok_or(IntError::Incomplete)?;
            rest = after;
            // At most 63 bits and what the prefix holds: no overflow.
            value += u64::from(b & 0x7f) << shift;
            if b & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 56 {
                return Err(IntError::TooLarge);
            }
        }
    }
    if value > MAX {
        return Err(IntError::TooLarge);
    }
    *bytes = rest;
    Ok(value)
}

/// Appends an integer, with `flags` in the bits of the first byte that are above its `prefix` bits (1 to 8).
pub fn encode(out: &mut impl BufMut, prefix: u32, flags: u8, value: u64) {
    let full = full_prefix(prefix);
    if value < full {
        out.put_u8(flags | value as u8);
        return;
    }
    out.put_u8(flags | full as u8);
    let mut rest = value - full;
    while rest >= 0x80 {
        out.put_u8(0x80 | rest as u8);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn full_prefix(prefix: u32) -> u64 {
    debug_assert!((1..=8).contains(&prefix), "a prefix of {prefix} bits");
    (1 << prefix) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc() {
        for (prefix, bytes, value) in [
            (5, &[0b1110_1010][..], 10),
            (5, &[0b0001_1111, 0b1001_1010, 0b0000_1010], 1337),
            (8, &[42], 42),
        ] {
            let mut rest = bytes;
            assert_eq!(decode(prefix, &mut rest), Ok(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn read_back_as_written() {
        for prefix in 1..=8 {
            for value in [0, 1, 30, 31, 126, 127, 128, 254, 255, 256, 16_383, 1 << 32, MAX] {
                let mut out = Vec::new();
                encode(&mut out, prefix, 0, value);
                for end in 0..out.len() {
                    assert_eq!(decode(prefix, &mut &out[..end]), Err(IntError::Incomplete));
                }
                out.push(7);
                let mut rest = &out[..];
                assert_eq!(decode(prefix, &mut rest), Ok(value), "{prefix} {value}");
                assert_eq!(rest, [7]);
            }
        }
    }

    #[test]
    fn too_large() {
        let endless = [&[0xff; 9][..], &[0x80; 100]].concat();
        let zeros = [&[0xff][..], &[0x80; 12], &[0]].concat();
        let mut over = Vec::new();
        encode(&mut over, 8, 0, MAX + 1);
        for bytes in [endless, zeros, over] {
            assert_eq!(decode(8, &mut &bytes[..]), Err(IntError::TooLarge));
        }
    }
}
