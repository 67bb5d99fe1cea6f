//! The content of an answer, as it goes into frames of DATA.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hemi_core::io::SharedFile;
use hemi_core::panics::catch_call;
use hemi_proto::http2::End;
use http::HeaderMap;
use http_body::Body as _;
use rustix::buffer::spare_capacity;

use super::Line;
use crate::body::{Body, BodyError, Inner, Piece};

/// Room for the head of a frame before its content.
const FRAME_HEAD: usize = 9;

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
        match body.into_inner() {
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

    /// Sends up to `most` bytes of what was [next](Self::poll); returns how many, and whether they were the
    /// last ones.
    pub(super) fn send(
        &mut self,
        id: u32,
        most: usize,
        line: &mut Line<'_>,
    ) -> Result<(u64, End), Broken> {
        match self {
            Self::Pieces(pieces) => {
                let is_last = pieces.iter().skip(1).all(Piece::is_empty);
                match pieces.front_mut() {
                    None => Ok((0, End::No)),
                    Some(Piece::Bytes(bytes)) => {
                        let part = bytes.split_to(most.min(bytes.len()));
                        let end = if is_last && bytes.is_empty() { End::Stream } else { End::No };
                        Ok((send_bytes(id, part, end, line), end))
                    }
                    Some(Piece::File(file, range)) => {
                        Ok(send_file(id, file, range, most, is_last, line)?)
                    }
                }
            }
            Self::Stream(stream) => {
                let part = stream.piece.split_to(most.min(stream.piece.len()));
                let is_last = stream.piece.is_empty() && stream.body.is_end_stream();
                let end = if is_last && stream.left.is_none_or(|left| left == 0) {
                    End::Stream
                } else {
                    End::No
                };
                Ok((send_bytes(id, part, end, line), end))
            }
        }
    }
}

fn send_bytes(id: u32, bytes: Bytes, end: End, line: &mut Line<'_>) -> u64 {
    let len = bytes.len();
    line.proto.data(id, len, end, line.out.small());
    line.out.push(bytes);
    len as u64
}

/// Reads a part of a file, and sends it behind the head of its frame.
fn send_file(
    id: u32,
    file: &SharedFile,
    range: &mut Range<u64>,
    most: usize,
    is_last: bool,
    line: &mut Line<'_>,
) -> Result<(u64, End), BodyError> {
    let len = (range.end - range.start).min(most as u64) as usize;
    // The head comes last, when it is known that there are so many bytes.
    let mut frame = Vec::with_capacity(FRAME_HEAD + len);
    frame.resize(FRAME_HEAD, 0);
    while frame.len() < FRAME_HEAD + len {
        let at = range.start + (frame.len() - FRAME_HEAD) as u64;
        match rustix::io::pread(file, spare_capacity(&mut frame), at) {
            Ok(0) => return Err(BodyError::Cut),
            Ok(_) => frame.truncate(FRAME_HEAD + len),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(io::Error::from(e).into()),
        }
    }
    range.start += len as u64;
    let end = if is_last && range.is_empty() { End::Stream } else { End::No };
    if let Some(mut head) = frame.get_mut(..FRAME_HEAD) {
        line.proto.data(id, len, end, &mut head);
    }
    line.out.push(frame.into());
    Ok((len as u64, end))
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
