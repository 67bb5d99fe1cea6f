//! The heads of frames (RFC 6455, 5.2).

use bytes::{BufMut, BytesMut};

use super::{WebSocketError, apply_mask};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation,
    /// A message of text, or its first fragment.
    Text,
    /// A message of other data, or its first fragment.
    Binary,
    /// The end of the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    fn parse(bits: u8) -> Result<Self, WebSocketError> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(WebSocketError::Opcode(bits)),
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Whether it is about the connection, and may stand between the fragments of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last fragment of its message, or the only one.
    pub fin: bool,
    /// The first fragment of a message that is compressed (RFC 7692, 6).
    pub compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The mask of the payload, if it is a client's.
    pub mask: Option<[u8; 4]>,
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASK: u8 = 0x80;

/// Bytes of a control frame's payload, at most.
const MAX_CONTROL: u64 = 125;

impl Header {
    /// That of a message in one frame, or of a control frame; neither compressed nor masked.
    #[must_use]
    pub fn whole(opcode: Opcode) -> Self {
        Self { fin: true, compressed: false, opcode, mask: None }
    }

    /// Reads a head, with the length of the payload and its own; `None` if there is more to come. What is
    /// wrong with it is told as soon as it is seen.
    ///
    /// # Errors
    /// When there can't be such a head.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, u64, usize)>, WebSocketError> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else { return Ok(None) };
        if first & RSV2_RSV3 != 0 {
            return Err(WebSocketError::ReservedBit);
        }
        let opcode = Opcode::parse(first & 0x0f)?;
        let (fin, compressed) = (first & FIN != 0, first & RSV1 != 0);
        let short = u64::from(second & !MASK);
        if opcode.is_control() {
            if !fin {
                return Err(WebSocketError::ControlFragment);
            }
            if short > MAX_CONTROL {
                return Err(WebSocketError::ControlLength);
            }
        }
        let (len, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            len => (len, rest),
        };
        let least = match short {
            126 => 126,
            127 => 1 << 16,
            _ => 0,
        };
        if len < least || len >> 63 != 0 {
            return Err(WebSocketError::Length);
        }
        let (mask, rest) = if second & MASK != 0 {
            match rest.split_first_chunk() {
                Some((mask, rest)) => (Some(*mask), rest),
                None => return Ok(None),
            }
        } else {
            (None, rest)
        };
        let header = Self { fin, compressed, opcode, mask };
        Ok(Some((header, len, bytes.len() - rest.len())))
    }

    /// Appends the head of a frame with a payload of this length.
    pub fn put(&self, len: u64, out: &mut BytesMut) {
        let fin = if self.fin { FIN } else { 0 };
        let rsv1 = if self.compressed { RSV1 } else { 0 };
        let mask = if self.mask.is_some() { MASK } else { 0 };
        let first = fin | rsv1 | self.opcode.bits();
        match len {
            0..=125 => out.extend_from_slice(&[first, mask | len as u8]),
            126..=0xffff => {
                let [high, low] = (len as u16).to_be_bytes();
                out.extend_from_slice(&[first, mask | 126, high, low]);
            }
            _ => {
                out.extend_from_slice(&[first, mask | 127]);
                out.put_u64(len);
            }
        }
        if let Some(mask) = self.mask {
            out.extend_from_slice(&mask);
        }
    }

    /// Appends a frame.
    pub fn put_frame(&self, payload: &[u8], out: &mut BytesMut) {
        self.put(payload.len() as u64, out);
        let start = out.len();
        out.extend_from_slice(payload);
        if let (Some(mask), Some(payload)) = (self.mask, out.get_mut(start..)) {
            apply_mask(payload, mask, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_whatever_the_length() {
        for len in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let header = Header { fin: false, compressed: true, opcode: Opcode::Text, mask };
                let mut out = BytesMut::new();
                header.put(len, &mut out);
                for end in 0..out.len() {
                    assert_eq!(Header::parse(&out[..end]), Ok(None));
                }
                let size = out.len();
                out.put_slice(b"payload");
                assert_eq!(Header::parse(&out), Ok(Some((header, len, size))));
            }
        }
    }

    #[test]
    fn refused_as_soon_as_seen() {
        #[rustfmt::skip]
        let rows: &[(&[u8], WebSocketError)] = &[
            (&[0xa1, 0x80], WebSocketError::ReservedBit),
            (&[0x91, 0x80], WebSocketError::ReservedBit),
            (&[0x83, 0x80], WebSocketError::Opcode(3)),
            (&[0x87, 0x80], WebSocketError::Opcode(7)),
            (&[0x8b, 0x80], WebSocketError::Opcode(11)),
            (&[0x8f, 0x80], WebSocketError::Opcode(15)),
            (&[0x08, 0x80], WebSocketError::ControlFragment),
            (&[0x89, 0xfe], WebSocketError::ControlLength),
            (&[0x8a, 0xff], WebSocketError::ControlLength),
            (&[0x82, 0xfe, 0, 125], WebSocketError::Length),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], WebSocketError::Length),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0], WebSocketError::Length),
        ];
        for (bytes, error) in rows {
            assert_eq!(Header::parse(bytes), Err(*error), "{bytes:x?}");
        }
    }
}
