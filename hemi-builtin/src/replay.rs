//! The content of a request, kept while it is sent: for another node to be sent it, too.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hemi_web::{Body, BoxError};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A content that can be sent again for as long as it is not too long.
pub(crate) struct Replay {
    kept: Arc<Mutex<Kept>>,
    len: Option<u64>,
}

struct Kept {
    /// What was not taken yet.
    rest: Body,
    frames: Vec<Piece>,
    /// Bytes of content that may still be kept.
    room: u64,
    /// Bytes that were taken.
    taken: u64,
    /// It was too long, or broke off.
    lost: bool,
    ended: bool,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Replay {
    /// Keeps up to `most` bytes.
    pub(crate) fn new(body: Body, most: u64) -> Self {
        let (len, frames) = (body.len(), Vec::new());
        let lost = len.is_some_and(|len| len > most);
        let kept = Kept { rest: body, frames, room: most, taken: 0, lost, ended: false };
        Self { kept: Arc::new(Mutex::new(kept)), len }
    }

    /// The content, from its begin on; none if that is lost. Only one may be read at a time.
    pub(crate) fn body(&self) -> Option<Body> {
        let kept = lock(&self.kept);
        if kept.lost && !kept.frames.is_empty() {
            return None;
        }
        Some(Body::stream(Reader { kept: self.kept.clone(), at: 0, left: self.len }))
    }

    /// All of it, if it was sent whole, and kept.
    pub(crate) fn whole(&self) -> Option<Body> {
        let kept = lock(&self.kept);
        let whole = !kept.lost && (kept.ended || self.len == Some(kept.taken));
        drop(kept);
        self.body().filter(|_| whole)
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn keep(&mut self, piece: &Piece) {
        if let (Piece::Data(data), false) = (piece, self.lost) {
            match self.room.checked_sub(data.len() as u64) {
                Some(room) => self.room = room,
                None => self.lost = true,
            }
        }
        match self.lost {
            // One is left to tell that it was begun.
            true => self.frames = vec![Piece::Data(Bytes::new())],
            false => self.frames.push(piece.clone()),
        }
    }
}

struct Reader {
    kept: Arc<Mutex<Kept>>,
    /// Frames that were given already.
    at: usize,
    left: Option<u64>,
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { kept, at, left } = self.get_mut();
        let mut kept = lock(kept);
        let piece = match kept.frames.get(*at).filter(|_| !kept.lost) {
            Some(piece) => piece.clone(),
            None if kept.ended => return Poll::Ready(None),
            None => {
                let frame = match ready!(Pin::new(&mut kept.rest).poll_frame(cx)) {
                    None => {
                        kept.ended = true;
                        return Poll::Ready(None);
                    }
                    Some(Err(e)) => {
                        kept.lost = true;
                        kept.keep(&Piece::Data(Bytes::new()));
                        return Poll::Ready(Some(Err(e.into())));
                    }
                    Some(Ok(frame)) => frame,
                };
                let piece = match frame.into_data() {
                    Ok(data) => {
                        kept.taken += data.len() as u64;
                        Piece::Data(data)
                    }
                    Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
                };
                kept.keep(&piece);
                piece
            }
        };
        *at += 1;
        Poll::Ready(Some(Ok(match piece {
            Piece::Data(data) => {
                *left = left.map(|left| left.saturating_sub(data.len() as u64));
                Frame::data(data)
            }
            Piece::Trailers(trailers) => Frame::trailers(trailers),
        })))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
