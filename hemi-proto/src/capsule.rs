//! Capsules (RFC 9297 section 3): messages of several types on the stream of a request that has left HTTP.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::http3::varint;

/// The type of capsules that hold an HTTP datagram each (RFC 9297 section 3.5).
pub const DATAGRAM: u64 = 0x00;

/// Finds capsules in the bytes of a stream.
#[derive(Debug, Default)]
pub struct CapsuleReader {
    /// Bytes to come of a capsule that is skipped.
    skips: u64,
}

impl CapsuleReader {
    /// Takes the next capsule off `buf`: its type and what it holds; none until more has come. Those that hold
    /// more than `most` bytes are skipped.
    pub fn read(&mut self, buf: &mut BytesMut, most: usize) -> Option<(u64, Bytes)> {
        loop {
            let skipped = self.skips.min(buf.len() as u64);
            buf.advance(skipped as usize);
            self.skips -= skipped;
            let mut bytes = &buf[..];
            let kind = varint::decode(&mut bytes)?;
            let length = varint::decode(&mut bytes)?;
            let head = buf.len() - bytes.len();
            if length > most as u64 {
                buf.advance(head);
                self.skips = length;
                continue;
            }
            let length = length as usize;
            if bytes.len() < length {
                return None;
            }
            buf.advance(head);
            return Some((kind, buf.split_to(length).freeze()));
        }
    }

    /// Whether the stream may end here, with these bytes left in the buffer: else a capsule was cut off, which is
    /// an error (RFC 9297 section 3.3).
    #[must_use]
    pub fn may_end(&self, buf: &[u8]) -> bool {
        self.skips == 0 && buf.is_empty()
    }
}

/// Appends a capsule.
pub fn put(kind: u64, value: &[u8], out: &mut impl BufMut) {
    varint::encode(kind, out);
    varint::encode(value.len() as u64, out);
    out.put_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_however_they_come() {
        let mut sent = Vec::new();
        put(DATAGRAM, b"one", &mut sent);
        put(0x1234, &[7; 300], &mut sent);
        put(DATAGRAM, &[8; 1000], &mut sent);
        put(0x2843_7a79, b"", &mut sent);
        for size in [1, 2, 7, sent.len()] {
            let (mut reader, mut buf, mut found) =
                (CapsuleReader::default(), BytesMut::new(), Vec::new());
            for piece in sent.chunks(size) {
                buf.extend_from_slice(piece);
                while let Some(capsule) = reader.read(&mut buf, 300) {
                    found.push(capsule);
                }
            }
            assert!(reader.may_end(&buf));
            let all = [(0, &b"one"[..]), (0x1234, &[7; 300]), (0x2843_7a79, b"")];
            assert_eq!(found, all.map(|(kind, value)| (kind, Bytes::from_static(value))));
        }
    }

    #[test]
    fn what_is_cut_off_is_noticed() {
        let mut sent = Vec::new();
        put(DATAGRAM, &[8; 10], &mut sent);
        for (end, most) in [(1, 10), (5, 10), (5, 3), (2, 3)] {
            let (mut reader, mut buf) = (CapsuleReader::default(), BytesMut::from(&sent[..end]));
            assert_eq!(reader.read(&mut buf, most), None);
            assert!(!reader.may_end(&buf), "{end} {most}");
        }
    }
}
