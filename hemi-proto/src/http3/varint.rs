//! Integers of QUIC (RFC 9000 section 16): up to 62 bits in 1, 2, 4 or 8 bytes.

use bytes::BufMut;

/// The largest one.
pub const MAX: u64 = (1 << 62) - 1;

/// Takes an integer off the front of `bytes`, which is left alone if it is not complete.
pub fn decode(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let (taken, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = taken.iter().fold(0, |value, &b| value << 8 | u64::from(b));
    *bytes = rest;
    // Without the two bits that tell the length.
    Some(value & (MAX >> (62 - (8 * taken.len() - 2))))
}

/// Appends an integer in as few bytes as it takes; what is over [`MAX`] has no form.
pub fn encode(value: u64, out: &mut impl BufMut) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value.min(MAX) | 0xc000_0000_0000_0000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc() {
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            assert_eq!(decode(&mut &*bytes), Some(value));
            for end in 0..bytes.len() {
                assert_eq!(decode(&mut &bytes[..end]), None);
            }
        }
    }

    #[test]
    fn read_back_as_written() {
        for value in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX] {
            let mut out = Vec::new();
            encode(value, &mut out);
            out.push(9);
            let mut rest = &out[..];
            assert_eq!(decode(&mut rest), Some(value));
            assert_eq!(rest, [9]);
        }
    }
}
