//! The content of an answer, as it goes into frames of DATA.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hemi_core::panics::catch_call;
use hemi_proto::http2::{End, Turn};
use http::HeaderMap;
use http_body::Body as _;

use super::Line;
use crate::body::{Body, BodyError, Inner, Piece};

/// What is still to be sent of a content.
pub(super) enum Content {
    Pieces(VecDeque<Piece>),
    Stream(Box<Stream>),
}

/// Content that comes piece by piece.
pub(super) struct Stream {
    body: Body,
    piece: Bytes,
    /// Bytes still to come, if their number was told.
    left: Option<u64>,
}

/// What a content has to give next.
pub(super) enum Next {
    /// Bytes, for which [`Content::send`] is to be called when it's their turn.
    Bytes,
    End(Option<HeaderMap>),
}

/// Content that breaks off.
pub(super) enum Broken {
    Body(BodyError),
    Panicked(hemi_core::panics::Panicked),
}

impl From<BodyError> for Broken {
    fn from(e: BodyError) -> Self {
        Self::Body(e)
    }
}

impl Content {
    pub(super) fn new(body: Body) -> Self {
        let left = body.len();
        match body.into_loaded() {
            Inner::Empty => Self::Pieces(VecDeque::new()),
            Inner::Bytes(bytes) => Self::Pieces([Piece::Bytes(bytes)].into()),
            Inner::File(file, range) => Self::Pieces([Piece::File(file, range)].into()),
            Inner::Pieces(pieces) => Self::Pieces(pieces),
            other => {
                let body = Body::from_inner(other);
                Self::Stream(Box::new(Stream { body, piece: Bytes::new(), left }))
            }
        }
    }

    /// What is next; pending if that is still to come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Broken>> {
        match self {
            Self::Pieces(pieces) => {
                while pieces.front().is_some_and(Piece::is_empty) {
                    pieces.pop_front();
                }
                let next = if pieces.is_empty() { Next::End(None) } else { Next::Bytes };
                Poll::Ready(Ok(next))
            }
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    /// Sends a frame of what was [next](Self::poll); returns how many bytes, and whether they were the last
    /// ones.
    pub(super) fn send(&mut self, turn: Turn, line: &mut Line<'_>) -> Result<(u64, End), Broken> {
        match self {
            Self::Pieces(pieces) => {
                if let Some(Piece::File(file, range)) = pieces.front_mut() {
                    let len = (range.end - range.start).min(turn.soon as u64) as usize;
                    let bytes = file.read(range.start, len).map_err(BodyError::from)?;
                    range.start += len as u64;
                    pieces.push_front(Piece::Bytes(bytes));
                }
                let Some(Piece::Bytes(bytes)) = pieces.front_mut() else { return Ok((0, End::No)) };
                let part = bytes.split_to(turn.most.min(bytes.len()));
                let is_last = pieces.iter().all(Piece::is_empty);
                let end = if is_last { End::Stream } else { End::No };
                Ok((send_bytes(turn.stream, part, end, line), end))
            }
            Self::Stream(stream) => {
                let part = stream.piece.split_to(turn.most.min(stream.piece.len()));
                let is_last = stream.piece.is_empty() && stream.body.is_end_stream();
                let end = if is_last && stream.left.is_none_or(|left| left == 0) {
                    End::Stream
                } else {
                    End::No
                };
                Ok((send_bytes(turn.stream, part, end, line), end))
            }
        }
    }
}

fn send_bytes(id: u32, bytes: Bytes, end: End, line: &mut Line<'_>) -> u64 {
    let len = bytes.len();
    let head = line.proto.begin_data(id, len, end);
    line.out.push_framed(&head, bytes);
    len as u64
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Broken>> {
        while self.piece.is_empty() {
            let polled = catch_call(|| Pin::new(&mut self.body).poll_frame(cx));
            let frame = match polled.map_err(Broken::Panicked)? {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(frame)) => frame?,
                Poll::Ready(None) => return Poll::Ready(self.end(None)),
            };
            match frame.into_data() {
                Ok(piece) => {
                    if let Some(left) = &mut self.left {
                        *left = left.checked_sub(piece.len() as u64).ok_or_else(|| {
                            BodyError::from(io::Error::from(io::ErrorKind::InvalidData))
                        })?;
                    }
                    self.piece = piece;
                }
                Err(frame) => return Poll::Ready(self.end(frame.into_trailers().ok())),
            }
        }
        Poll::Ready(Ok(Next::Bytes))
    }

    fn end(&self, trailers: Option<HeaderMap>) -> Result<Next, Broken> {
        match self.left {
            None | Some(0) => Ok(Next::End(trailers)),
            // The client must not take it for whole.
            Some(_) => Err(BodyError::Cut.into()),
        }
    }
}
