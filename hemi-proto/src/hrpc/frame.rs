//! Frames: found in what has come.

use super::{CHUNK, METADATA, NAMES};

/// Bytes of a frame's head.
pub const HEAD_LEN: usize = 12;

/// What a frame is. Those that are not known are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// What a side can do: its first frame.
    pub const HELLO: Self = Self(1);
    /// A call begins: its stream is a new one.
    pub const CALL: Self = Self(2);
    /// Its answer begins.
    pub const REPLY: Self = Self(3);
    /// Messages go on.
    pub const DATA: Self = Self(4);
    /// The answer is over.
    pub const TRAILERS: Self = Self(5);
    /// The stream is given up.
    pub const RESET: Self = Self(6);
    /// More may be sent.
    pub const CREDIT: Self = Self(7);
    /// A sign of life is asked for, or given.
    pub const PING: Self = Self(8);
    /// No further calls are looked at.
    pub const GOAWAY: Self = Self(9);
    /// A message that nobody has asked for.
    pub const PUSH: Self = Self(10);
}

/// What a frame says in bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Its sender sends nothing more on the stream.
    pub const END: Self = Self(1);
    /// There is a message in it, or a part of one.
    pub const MESSAGE: Self = Self(2);
    /// The message goes on in the next frame of the stream.
    pub const MORE: Self = Self(4);
    /// Nothing is to be answered: of CALL.
    pub const ONE_WAY: Self = Self(8);
    /// It is the answer: of PING.
    pub const ACK: Self = Self(1);

    const COMPRESSION: u32 = 5;

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These but not those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of those are among them.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// How the message that begins here is compressed.
    #[must_use]
    pub const fn compression(self) -> u8 {
        self.0 >> Self::COMPRESSION
    }

    /// The same with a message that is compressed so, by a number below 8.
    #[must_use]
    pub const fn compressed(self, number: u8) -> Self {
        Self(self.0 & 0x1f | number << Self::COMPRESSION)
    }
}

/// What stands before each frame, but for its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// Its bits.
    pub flags: Flags,
    /// The codec of a CALL, a code in others.
    pub value: u16,
    /// The stream it belongs to; 0 is the connection.
    pub stream: u32,
}

impl Head {
    /// As it is written before this many bytes.
    #[must_use]
    pub fn bytes(&self, length: u32) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes[4] = self.kind.0;
        bytes[5] = self.flags.0;
        bytes[6..8].copy_from_slice(&self.value.to_be_bytes());
        bytes[8..].copy_from_slice(&self.stream.to_be_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8; HEAD_LEN]) -> (u32, Self) {
        let [a, b, c, d, kind, flags, e, f, stream @ ..] = *bytes;
        let head = Self {
            kind: Kind(kind),
            flags: Flags(flags),
            value: u16::from_be_bytes([e, f]),
            stream: u32::from_be_bytes(stream),
        };
        (u32::from_be_bytes([a, b, c, d]), head)
    }
}

/// How much frames and messages may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a message, at most, in all of its frames.
    pub message: usize,
    /// Bytes of metadata in a frame, at most: a call that has more is given up.
    pub metadata: usize,
}

impl Limits {
    /// Bytes that may follow a head: metadata that others may send does not end the connection.
    #[must_use]
    pub fn frame(self) -> usize {
        CHUNK + NAMES + self.metadata.max(METADATA)
    }
}

/// What there is at the start of a buffer.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// A frame of this many bytes.
    Frame(Frame<'a>, usize),
    /// The start of a frame, which has this many bytes at least.
    Needs(usize),
}

/// A frame, as a view of the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it says about itself.
    pub head: Head,
    /// What follows.
    pub body: &'a [u8],
}

/// A frame that is too long. The connection can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes, which may have {most}")]
pub struct FrameError {
    /// Bytes that would follow its head.
    pub length: usize,
    /// What the limit is.
    pub most: usize,
}

/// Looks for a frame at the start of what has come.
///
/// # Errors
/// When it is longer than may be.
pub fn decode(buf: &[u8], limits: Limits) -> Result<Decoded<'_>, FrameError> {
    let Some((head, rest)) = buf.split_first_chunk::<HEAD_LEN>() else {
        return Ok(Decoded::Needs(HEAD_LEN));
    };
    let (length, head) = Head::read(head);
    let (length, most) = (length as usize, limits.frame());
    if length > most {
        return Err(FrameError { length, most });
    }
    Ok(match rest.get(..length) {
        Some(body) => Decoded::Frame(Frame { head, body }, HEAD_LEN + length),
        None => Decoded::Needs(HEAD_LEN + length),
    })
}
