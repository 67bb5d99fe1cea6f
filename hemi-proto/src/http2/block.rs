//! A block of fields that comes in several frames (RFC 9113 section 4.3).

use super::budget::cost;
use super::frame::{FrameHead, flag, kind};
use super::{ConnectionError, ErrorCode};

/// Frames after the first, at most.
const MAX_FRAMES: u32 = 8;

/// What of a block has come, while more is to come.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) start: Start,
    pub(super) bytes: Vec<u8>,
    frames: u32,
}

/// What the first frame of a block says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) stream: u32,
    pub(super) ends_stream: bool,
    /// It says that the stream depends on itself, which none may.
    pub(super) depends_on_itself: bool,
}

impl Start {
    /// Reads a HEADERS frame; returns what of the block it has, too.
    pub(super) fn parse(
        frame: FrameHead,
        payload: &[u8],
    ) -> Result<(Self, &[u8]), ConnectionError> {
        let too_short = ConnectionError::frame_size("HEADERS are too short");
        let mut rest = payload;
        let mut padding = 0;
        if frame.has(flag::PADDED) {
            let (&len, after) = rest.split_first().ok_or(too_short)?;
            (padding, rest) = (usize::from(len), after);
        }
        let mut depends_on_itself = false;
        if frame.has(flag::PRIORITY) {
            let (&[d0, d1, d2, d3, _], after) = rest.split_first_chunk().ok_or(too_short)?;
            depends_on_itself = u32::from_be_bytes([d0 & 0x7f, d1, d2, d3]) == frame.stream;
            rest = after;
        }
        let len = rest.len().checked_sub(padding);
        let fragment = len.and_then(|len| rest.get(..len));
        let fragment = fragment.ok_or(ConnectionError::protocol("more padding than frame"))?;
        let ends_stream = frame.has(flag::END_STREAM);
        Ok((Self { stream: frame.stream, ends_stream, depends_on_itself }, fragment))
    }
}

impl Block {
    pub(super) fn new(start: Start, fragment: &[u8]) -> Self {
        Self { start, bytes: fragment.to_vec(), frames: 0 }
    }

    /// Whether this frame may follow now: only what belongs to the block may.
    pub(super) fn expects(&self, frame: FrameHead) -> bool {
        frame.kind == kind::CONTINUATION && frame.stream == self.start.stream
    }

    /// Takes the payload of the next frame; returns what that costs.
    pub(super) fn push(&mut self, payload: &[u8], most: usize) -> Result<u32, ConnectionError> {
        self.frames += 1;
        if self.frames > MAX_FRAMES || self.bytes.len() + payload.len() > most {
            let reason = "block of fields is too large";
            return Err(ConnectionError::new(ErrorCode::ENHANCE_YOUR_CALM, reason));
        }
        self.bytes.extend_from_slice(payload);
        Ok(if payload.is_empty() { cost::EMPTY } else { cost::FRAME })
    }
}
