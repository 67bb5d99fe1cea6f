//! What is sent: messages in pieces, the streams in turn, as far as there is credit.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Mux, Side};
use crate::hrpc::frame::HEAD_LEN;
use crate::hrpc::parts::{Asked, Replied};
use crate::hrpc::{CHUNK, Code, Flags, Frame, Head, Kind, STREAM_CREDIT};
use crate::rpcx::Pairs;

/// What waits to be sent on a stream.
#[derive(Debug)]
pub(super) struct Outbound {
    credit: u64,
    queue: VecDeque<Piece>,
    /// It is among those that something may be sent on.
    is_ready: bool,
    /// Bytes of messages in the queue.
    bytes: usize,
    /// They are the rest of a CALL or REPLY, and counted with those of others.
    is_rest: bool,
}

impl Default for Outbound {
    fn default() -> Self {
        let queue = VecDeque::new();
        Self { credit: STREAM_CREDIT, queue, is_ready: false, bytes: 0, is_rest: false }
    }
}

#[derive(Debug)]
enum Piece {
    /// A message, or what is left of it.
    Message {
        bytes: Bytes,
        flags: Flags,
    },
    Trailers(Code, Bytes),
    End,
}

/// What a CALL or REPLY is too short for.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    /// The stream.
    pub stream: u32,
    bytes: Bytes,
    flags: Flags,
}

impl Rest {
    /// Shortens the CALL or REPLY that begins at `start` to what a frame may have, if it is longer: then the rest of
    /// its message goes by [`Mux::send_rest`].
    pub fn of(out: &mut BytesMut, start: usize) -> Option<Self> {
        let written = out.get(start..)?;
        let (head, body) = written.split_first_chunk::<HEAD_LEN>()?;
        if body.len() <= CHUNK {
            return None;
        }
        let (_, head) = Head::read(head);
        let frame = Frame { head, body };
        let message = match head.kind {
            Kind::CALL => Asked::read(&frame).ok()?.1,
            _ => Replied::read(&frame).ok()?.1,
        };
        let left = message.len().checked_sub(CHUNK).filter(|left| *left > 0)?;
        let length = (body.len() - left) as u32;
        let bytes = out.split_off(out.len() - left).freeze();
        let flags = head.flags.without(Flags::END).and(Flags::MORE);
        let shortened = Head { flags, ..head }.bytes(length);
        out.get_mut(start..start + HEAD_LEN)?.copy_from_slice(&shortened);
        let flags = Flags(head.flags.0 & Flags::END.0);
        Some(Self { stream: head.stream, bytes, flags })
    }
}

/// A frame to be sent.
#[derive(Debug)]
pub struct Chunk {
    /// The stream it is of.
    pub stream: u32,
    /// Its head.
    pub head: [u8; HEAD_LEN],
    /// What follows.
    pub body: Bytes,
    /// Whether this side sends no more on the stream.
    pub end: bool,
}

impl Outbound {
    /// Bytes of the rest of a CALL or REPLY, if there is one.
    pub(super) fn rest(&self) -> Option<usize> {
        self.is_rest.then_some(self.bytes)
    }
}

impl<T> Mux<T> {
    /// Sends what a CALL or REPLY had no room for.
    pub fn send_rest(&mut self, rest: Rest) {
        let Rest { stream, bytes, flags } = rest;
        if let Some(kept) = self.streams.get_mut(&stream) {
            kept.outbound.is_rest = true;
            self.rests = (self.rests.0 + bytes.len(), self.rests.1 + 1);
        }
        self.push(stream, Piece::Message { bytes, flags });
    }

    /// Sends a message, and maybe the end with it.
    pub fn send(&mut self, stream: u32, bytes: Bytes, flags: Flags) {
        self.push(stream, Piece::Message { bytes, flags });
    }

    /// Sends the end: of what a caller sends, or of an answer that has gone well.
    pub fn send_end(&mut self, stream: u32) {
        self.push(stream, Piece::End);
    }

