//! Heads of frames (RFC 9113 section 4.1), and the small frames that are written whole.

use bytes::{BufMut, BytesMut};

use super::ErrorCode;

/// Bytes of the head of a frame.
pub(super) const HEAD: usize = 9;

/// The largest payload that is received, as no setting asks for more.
pub(super) const MAX_PAYLOAD: usize = 16 << 10;

/// Types of frames.
pub(super) mod kind {
    pub(in crate::http2) const DATA: u8 = 0;
    pub(in crate::http2) const HEADERS: u8 = 1;
    pub(in crate::http2) const PRIORITY: u8 = 2;
    pub(in crate::http2) const RST_STREAM: u8 = 3;
    pub(in crate::http2) const SETTINGS: u8 = 4;
    pub(in crate::http2) const PUSH_PROMISE: u8 = 5;
    pub(in crate::http2) const PING: u8 = 6;
    pub(in crate::http2) const GOAWAY: u8 = 7;
    pub(in crate::http2) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::http2) const CONTINUATION: u8 = 9;
    /// RFC 9218 section 7.1
    pub(in crate::http2) const PRIORITY_UPDATE: u8 = 16;
}

/// Flags of frames.
pub(super) mod flag {
    pub(in crate::http2) const ACK: u8 = 1;
    pub(in crate::http2) const END_STREAM: u8 = 1;
    pub(in crate::http2) const END_HEADERS: u8 = 4;
    pub(in crate::http2) const PADDED: u8 = 8;
    pub(in crate::http2) const PRIORITY: u8 = 0x20;
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    /// Reads the head at the front of `bytes`, if it is there.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes.first_chunk::<HEAD>()?;
        let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        Some(Self { len, kind, flags, stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]) })
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn encode(self) -> [u8; HEAD] {
        let [_, l0, l1, l2] = (self.len as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind, self.flags, s0, s1, s2, s3]
    }
}

fn put(out: &mut BytesMut, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.put_slice(&FrameHead { len: payload.len(), kind, flags, stream }.encode());
    out.put_slice(payload);
}

pub(super) fn put_settings(out: &mut BytesMut, settings: &[(u16, u32)]) {
    let len = settings.len() * 6;
    out.put_slice(&FrameHead { len, kind: kind::SETTINGS, flags: 0, stream: 0 }.encode());
    for (id, value) in settings {
        out.put_u16(*id);
        out.put_u32(*value);
    }
}

pub(super) fn put_settings_ack(out: &mut BytesMut) {
    put(out, kind::SETTINGS, flag::ACK, 0, &[]);
}

pub(super) fn put_ping(out: &mut BytesMut, flags: u8, opaque: [u8; 8]) {
    put(out, kind::PING, flags, 0, &opaque);
}

pub(super) fn put_window_update(out: &mut BytesMut, stream: u32, increment: u32) {
    put(out, kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
}

pub(super) fn put_rst_stream(out: &mut BytesMut, stream: u32, code: ErrorCode) {
    put(out, kind::RST_STREAM, 0, stream, &code.0.to_be_bytes());
}

pub(super) fn put_goaway(out: &mut BytesMut, last: u32, code: ErrorCode, reason: &str) {
    let len = 8 + reason.len();
    out.put_slice(&FrameHead { len, kind: kind::GOAWAY, flags: 0, stream: 0 }.encode());
    out.put_u32(last);
    out.put_u32(code.0);
    out.put_slice(reason.as_bytes());
}
