//! The first packets of a QUIC connection (RFC 9000, 17.2.2, and RFC 9369), as somebody sees them who only passes them
//! on: they are sealed with keys that everybody can make (RFC 9001, 5.2), which is not done here.

use crate::client_hello::{self, ClientHello};
use crate::http3::varint;

/// Pieces of a message that are kept, at most.
const PIECES: usize = 64;

/// The versions whose first packets can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 9000.
    One,
    /// RFC 9369.
    Two,
}

/// A first packet of a client, sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initial<'a> {
    /// The version that it is of.
    pub version: Version,
    /// What keys are made of, if it is the very first one: the id that the client has given the server.
    pub id: &'a [u8],
    /// All of it.
    packet: &'a [u8],
    /// Where its number stands, masked.
    number_at: usize,
}

impl<'a> Initial<'a> {
    /// Takes the packet off the front of a datagram; none if it is no first one.
    pub fn take(datagram: &mut &'a [u8]) -> Option<Self> {
        let whole = *datagram;
        let (first, mut rest) = whole.split_first()?;
        let version = match rest.split_off(..4)? {
            [0, 0, 0, 1] => Version::One,
            [0x6b, 0x33, 0x43, 0xcf] => Version::Two,
            _ => return None,
        };
        let kind = match version {
            Version::One => 0,
            Version::Two => 1,
        };
        // A long header of this kind.
        if first & 0xf0 != 0xc0 | kind << 4 {
            return None;
        }
        let id = vector(&mut rest, 20)?;
        vector(&mut rest, 20)?;
        let token = usize::try_from(varint::decode(&mut rest)?).ok()?;
        rest.split_off(..token)?;
        let len = usize::try_from(varint::decode(&mut rest)?).ok()?;
        let number_at = whole.len() - rest.len();
        rest.split_off(..len)?;
        let packet = &whole[..whole.len() - rest.len()];
        // Where the mask is made of, and the seal.
        if len < 4 + 16 {
            return None;
        }
        *datagram = rest;
        Some(Self { version, id, packet, number_at })
    }

    /// What the mask of its number is made of.
    #[must_use]
    pub fn sample(&self) -> &'a [u8] {
        &self.packet[self.number_at + 4..self.number_at + 20]
    }

    /// Its first byte and the bytes that its number may have, as they are masked.
    #[must_use]
    pub fn masked(&self) -> (u8, [u8; 4]) {
        let mut number = [0; 4];
        number.copy_from_slice(&self.packet[self.number_at..self.number_at + 4]);
        (self.packet[0], number)
    }

    /// Its number, its head and what is sealed, by what [`Initial::masked`] is without the mask.
    #[must_use]
    pub fn unmasked(&self, first: u8, number: [u8; 4]) -> (u64, Vec<u8>, Vec<u8>) {
        let len = usize::from(first & 3) + 1;
        let (head, sealed) = self.packet.split_at(self.number_at + len);
        let mut head = head.to_vec();
        head[0] = first;
        head[self.number_at..].copy_from_slice(&number[..len]);
        let number = number[..len].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        (number, head, sealed.to_vec())
    }
}

/// Takes what has its length in one byte, of `most` at most.
fn vector<'a>(rest: &mut &'a [u8], most: usize) -> Option<&'a [u8]> {
    let len = usize::from(*rest.split_off_first()?);
    if len > most { None } else { rest.split_off(..len) }
}

/// A client's hello, as far as it has come.
#[derive(Debug, Default)]
pub struct Hello {
    /// By their places, without those that are in others.
    pieces: Vec<(usize, Box<[u8]>)>,
}

/// What is in a packet that no client would begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no client of QUIC begins with that")]
pub struct NotHello;

impl Hello {
    /// Adds what was sealed in a packet; tells the hello once it is whole.
    ///
    /// # Errors
    /// When it can't become one.
    pub fn add(&mut self, mut frames: &[u8]) -> Result<Option<ClientHello>, NotHello> {
        let number = |frames: &mut &[u8]| varint::decode(frames).ok_or(NotHello);
        while let Some(kind) = frames.split_off_first() {
            match kind {
                // PADDING and PING
                0 | 1 => {}
                // ACK, with counts of ECN
                2 | 3 => {
                    for _ in 0..2 {
                        number(&mut frames)?;
                    }
                    let ranges = number(&mut frames)?;
                    let counts = if *kind == 3 { 3 } else { 0 };
                    for _ in 0..ranges.saturating_mul(2).saturating_add(1 + counts) {
                        number(&mut frames)?;
                    }
                }
                // CRYPTO
                6 => {
                    let at = usize::try_from(number(&mut frames)?).map_err(|_| NotHello)?;
                    let len = usize::try_from(number(&mut frames)?).map_err(|_| NotHello)?;
                    let piece = frames.split_off(..len).ok_or(NotHello)?;
                    self.insert(at, piece)?;
                }
                _ => return Err(NotHello),
            }
        }
        self.read()
    }

