//! Frames (RFC 9114 section 7) on one stream, found as its bytes come.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Code, varint};

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(pub(super) u64);

impl Kind {
    pub(super) const DATA: Self = Self(0x00);
    pub(super) const HEADERS: Self = Self(0x01);
    pub(super) const CANCEL_PUSH: Self = Self(0x03);
    pub(super) const SETTINGS: Self = Self(0x04);
    pub(super) const PUSH_PROMISE: Self = Self(0x05);
    pub(super) const GOAWAY: Self = Self(0x07);
    pub(super) const MAX_PUSH_ID: Self = Self(0x0d);
    pub(super) const PRIORITY_UPDATE_REQUEST: Self = Self(0xf0700);
    pub(super) const PRIORITY_UPDATE_PUSH: Self = Self(0xf0701);

    /// Whether this is a type of HTTP/2 that must not be sent (RFC 9114 section 7.2.8).
    fn is_of_http2(self) -> bool {
        matches!(self.0, 0x02 | 0x06 | 0x08 | 0x09)
    }
}

/// What a stream does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Its payload is passed on as it comes.
    Stream,
    /// Its payload is passed on whole, if it has so many bytes at most.
    Whole(usize),
    /// It is skipped.
    Skip,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The start of a frame that is passed on as it comes: its length.
    Start(Kind, u64),
    /// A piece of it.
    Piece(Bytes),
    /// A whole frame.
    Whole(Kind, Bytes),
    /// A frame with more bytes than allowed, which are skipped.
    TooLarge(Kind),
}

/// Frames that are skipped on one stream, or have no payload, at most: some are sent to fool those who do
/// not skip (RFC 9114 section 7.2.8), many are an attack.
const IDLE_FRAMES: u32 = 1000;

/// Finds frames in the bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    state: State,
    idle: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before a frame.
    #[default]
    Head,
    /// In one that is passed on as it comes; so many bytes are left.
    Streaming(u64),
    /// In one that is to be passed on whole.
    Gathering(Kind, usize),
    Skipping(u64),
}

impl FrameReader {
    /// Finds the next frame or piece in `buf`, and takes it off; none until there is more. `judge` says what
    /// is to be done with a frame, or that it must not be here.
    pub(super) fn read(
        &mut self,
        buf: &mut BytesMut,
        mut judge: impl FnMut(Kind) -> Result<Use, Code>,
    ) -> Result<Option<Found>, Code> {
        loop {
            match self.state {
                State::Head => {
                    let mut bytes = &buf[..];
                    let Some(kind) = varint::decode(&mut bytes).map(Kind) else { return Ok(None) };
                    let Some(length) = varint::decode(&mut bytes) else { return Ok(None) };
                    if kind.is_of_http2() {
                        return Err(Code::FrameUnexpected);
                    }
                    let usage = judge(kind)?;
                    buf.advance(buf.len() - bytes.len());
                    if usage == Use::Skip || length == 0 {
                        self.idle += 1;
                        if self.idle > IDLE_FRAMES {
                            return Err(Code::ExcessiveLoad);
                        }
                    }
                    match usage {
                        Use::Skip => self.state = State::Skipping(length),
                        Use::Stream => {
                            self.state = State::Streaming(length);
                            return Ok(Some(Found::Start(kind, length)));
                        }
                        Use::Whole(most) if length > most as u64 => {
                            self.state = State::Skipping(length);
                            return Ok(Some(Found::TooLarge(kind)));
                        }
                        Use::Whole(_) => self.state = State::Gathering(kind, length as usize),
                    }
                }
                State::Gathering(kind, length) => {
                    if buf.len() < length {
                        return Ok(None);
                    }
                    self.state = State::Head;
                    return Ok(Some(Found::Whole(kind, buf.split_to(length).freeze())));
                }
                State::Streaming(0) | State::Skipping(0) => self.state = State::Head,
                State::Streaming(left) => {
                    let taken = left.min(buf.len() as u64);
                    if taken == 0 {
                        return Ok(None);
                    }
                    self.state = State::Streaming(left - taken);
                    return Ok(Some(Found::Piece(buf.split_to(taken as usize).freeze())));
                }
                State::Skipping(left) => {
                    let taken = left.min(buf.len() as u64);
                    if taken == 0 {
                        return Ok(None);
                    }
                    buf.advance(taken as usize);
                    self.state = State::Skipping(left - taken);
                }
            }
        }
    }

    /// Bytes that are still to come of the frame that is passed on as it comes.
    pub(super) fn left(&self) -> u64 {
        match self.state {
            State::Streaming(left) => left,
            _ => 0,
        }
    }

    /// Whether the stream may end here, with these bytes left in the buffer.
    pub(super) fn may_end(&self, buf: &[u8]) -> bool {
        let between = matches!(self.state, State::Head | State::Streaming(0) | State::Skipping(0));
        between && buf.is_empty()
    }
}

/// Appends type and length of a frame.
pub(super) fn put_head(kind: Kind, length: u64, out: &mut impl BufMut) {
    varint::encode(kind.0, out);
    varint::encode(length, out);
}

/// Appends the start of a DATA frame with so many bytes.
pub fn put_data_head(length: u64, out: &mut impl BufMut) {
    put_head(Kind::DATA, length, out);
}

/// Appends the start of a HEADERS frame with so many bytes.
pub fn put_headers_head(length: u64, out: &mut impl BufMut) {
    put_head(Kind::HEADERS, length, out);
}

/// Appends a GOAWAY frame: requests on streams from this one on are not answered (RFC 9114 section 5.2).
pub fn put_goaway(stream: u64, out: &mut impl BufMut) {
    let mut id = Vec::new();
    varint::encode(stream, &mut id);
    put_head(Kind::GOAWAY, id.len() as u64, out);
    out.put_slice(&id);
}
