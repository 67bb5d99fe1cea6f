//! Content that is sent no faster than it is told to.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hemi_core::clock;
use hemi_web::{Body, BoxError};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Content that comes at this rate, at most.
pub(super) struct Shaped {
    body: Body,
    /// Bytes in a second.
    rate: u64,
    /// When what was given is paid for.
    due: Instant,
    waits: Option<Pin<Box<Sleep>>>,
    /// What is still to be given of a frame.
    rest: Bytes,
}

/// In how much time the next piece is given, at most.
const STEP: Duration = Duration::from_millis(100);

impl Shaped {
    pub(super) fn new(body: Body, rate: u64) -> Self {
        let now = now();
        Self { body, rate: rate.max(1), due: now, waits: None, rest: Bytes::new() }
    }

    fn piece(&mut self) -> Bytes {
        let most = (self.rate / 10).clamp(1, 64 << 10) as usize;
        let piece = self.rest.split_to(most.min(self.rest.len()));
        let time = Duration::from_secs_f64(piece.len() as f64 / self.rate as f64);
        // Time in which nothing was to be had is not made up for.
        self.due = self.due.max(now().checked_sub(STEP).unwrap_or(self.due)) + time;
        piece
    }
}

fn now() -> Instant {
    Instant::from_std(clock::exact())
}

impl HttpBody for Shaped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.due > now() {
            let due = this.due;
            ready!(this.waits.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(cx));
        }
        this.waits = None;
        if this.rest.is_empty() {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => this.rest = data,
                Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(this.piece()))))
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        self.body.len().map_or_else(SizeHint::default, |len| SizeHint::with_exact(len + rest))
    }
}