    fn insert(&mut self, at: usize, piece: &[u8]) -> Result<(), NotHello> {
        let end = at.checked_add(piece.len()).ok_or(NotHello)?;
        if end > client_hello::MAX || self.pieces.len() >= PIECES {
            return Err(NotHello);
        }
        // What is sent again is in here already.
        if self.pieces.iter().any(|(known, bytes)| *known <= at && end <= known + bytes.len()) {
            return Ok(());
        }
        let place = self.pieces.partition_point(|(known, _)| *known < at);
        self.pieces.insert(place, (at, piece.into()));
        Ok(())
    }

    fn read(&self) -> Result<Option<ClientHello>, NotHello> {
        let mut whole = Vec::new();
        for (at, bytes) in &self.pieces {
            let Some(known) = whole.len().checked_sub(*at) else { break };
            whole.extend_from_slice(bytes.get(known..).unwrap_or_default());
        }
        let [kind, a, b, c, ref message @ ..] = whole[..] else { return Ok(None) };
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if kind != 1 || len > client_hello::MAX {
            return Err(NotHello);
        }
        match message.get(..len) {
            Some(message) => ClientHello::parse(message).map(Some).ok_or(NotHello),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with so many bytes behind its length.
    fn packet(first: u8, version: u32, rest: usize) -> Vec<u8> {
        let mut out = vec![first];
        out.extend(version.to_be_bytes());
        out.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
        out.extend((rest as u16 | 0x4000).to_be_bytes());
        out.extend((0..rest).map(|n| n as u8));
        out
    }

    #[test]
    fn first_packets_are_told_from_others() {
        for (bytes, expected) in [
            (packet(0xc3, 1, 40), Some(Version::One)),
            (packet(0xd3, 0x6b33_43cf, 40), Some(Version::Two)),
            (packet(0xd3, 1, 40), None),
            (packet(0xc3, 0, 40), None),
            (packet(0x43, 1, 40), None),
            (packet(0xc3, 1, 19), None),
        ] {
            let mut rest = &bytes[..];
            let read = Initial::take(&mut rest);
            assert_eq!(read.map(|initial| initial.version), expected);
            if let Some(initial) = read {
                assert!(rest.is_empty());
                assert_eq!((initial.id, initial.sample()[0]), (&[1, 2, 3, 4, 5, 6, 7, 8][..], 4));
                let (number, head, sealed) = initial.unmasked(0xc1, [0, 9, 8, 7]);
                assert_eq!((number, head.len(), sealed.len()), (9, bytes.len() - 38, 38));
                for end in 0..bytes.len() {
                    assert_eq!(Initial::take(&mut &bytes[..end]), None, "{end}");
                }
                // What is behind it in a datagram is left.
                let two = [&bytes[..], b"more"].concat();
                let mut rest = &two[..];
                assert!(Initial::take(&mut rest).is_some());
                assert_eq!(rest, b"more");
            }
        }
    }

    /// A hello that asks for `a.test`.
    fn hello() -> Vec<u8> {
        let mut message = vec![3, 3];
        message.extend([0; 32]);
        message.extend([0, 0, 2, 0x13, 1, 1, 0]);
        let name = b"\0\0\0\x0b\0\x09\0\0\x06a.test";
        message.extend((name.len() as u16).to_be_bytes());
        message.extend_from_slice(name);
        let len = message.len() as u8;
        [&[1, 0, 0, len][..], &message].concat()
    }

    fn frame(at: u8, bytes: &[u8]) -> Vec<u8> {
        [&[6, at, bytes.len() as u8][..], bytes].concat()
    }

    #[test]
    fn a_hello_comes_in_pieces_in_any_order() {
        let all = hello();
        for cuts in [[10, 20], [3, 50], [0, 30]] {
            let [a, b] = cuts;
            let pieces =
                [frame(0, &all[..a]), frame(a as u8, &all[a..b]), frame(b as u8, &all[b..])];
            for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
                let mut hello = Hello::default();
                for (nth, at) in order.into_iter().enumerate() {
                    let padded = [&[0, 1][..], &pieces[at], &[2, 1, 1, 0, 0]].concat();
                    let read = hello.add(&padded).unwrap();
                    // The same once more changes nothing.
                    assert_eq!(hello.add(&padded).unwrap().is_some(), read.is_some());
                    if nth == 2 {
                        assert_eq!(read.unwrap().server_name.as_deref(), Some("a.test"));
                    }
                }
            }
        }
    }

    #[test]
    fn what_can_become_no_hello() {
        for frames in [
            &[6, 0, 5, 1][..],
            &[9],
            &[6],
            &[2, 1],
            &frame(0, &[2, 0, 0, 1, 0]),
            &frame(0, &[1, 1, 0, 0]),
            &[6, 0xc0, 0, 0, 0, 0, 0, 0x50, 0, 1, 0],
        ] {
            assert_eq!(Hello::default().add(frames), Err(NotHello), "{frames:?}");
        }
        let mut many = Hello::default();
        let all = (0..100).try_for_each(|n| many.add(&frame(2 * n % 64, &[0])).map(drop));
        assert!(all.is_err() || many.pieces.len() <= PIECES);
    }
}
