//! Messages in frames.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes in front of each message.
pub const HEAD_LEN: usize = 5;

/// The flag of messages that are compressed.
pub const FLAG_COMPRESSED: u8 = 1;

/// A message, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its flags.
    pub flags: u8,
    /// The message as it was sent.
    pub message: Bytes,
}

/// What makes a frame none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The message is longer than may be.
    #[error("a message of {length} bytes, which are more than {most}")]
    TooLong {
        /// Bytes that the message has.
        length: usize,
        /// Bytes that it may have.
        most: usize,
    },
    /// It has flags that nobody knows.
    #[error("a message with the flags {0:#04x}")]
    Flags(u8),
    /// What was sent ends within it.
    #[error("a message that breaks off")]
    Cut,
}

/// The head of a frame with these flags, for a message of so many bytes.
#[must_use]
pub fn frame_head(flags: u8, length: usize) -> [u8; HEAD_LEN] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [flags, a, b, c, d]
}

fn length_of(head: &[u8; HEAD_LEN], most: usize) -> Result<usize, FrameError> {
    let [_, a, b, c, d] = *head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > most { Err(FrameError::TooLong { length, most }) } else { Ok(length) }
}

/// Takes frames out of pieces, as these come.
#[derive(Debug)]
pub struct Frames {
    most: usize,
    /// What comes next, if it is in one piece.
    piece: Bytes,
    /// The start of a frame that came in several.
    partial: BytesMut,
}

impl Frames {
    /// For messages of so many bytes at most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, piece: Bytes::new(), partial: BytesMut::new() }
    }

    /// Adds what has come; all frames that were complete before have to be taken out.
    pub fn push(&mut self, piece: Bytes) {
        if self.piece.is_empty() {
            self.piece = piece;
        } else {
            self.partial.extend_from_slice(&std::mem::take(&mut self.piece));
            self.piece = piece;
        }
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// When its message is too long.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.partial.is_empty() {
            let Some(head) = self.piece.first_chunk::<HEAD_LEN>() else { return Ok(self.keep()) };
            let (flags, length) = (head[0], length_of(head, self.most)?);
            if self.piece.len() - HEAD_LEN < length {
                return Ok(self.keep());
            }
            self.piece.advance(HEAD_LEN);
            return Ok(Some(Frame { flags, message: self.piece.split_to(length) }));
        }
        self.fill(HEAD_LEN);
        let Some(head) = self.partial.first_chunk::<HEAD_LEN>() else { return Ok(None) };
        let (flags, length) = (head[0], length_of(head, self.most)?);
        self.fill(HEAD_LEN + length);
        if self.partial.len() < HEAD_LEN + length {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.partial).freeze();
        message.advance(HEAD_LEN);
        Ok(Some(Frame { flags, message }))
    }

    /// Whether a frame has begun that is not complete.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        !self.partial.is_empty() || !self.piece.is_empty()
    }

    fn keep(&mut self) -> Option<Frame> {
        self.partial.extend_from_slice(&std::mem::take(&mut self.piece));
        None
    }

    /// Has so many bytes of a frame in one piece, or as many as there are.
    fn fill(&mut self, want: usize) {
        let missing = want.saturating_sub(self.partial.len()).min(self.piece.len());
        self.partial.extend_from_slice(&self.piece.split_to(missing));
    }
}

/// Looks at frames that pass by, in whatever pieces.
#[derive(Debug)]
pub struct Scan {
    most: usize,
    head: [u8; HEAD_LEN],
    /// Bytes of the head that have come.
    have: usize,
    /// Bytes of the message that are still to come.
    left: usize,
    messages: usize,
}

impl Scan {
    /// For messages of so many bytes at most, none of them compressed.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, head: [0; HEAD_LEN], have: 0, left: 0, messages: 0 }
    }

    /// Looks at a piece.
    ///
    /// # Errors
    /// When a message in it is too long, or has flags.
    pub fn look(&mut self, mut piece: &[u8]) -> Result<(), FrameError> {
        while !piece.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(piece.len());
                self.left -= passed;
                piece = piece.get(passed..).unwrap_or_default();
                continue;
            }
            let (Some(slot), Some((&byte, rest))) =
                (self.head.get_mut(self.have), piece.split_first())
            else {
                return Ok(());
            };
            *slot = byte;
            self.have += 1;
            piece = rest;
            if self.have == HEAD_LEN {
                self.have = 0;
                if self.head[0] != 0 {
                    return Err(FrameError::Flags(self.head[0]));
                }
                self.left = length_of(&self.head, self.most)?;
                self.messages += 1;
            }
        }
        Ok(())
    }

    /// How many messages have begun.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Whether a frame has begun that is not complete.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        self.have > 0 || self.left > 0
    }
}
