//! What is sent on streams, and which of them comes next.

use bytes::{BufMut, BytesMut};

use super::Connection;
use super::frame::{FrameHead, HEAD, flag, kind};
use super::head::{End, HeadWriter};
use super::stream::Stream;

/// Bytes of content in one frame, at most: others get their turn after it.
const MAX_DATA: u32 = 16 << 10;

/// Bytes that are prepared of a stream that nobody shares the line with.
const SOON: i64 = 128 << 10;

/// Content that a stream may send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The stream.
    pub stream: u32,
    /// Bytes in one frame, at most.
    pub most: usize,
    /// Bytes, at most, that are likely to be sent before it is another stream's turn.
    pub soon: usize,
}

impl Connection {
    /// Begins a head on a stream: interim, final, or trailers. `None` if the stream is closed.
    pub fn head<'a>(&'a mut self, stream: u32, out: &'a mut BytesMut) -> Option<HeadWriter<'a>> {
        self.streams.find(stream).filter(|stream| !stream.sent_all)?;
        Some(HeadWriter::new(self, stream, out))
    }

    /// Says whether a stream has content to send that waits for its turn.
    pub fn set_ready(&mut self, stream: u32, ready: bool) {
        if let Some(stream) = self.streams.find(stream) {
            stream.ready = ready;
        }
    }

    /// Whose turn it is: the most urgent stream's that is ready and may send; of those that can be used in
    /// parts, the one's that has waited longest (RFC 9218 section 10).
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        let may_send = |stream: &&Stream| stream.ready && stream.send_window > 0;
        if self.send_window <= 0 {
            return None;
        }
        let rank = |stream: &&Stream| {
            let Stream { priority, served, id, .. } = stream;
            // Those that are of use only as a whole go first, one after the other.
            let order = if priority.incremental { *served } else { *id };
            // In one number, for this is asked before each frame.
            u64::from(priority.urgency) << 33
                | u64::from(priority.incremental) << 32
                | u64::from(order)
        };
        let next = self.streams.iter().filter(may_send).min_by_key(rank)?;
        let most = self.room(next);
        let window = next.send_window.min(self.send_window).min(SOON) as usize;
        let soon = if next.priority.incremental { most } else { window };
        Some(Turn { stream: next.id, most, soon })
    }

    /// Bytes of content that a stream may send at once, whoever else is ready.
    #[must_use]
    pub fn room_of(&self, stream: u32) -> usize {
        self.streams.get(stream).map_or(0, |stream| self.room(stream))
    }

    /// Whether content is ready that the window of the connection has no room for.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.send_window <= 0 && self.streams.iter().any(|stream| stream.ready)
    }

    /// Whether content is ready that the window of this stream has no room for.
    #[must_use]
    pub fn is_blocked_on(&self, stream: u32) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.ready && stream.send_window <= 0)
    }

    fn room(&self, stream: &Stream) -> usize {
        let most = self.peer.max_frame.min(MAX_DATA);
        stream.send_window.min(self.send_window).clamp(0, most.into()) as usize
    }

    /// Puts the head of a frame of DATA, which is followed by `len` bytes: at most what the
    /// [`turn`](Self::turn) allows.
    pub fn data(&mut self, stream: u32, len: usize, end: End, out: &mut impl BufMut) {
        out.put_slice(&self.begin_data(stream, len, end));
    }

    /// The same head, to be put by the caller.
    pub fn begin_data(&mut self, stream: u32, len: usize, end: End) -> [u8; HEAD] {
        let flags = if end == End::Stream { flag::END_STREAM } else { 0 };
        let head = FrameHead { len, kind: kind::DATA, flags, stream }.encode();
        self.send_window -= len as i64;
        self.turns = self.turns.wrapping_add(1);
        let turns = self.turns;
        if let Some(stream) = self.streams.find(stream) {
            stream.send_window -= len as i64;
            stream.served = turns;
        }
        // As much as it costs to make room again, on the stream and on the connection.
        self.budget.earn(2);
        if end == End::Stream {
            self.end(stream);
        }
        head
    }

    /// All of an answer was sent.
    pub(super) fn end(&mut self, id: u32) {
        let Some(stream) = self.streams.find(id) else { return };
        stream.sent_all = true;
        stream.unread = true;
        stream.ready = false;
        let is_over = stream.received_all;
        if is_over {
            self.streams.remove(id);
        }
        self.budget.earn(1);
    }
}
