//! Frames: found in what has come, and written.

use bytes::{BufMut, BytesMut};

use super::head::{Compression, HEAD_LEN, Head, MAGIC};
use super::metadata::{Pairs, split};
use super::{COMPRESSED_FROM, Mode};
use crate::gzip::gzip;

/// How long frames may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that follow a head, at most.
    pub message: usize,
    /// Bytes of metadata among them, at most.
    pub metadata: usize,
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
    /// Whom it is for; in Go any bytes may be a name.
    pub service: &'a [u8],
    /// What is asked of him.
    pub method: &'a [u8],
    /// What else is said.
    pub metadata: Pairs<'a>,
    /// As it came, compressed or not.
    pub payload: &'a [u8],
}

/// A frame that is none. The connection can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte is not that of rpcx.
    #[error("this is not rpcx")]
    Magic,
    /// There is more than may be, as its head says.
    #[error("a message of {length} bytes, which may have {most}")]
    TooLong {
        /// Its head.
        head: Head,
        /// Bytes that would follow.
        length: usize,
        /// What the limit is.
        most: usize,
    },
    /// There is more metadata than may be.
    #[error("metadata of {length} bytes, which may have {most}")]
    MetadataTooLong {
        /// The frame's head.
        head: Head,
        /// Bytes of metadata.
        length: usize,
        /// What the limit is.
        most: usize,
    },
    /// The lengths inside contradict that of the frame.
    #[error("a part of a message is longer than the message")]
    Length,
    /// The last pair of metadata is cut.
    #[error("metadata that breaks off")]
    Metadata,
}

/// Looks for a frame at the start of what has come.
///
/// The length that stands before the payload is not looked at: the payload is all that is left of the frame, as Go
/// has it.
///
/// # Errors
/// When there can't be one.
pub fn decode(buf: &[u8], limits: Limits) -> Result<Decoded<'_>, FrameError> {
    if buf.first().is_some_and(|first| *first != MAGIC) {
        return Err(FrameError::Magic);
    }
    let Some((head, rest)) = buf.split_first_chunk::<12>() else {
        return Ok(Decoded::Needs(HEAD_LEN));
    };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(Decoded::Needs(HEAD_LEN));
    };
    let head = Head::read(head).ok_or(FrameError::Magic)?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > limits.message {
        return Err(FrameError::TooLong { head, length, most: limits.message });
    }
    let Some(body) = rest.get(..length) else { return Ok(Decoded::Needs(HEAD_LEN + length)) };
    let (service, body) = split(body).ok_or(FrameError::Length)?;
    let (method, body) = split(body).ok_or(FrameError::Length)?;
    let (block, body) = split(body).ok_or(FrameError::Length)?;
    let payload = body.get(4..).ok_or(FrameError::Length)?;
    if block.len() > limits.metadata {
        let (length, most) = (block.len(), limits.metadata);
        return Err(FrameError::MetadataTooLong { head, length, most });
    }
    let metadata = Pairs::new(block).ok_or(FrameError::Metadata)?;
    let frame = Frame { head, service, method, metadata, payload };
    Ok(Decoded::Frame(frame, HEAD_LEN + length))
}

/// Writes a frame whose payload is there already, and goes as it is.
pub fn encode(out: &mut BytesMut, frame: &Frame<'_>) {
    let open = Open::begin(out, &frame.head, frame.service, frame.method, frame.metadata);
    out.extend_from_slice(frame.payload);
    open.end_as_is(out);
}

/// A frame whose payload is being written: it is what is appended to the buffer until the frame is ended.
#[derive(Debug)]
#[must_use = "its lengths are not known before it is ended"]
pub struct Open {
    start: usize,
    payload: usize,
}

impl Open {
    /// Writes all that comes before the payload.
    pub fn begin(
        out: &mut BytesMut,
        head: &Head,
        service: &[u8],
        method: &[u8],
        metadata: Pairs<'_>,
    ) -> Self {
        let start = out.len();
        out.reserve(HEAD_LEN + 16 + service.len() + method.len() + metadata.block().len());
        out.put_slice(&head.bytes());
        out.put_u32(0);
        for part in [service, method, metadata.block()] {
            out.put_u32(part.len() as u32);
            out.put_slice(part);
        }
        out.put_u32(0);
        Self { start, payload: out.len() }
    }

    /// Ends it. A payload that is worth it is compressed in gzip, if that is what `compression` says.
    pub fn end(self, out: &mut BytesMut, compression: Compression) {
        let is_gzip = compression == Compression::GZIP;
        self.end_by(out, compression, |payload| is_gzip.then(|| gzip(payload)));
    }

    /// Ends it. A payload that is worth it is compressed by `compress`, which `compression` stands for, unless that gives none.
    pub fn end_by(
        self,
        out: &mut BytesMut,
        compression: Compression,
        compress: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) {
        let payload = out.get(self.payload..).unwrap_or_default();
        if payload.len() > COMPRESSED_FROM
            && let Some(compressed) = compress(payload)
        {
            out.truncate(self.payload);
            out.extend_from_slice(&compressed);
            if let Some(flags) = out.get_mut(self.start + 2) {
                *flags |= compression.number() << 2;
            }
        }
        self.end_as_is(out);
    }

    fn end_as_is(self, out: &mut BytesMut) {
        let lengths = [
            (self.start + HEAD_LEN - 4, out.len() - self.start - HEAD_LEN),
            (self.payload - 4, out.len() - self.payload),
        ];
        for (at, length) in lengths {
            if let Some(place) = out.get_mut(at..at + 4) {
                place.copy_from_slice(&(length as u32).to_be_bytes());
            }
        }
    }

    /// Bytes of the payload so far.
    #[must_use]
    pub fn written(&self, out: &BytesMut) -> usize {
        out.len() - self.payload
    }

    /// Takes back all of it.
    pub fn cancel(self, out: &mut BytesMut) {
        out.truncate(self.start);
    }
}

/// Writes what a sign of life is answered with: itself, as an answer.
pub fn echo(out: &mut BytesMut, heartbeat: &Frame<'_>) {
    let head = Head { mode: Mode::Echo, ..heartbeat.head };
    encode(out, &Frame { head, ..*heartbeat });
}
