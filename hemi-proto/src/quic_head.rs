//! The heads of QUIC's packets, of all its versions (RFC 8999), as somebody sees them who only passes packets on.

/// Bytes of an id, at most: as RFC 9000 has it, 17.2, and no version so far has more.
pub const LONGEST_ID: usize = 20;

/// The head of a datagram's first packet; those behind it are of the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuicHead<'a> {
    /// One of those that connections begin with.
    Long {
        /// The version; 0 where a server tells which ones it speaks.
        version: u32,
        /// The receiver's id.
        to: &'a [u8],
        /// The sender's id.
        from: &'a [u8],
    },
    /// One of all others.
    Short {
        /// The receiver's id, and what is behind it: how long it is knows only who has chosen it.
        to: &'a [u8],
    },
}

impl<'a> QuicHead<'a> {
    /// Reads it; none if it is not whole, or has longer ids than there are.
    #[must_use]
    pub fn read(datagram: &'a [u8]) -> Option<Self> {
        let (first, mut rest) = datagram.split_first()?;
        if first & 0x80 == 0 {
            return Some(Self::Short { to: rest });
        }
        let version = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
        let to = id(&mut rest)?;
        let from = id(&mut rest)?;
        Some(Self::Long { version, to, from })
    }

    /// The receiver's id, with what may be behind it.
    #[must_use]
    pub fn to(&self) -> &'a [u8] {
        match self {
            Self::Long { to, .. } | Self::Short { to } => to,
        }
    }
}

fn id<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::from(*rest.split_off_first()?);
    if len > LONGEST_ID { None } else { rest.split_off(..len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_whole_or_not_at_all() {
        let long = b"\xc0\0\0\0\x01\x02ab\x03cde";
        let head = QuicHead::Long { version: 1, to: b"ab", from: b"cde" };
        assert_eq!(QuicHead::read(&[&long[..], b"more"].concat()), Some(head));
        for end in 0..long.len() {
            assert_eq!(QuicHead::read(&long[..end]), None, "{end}");
        }
        let too_long = [&b"\xc0\0\0\0\x01\x15"[..], &[7; 30]].concat();
        assert_eq!(QuicHead::read(&too_long), None);
        assert_eq!(QuicHead::read(b"\x40abc"), Some(QuicHead::Short { to: b"abc" }));
        assert_eq!(head.to(), b"ab");
    }
}
