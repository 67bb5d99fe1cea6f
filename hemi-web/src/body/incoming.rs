//! The content of a request while it still arrives: one piece at a time passes from the connection's
//! task to whoever reads it, and only when it is asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::BodyError;

/// The reading end, inside a request's [`super::Body`].
#[derive(Debug)]
pub(crate) struct Incoming {
    shared: Arc<Mutex<Shared>>,
    /// Bytes still to be read, if the head said how many.
    left: Option<u64>,
}

/// The connection's end.
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    piece: Option<Bytes>,
    /// The reader has asked for a piece and there is none.
    wanted: bool,
    end: Option<Result<Option<HeaderMap>, BodyError>>,
    ended: bool,
    reader: Option<Waker>,
    feeder: Option<Waker>,
    /// The reader is gone.
    dropped: bool,
    /// How much comes, and how fast, is the reader's business.
    unlimited: bool,
}

/// Makes both ends, for content of `len` bytes if that is known.
pub(crate) fn incoming(len: Option<u64>) -> (Feed, Incoming) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    (Feed { shared: shared.clone() }, Incoming { shared, left: len })
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Incoming {
    pub(super) fn lift_limits(&self) {
        lock(&self.shared).unlimited = true;
    }

    pub(super) fn len(&self) -> Option<u64> {
        self.left
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut shared = lock(&self.shared);
        if let Some(piece) = shared.piece.take() {
            self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match shared.end.take() {
            Some(Ok(Some(trailers))) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Ok(None)) => return Poll::Ready(None),
            Some(Err(e)) => return Poll::Ready(Some(Err(e))),
            None if shared.ended => return Poll::Ready(None),
            None => {}
        }
        shared.wanted = true;
        if !shared.reader.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            shared.reader = Some(cx.waker().clone());
        }
        // If another task reads, the connection's has to be told; its own will look by itself.
        match &shared.feeder {
            Some(feeder) if !feeder.will_wake(cx.waker()) => feeder.wake_by_ref(),
            _ => {}
        }
        Poll::Pending
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        lock(&self.shared).dropped = true;
    }
}

impl Feed {
    /// Whether the reader waits for a piece; otherwise the connection's task is woken when it does.
    pub(crate) fn wanted(&self, cx: &Context<'_>) -> bool {
        let mut shared = lock(&self.shared);
        if !shared.feeder.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            shared.feeder = Some(cx.waker().clone());
        }
        shared.wanted && !shared.dropped
    }

    /// Whether the reader is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        lock(&self.shared).dropped
    }

    /// Whether how much comes, and how fast, is the reader's business.
    pub(crate) fn is_unlimited(&self) -> bool {
        lock(&self.shared).unlimited
    }

    /// Hands a piece over.
    pub(crate) fn give(&self, piece: Bytes) {
        self.update(|shared| shared.piece = Some(piece));
    }

    /// Says how it ended.
    pub(crate) fn end(&self, end: Result<Option<HeaderMap>, BodyError>) {
        self.update(|shared| {
            shared.end = Some(end);
            shared.ended = true;
        });
    }

    fn update(&self, change: impl FnOnce(&mut Shared)) {
        let mut shared = lock(&self.shared);
        change(&mut shared);
        shared.wanted = false;
        let reader = shared.reader.take();
        let same = matches!((&reader, &shared.feeder), (Some(r), Some(f)) if r.will_wake(f));
        drop(shared);
        if let Some(reader) = reader.filter(|_| !same) {
            reader.wake();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let ended = lock(&self.shared).ended;
        if !ended {
            self.end(Err(BodyError::Cut));
        }
    }
}