    /// Sends the end of an answer.
    pub fn send_trailers(&mut self, stream: u32, code: Code, metadata: Pairs<'_>) {
        let block = metadata.block();
        let mut body = BytesMut::with_capacity(4 + block.len());
        body.put_u32(block.len() as u32);
        body.put_slice(block);
        self.push(stream, Piece::Trailers(code, body.freeze()));
    }

    /// Bytes of messages that wait to be sent on a stream.
    #[must_use]
    pub fn queued_on(&self, stream: u32) -> usize {
        self.streams.get(&stream).map_or(0, |stream| stream.outbound.bytes)
    }

    fn push(&mut self, stream: u32, piece: Piece) {
        let Some(kept) = self.streams.get_mut(&stream) else { return };
        let outbound = &mut kept.outbound;
        if let Piece::Message { bytes, .. } = &piece {
            outbound.bytes += bytes.len();
        }
        outbound.queue.push_back(piece);
        if !outbound.is_ready {
            outbound.is_ready = true;
            self.ready.push_back(stream);
        }
    }

    pub(super) fn credited(&mut self, stream: u32, more: u64) {
        let Some(kept) = self.streams.get_mut(&stream) else { return };
        let outbound = &mut kept.outbound;
        outbound.credit = outbound.credit.saturating_add(more);
        if !outbound.queue.is_empty() && !outbound.is_ready {
            outbound.is_ready = true;
            self.ready.push_back(stream);
        }
    }

    /// The next frame that may be sent now: each stream has its turn. What is to be sent before it is written.
    pub fn next_chunk(&mut self, out: &mut BytesMut) -> Option<Chunk> {
        for _ in 0..self.ready.len() {
            let stream = self.ready.pop_front()?;
            let Some(kept) = self.streams.get_mut(&stream) else { continue };
            let outbound = &mut kept.outbound;
            let (kind, flags, code, body) = match outbound.queue.pop_front() {
                None => {
                    outbound.is_ready = false;
                    continue;
                }
                Some(Piece::Message { mut bytes, flags }) => {
                    let room = (CHUNK as u64).min(outbound.credit).min(self.credit) as usize;
                    if room == 0 && !bytes.is_empty() {
                        outbound.queue.push_front(Piece::Message { bytes, flags });
                        // With credit of its own it only waits for that of the connection.
                        outbound.is_ready = outbound.credit > 0;
                        if outbound.is_ready {
                            self.ready.push_back(stream);
                        }
                        continue;
                    }
                    let body = bytes.split_to(room.min(bytes.len()));
                    let sent = body.len();
                    outbound.credit -= sent as u64;
                    self.credit -= sent as u64;
                    outbound.bytes -= sent;
                    if outbound.is_rest {
                        outbound.is_rest = outbound.bytes > 0;
                        let over = usize::from(!outbound.is_rest);
                        self.rests = (self.rests.0 - sent, self.rests.1 - over);
                    }
                    let flags = flags.and(Flags::MESSAGE);
                    if bytes.is_empty() {
                        (Kind::DATA, flags, Code::OK, body)
                    } else {
                        let rest = Flags(flags.0 & Flags::END.0);
                        outbound.queue.push_front(Piece::Message { bytes, flags: rest });
                        let flags = flags.without(Flags::END).and(Flags::MORE);
                        (Kind::DATA, flags, Code::OK, body)
                    }
                }
                Some(Piece::Trailers(code, body)) => (Kind::TRAILERS, Flags::END, code, body),
                Some(Piece::End) => (Kind::DATA, Flags::END, Code::OK, Bytes::new()),
            };
            let head = Head { kind, flags, value: code.0, stream };
            if outbound.queue.is_empty() {
                outbound.is_ready = false;
            } else {
                self.ready.push_back(stream);
            }
            let end = flags.has(Flags::END);
            if end && self.side == Side::Server {
                // The end of an answer is the end of its call.
                drop(self.close(stream, out));
            }
            return Some(Chunk { stream, head: head.bytes(body.len() as u32), body, end });
        }
        None
    }
}
