//! What stands in frames, read and written.

use bytes::{BufMut, BytesMut};

use super::frame::{Flags, Frame, HEAD_LEN, Head, Kind};
use super::{Broken, Code};
use crate::gzip::gzip;
use crate::rpcx::{COMPRESSED_FROM, CodecId, Compression, Pairs, split};

/// What a side can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Calls of the other side that may be under way at once.
    pub streams: u32,
    /// Bytes of a message that it takes, at most.
    pub message: u32,
    /// The numbers of the compressions that it understands, as bits.
    pub compressions: u32,
}

impl Hello {
    /// What comes after is of later versions.
    pub(super) fn read(body: &[u8]) -> Result<Self, Broken> {
        let mut numbers =
            body.chunks_exact(4).map(|n| u32::from_be_bytes([n[0], n[1], n[2], n[3]]));
        let mut next = || numbers.next().ok_or(Broken("a HELLO that breaks off"));
        Ok(Self { streams: next()?, message: next()?, compressions: next()? })
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// What messages are written in, both ways.
    pub codec: CodecId,
    /// Milliseconds that the caller will wait; 0 if it did not say.
    pub timeout: u32,
    /// The service.
    pub service: &'a [u8],
    /// Its method.
    pub method: &'a [u8],
    /// What is said besides.
    pub metadata: Pairs<'a>,
}

impl<'a> Asked<'a> {
    /// Reads what stands in a CALL before the message.
    pub(super) fn read(frame: &Frame<'a>) -> Result<(Self, &'a [u8]), Broken> {
        let broken = Broken("a CALL whose lengths contradict each other");
        let codec = u8::try_from(frame.head.value).ok().and_then(CodecId::new);
        let codec = codec.ok_or(Broken("a codec above 15"))?;
        let (timeout, rest) = frame.body.split_first_chunk::<4>().ok_or(broken)?;
        let (service, rest) = name(rest).ok_or(broken)?;
        let (method, rest) = name(rest).ok_or(broken)?;
        let (metadata, message) = metadata(rest)?;
        let timeout = u32::from_be_bytes(*timeout);
        Ok((Self { codec, timeout, service, method, metadata }, message))
    }
}

/// The head of an answer, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replied<'a> {
    /// How the call went, as far as that is known.
    pub code: Code,
    /// What is said besides.
    pub metadata: Pairs<'a>,
}

impl<'a> Replied<'a> {
    /// Reads what stands in a REPLY before the message, or in TRAILERS.
    pub(super) fn read(frame: &Frame<'a>) -> Result<(Self, &'a [u8]), Broken> {
        let (metadata, message) = metadata(frame.body)?;
        Ok((Self { code: Code(frame.head.value), metadata }, message))
    }
}

fn name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn metadata(bytes: &[u8]) -> Result<(Pairs<'_>, &[u8]), Broken> {
    let (block, rest) = split(bytes).ok_or(Broken("metadata that is longer than its frame"))?;
    Ok((Pairs::new(block).ok_or(Broken("metadata that breaks off"))?, rest))
}

/// A CALL or REPLY whose message is being written: it is what is appended to the buffer until the frame is ended.
///
/// The frame may become longer than frames may be: see [`Rest::of`](super::Rest::of).
#[derive(Debug)]
#[must_use = "its length is not known before it is ended"]
pub struct Open {
    start: usize,
    message: usize,
}

impl Open {
    /// Writes a CALL up to its message. Of names there may be 64 KiB each.
    pub fn call(out: &mut BytesMut, stream: u32, asked: &Asked<'_>) -> Self {
        Self::asked(out, Kind::CALL, stream, asked)
    }

    /// The same of a PUSH, which has to be short enough for a frame.
    pub fn push(out: &mut BytesMut, asked: &Asked<'_>) -> Self {
        Self::asked(out, Kind::PUSH, 0, asked)
    }

    fn asked(out: &mut BytesMut, kind: Kind, stream: u32, asked: &Asked<'_>) -> Self {
        let start = out.len();
        let value = u16::from(asked.codec.number());
        let head = Head { kind, flags: Flags::NONE, value, stream };
        let (service, method) = (short(asked.service), short(asked.method));
        let metadata = asked.metadata.block();
        out.reserve(HEAD_LEN + 12 + service.len() + method.len() + metadata.len());
        out.put_slice(&head.bytes(0));
        out.put_u32(asked.timeout);
        for name in [service, method] {
            out.put_u16(name.len() as u16);
            out.put_slice(name);
        }
        out.put_u32(metadata.len() as u32);
        out.put_slice(metadata);
        Self { start, message: out.len() }
    }

