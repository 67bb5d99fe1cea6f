//! One direction of a connection, for who only looks on.

use bytes::{Bytes, BytesMut};

use super::error::ErrorCode;
use super::frame::{FrameHead, HEAD, flag, kind};
use super::hpack::Decoder;
use crate::message::FieldName;

/// Bytes of a frame, at most: more than most have their peers send.
const MOST: usize = 1 << 20;

/// Bytes of a block of fields, at most.
const BLOCK: usize = 1 << 20;

/// Bytes that a line is taken to cost besides its value.
const LINE: usize = 64;

/// What may become of the table of fields, as far as it is followed.
const TABLE: usize = 1 << 20;

/// What is sent in one direction.
#[derive(Debug)]
pub struct Watch {
    decoder: Decoder,
    strings: BytesMut,
    /// A block of fields that goes on, of this stream.
    block: Option<(u32, bool, Vec<u8>)>,
}

/// What stands in a frame, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched<'a> {
    /// Nothing that would be told.
    Nothing,
    /// The start of a message, or its end: names and values.
    Head(u32, Vec<(FieldName, Bytes)>, bool),
    /// Content, and whether it ends with that.
    Data(u32, &'a [u8], bool),
    /// A stream was given up.
    Reset(u32, ErrorCode),
    /// No streams after this one are looked at.
    Goaway(u32, ErrorCode, &'a [u8]),
}

/// What is no HTTP/2, or can't be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotFollowed(pub &'static str);

impl Default for Watch {
    /// From its beginning, behind a preface.
    fn default() -> Self {
        Self { decoder: Decoder::new(TABLE), strings: BytesMut::new(), block: None }
    }
}

impl Watch {
    /// Takes a frame from the start of what has come: what is in it, and its bytes; none if it is not whole.
    ///
    /// # Errors
    /// When the direction can't be followed any further.
    pub fn frame<'a>(
        &mut self,
        buf: &'a [u8],
    ) -> Result<Option<(Watched<'a>, usize)>, NotFollowed> {
        let Some(head) = FrameHead::parse(buf) else { return Ok(None) };
        if head.len > MOST {
            return Err(NotFollowed("a frame that is too long"));
        }
        let length = HEAD + head.len;
        let Some(payload) = buf.get(HEAD..length) else { return Ok(None) };
        let watched = self.payload(head, payload)?;
        Ok(Some((watched, length)))
    }

    fn payload<'a>(
        &mut self,
        head: FrameHead,
        payload: &'a [u8],
    ) -> Result<Watched<'a>, NotFollowed> {
        let end = head.has(flag::END_STREAM);
        if self.block.is_some() && head.kind != kind::CONTINUATION {
            return Err(NotFollowed("a block of fields that breaks off"));
        }
        Ok(match head.kind {
            kind::DATA => Watched::Data(head.stream, unpadded(head, payload)?, end),
            kind::HEADERS => {
                let mut block = unpadded(head, payload)?;
                if head.has(flag::PRIORITY) {
                    block = block.get(5..).ok_or(NotFollowed("HEADERS that are too short"))?;
                }
                self.block(head, (head.stream, end, block.to_vec()))?
            }
            kind::PUSH_PROMISE => {
                let block = unpadded(head, payload)?;
                let block =
                    block.get(4..).ok_or(NotFollowed("a PUSH_PROMISE that is too short"))?;
                self.block(head, (head.stream, false, block.to_vec()))?
            }
            kind::CONTINUATION => {
                let block = self.block.take().filter(|(stream, ..)| *stream == head.stream);
                let none = NotFollowed("a CONTINUATION of nothing");
                let (stream, end, mut block) = block.ok_or(none)?;
                block.extend_from_slice(payload);
                self.block(head, (stream, end, block))?
            }
            kind::RST_STREAM => Watched::Reset(head.stream, code(payload)?),
            kind::GOAWAY => {
                let last = payload.first_chunk().copied().map_or(0, u32::from_be_bytes);
                let code = code(payload.get(4..).unwrap_or_default())?;
                Watched::Goaway(last & 0x7fff_ffff, code, payload.get(8..).unwrap_or_default())
            }
            _ => Watched::Nothing,
        })
    }

    fn block<'a>(
        &mut self,
        head: FrameHead,
        (stream, end, block): (u32, bool, Vec<u8>),
    ) -> Result<Watched<'a>, NotFollowed> {
        if block.len() > BLOCK {
            return Err(NotFollowed("a block of fields that is too long"));
        }
        if !head.has(flag::END_HEADERS) {
            self.block = Some((stream, end, block));
            return Ok(Watched::Nothing);
        }
        let (mut lines, mut bytes) = (Vec::new(), 0);
        let line = |name: &FieldName, value: Bytes| {
            // A byte may stand for a long one.
            bytes += value.len() + LINE;
            if bytes <= BLOCK {
                lines.push((name.clone(), value));
            }
        };
        let decoded = self.decoder.decode(&block, &mut self.strings, line);
        decoded.map_err(|_| NotFollowed("a malformed block of fields"))?;
        Ok(Watched::Head(stream, lines, end))
    }
}

fn unpadded(head: FrameHead, payload: &[u8]) -> Result<&[u8], NotFollowed> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let unpadded = payload
        .split_first()
        .and_then(|(padding, rest)| rest.get(..rest.len().checked_sub(usize::from(*padding))?));
    unpadded.ok_or(NotFollowed("more padding than frame"))
}

fn code(payload: &[u8]) -> Result<ErrorCode, NotFollowed> {
    let code = payload.first_chunk().copied().map(u32::from_be_bytes);
    code.map(ErrorCode).ok_or(NotFollowed("a code that breaks off"))
}
