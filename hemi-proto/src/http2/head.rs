//! Writes HEADERS frames.

use bytes::{Buf, BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Connection;
use super::frame::{FrameHead, HEAD, flag, kind};
use super::hpack::{Standing, encode_content_length, encode_field, encode_status};

/// Whether a frame is the last of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More follows.
    No,
    /// Nothing follows.
    Stream,
}

/// A head under way to `out`: lines first, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct HeadWriter<'a> {
    connection: &'a mut Connection,
    stream: u32,
    out: &'a mut BytesMut,
    /// Where the frame begins.
    start: usize,
}

impl<'a> HeadWriter<'a> {
    pub(super) fn new(connection: &'a mut Connection, stream: u32, out: &'a mut BytesMut) -> Self {
        let start = out.len();
        out.put_bytes(0, HEAD);
        connection.encoder.begin(out);
        Self { connection, stream, out, start }
    }

    /// The status, which comes first; trailers have none.
    #[must_use]
    pub fn status(self, status: StatusCode) -> Self {
        encode_status(self.out, status);
        self
    }

    /// Fields that many answers have.
    #[must_use]
    pub fn standing(self, fields: &Standing) -> Self {
        self.connection.encoder.standing(fields, self.out);
        self
    }

    /// Lines that were encoded before, without making use of the table.
    #[must_use]
    pub fn encoded(self, lines: &[u8]) -> Self {
        self.out.put_slice(lines);
        self
    }

    /// The length of the content.
    #[must_use]
    pub fn content_length(self, length: u64) -> Self {
        encode_content_length(self.out, length);
        self
    }

    /// A field.
    #[must_use]
    pub fn field(self, name: &HeaderName, value: &HeaderValue) -> Self {
        encode_field(self.out, name, value);
        self
    }

    /// All of these fields.
    #[must_use]
    pub fn fields(mut self, fields: &HeaderMap) -> Self {
        for (name, value) in fields {
            self = self.field(name, value);
        }
        self
    }

    /// Completes the frame.
    pub fn finish(self, end: End) {
        let len = self.out.len() - self.start - HEAD;
        let end_stream = if end == End::Stream { flag::END_STREAM } else { 0 };
        let most = self.connection.peer.max_frame as usize;
        let (kind, stream) = (kind::HEADERS, self.stream);
        let flags = end_stream | if len <= most { flag::END_HEADERS } else { 0 };
        let head = FrameHead { len: len.min(most), kind, flags, stream };
        if let Some(place) = self.out.get_mut(self.start..self.start + HEAD) {
            place.copy_from_slice(&head.encode());
        }
        if len > most {
            continue_frames(self.out, self.start + HEAD + most, most, stream);
        }
        if end == End::Stream {
            self.connection.end(stream);
        }
    }
}

/// Puts what follows `at` into CONTINUATION frames of up to `most` bytes.
#[cold]
fn continue_frames(out: &mut BytesMut, at: usize, most: usize, stream: u32) {
    let mut rest = out.split_off(at);
    while !rest.is_empty() {
        let len = rest.len().min(most);
        let flags = if len == rest.len() { flag::END_HEADERS } else { 0 };
        out.put_slice(&FrameHead { len, kind: kind::CONTINUATION, flags, stream }.encode());
        out.put_slice(rest.get(..len).unwrap_or_default());
        rest.advance(len);
    }
}