    /// Writes a REPLY up to its message.
    pub fn reply(out: &mut BytesMut, stream: u32, replied: &Replied<'_>) -> Self {
        let start = out.len();
        let value = replied.code.0;
        let head = Head { kind: Kind::REPLY, flags: Flags::NONE, value, stream };
        let metadata = replied.metadata.block();
        out.reserve(HEAD_LEN + 4 + metadata.len());
        out.put_slice(&head.bytes(0));
        out.put_u32(metadata.len() as u32);
        out.put_slice(metadata);
        Self { start, message: out.len() }
    }

    /// Ends it. A message that is worth it is compressed in gzip, if that is what `compression` says.
    pub fn end(self, out: &mut BytesMut, flags: Flags, compression: Compression) {
        let is_gzip = compression == Compression::GZIP;
        self.end_by(out, flags, compression, |message| is_gzip.then(|| gzip(message)));
    }

    /// Ends it. A message that is worth it is compressed by `compress`, which `compression` stands for, unless that gives none.
    pub fn end_by(
        self,
        out: &mut BytesMut,
        mut flags: Flags,
        compression: Compression,
        compress: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) {
        let message = out.get(self.message..).unwrap_or_default();
        if message.len() > COMPRESSED_FROM
            && let Some(compressed) = compress(message)
        {
            out.truncate(self.message);
            out.extend_from_slice(&compressed);
            flags = flags.compressed(compression.number());
        }
        let length = (out.len() - self.start - HEAD_LEN) as u32;
        if let Some(head) = out.get_mut(self.start..self.start + 6) {
            head[..4].copy_from_slice(&length.to_be_bytes());
            head[5] = flags.0;
        }
    }

    /// Bytes of the message so far.
    #[must_use]
    pub fn written(&self, out: &BytesMut) -> usize {
        out.len() - self.message
    }

    /// Takes back all of it.
    pub fn cancel(self, out: &mut BytesMut) {
        out.truncate(self.start);
    }
}

fn short(name: &[u8]) -> &[u8] {
    name.get(..usize::from(u16::MAX)).unwrap_or(name)
}

/// Writes a frame whose content is there already: at most [`CHUNK`](super::CHUNK) bytes of it, where it is a message.
pub fn frame(out: &mut BytesMut, head: &Head, body: &[u8]) {
    out.reserve(HEAD_LEN + body.len());
    out.put_slice(&head.bytes(body.len() as u32));
    out.put_slice(body);
}

/// Writes a HELLO.
pub fn hello(out: &mut BytesMut, hello: &Hello) {
    let head = Head { kind: Kind::HELLO, flags: Flags::NONE, value: 0, stream: 0 };
    out.put_slice(&head.bytes(12));
    for number in [hello.streams, hello.message, hello.compressions] {
        out.put_u32(number);
    }
}

/// Gives a stream up.
pub fn reset(out: &mut BytesMut, stream: u32, code: Code, text: &str) {
    let head = Head { kind: Kind::RESET, flags: Flags::NONE, value: code.0, stream };
    frame(out, &head, text.as_bytes());
}

/// Gives credit for this many bytes more; stream 0 is the connection.
pub(super) fn credit(out: &mut BytesMut, stream: u32, more: u32) {
    let head = Head { kind: Kind::CREDIT, flags: Flags::NONE, value: 0, stream };
    frame(out, &head, &more.to_be_bytes());
}

/// Asks for a sign of life.
pub fn ping(out: &mut BytesMut, content: [u8; 8]) {
    let head = Head { kind: Kind::PING, flags: Flags::NONE, value: 0, stream: 0 };
    frame(out, &head, &content);
}

/// Says that no calls after this stream are looked at.
pub fn goaway(out: &mut BytesMut, last: u32, code: Code, text: &str) {
    let head = Head { kind: Kind::GOAWAY, flags: Flags::NONE, value: code.0, stream: 0 };
    out.put_slice(&head.bytes(4 + text.len() as u32));
    out.put_u32(last);
    out.put_slice(text.as_bytes());
}
