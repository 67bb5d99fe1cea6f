//! Content that passes through a filter on its way, piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hemi_web::{Body, BoxError};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

/// Turns bytes into others.
pub(crate) trait Filter: Send + Unpin + 'static {
    /// Takes bytes off the front of some that have come, and adds to `out` what comes of them. Returns
    /// how many it has taken: one at least.
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BoxError>;

    /// Adds all it can give now: the next bytes are not there yet.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let _ = out;
        Ok(())
    }

    /// Adds what remains: there are no more.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), BoxError>;
}

/// Bytes, taken and given, after which others of the core get their turn.
pub(crate) const TURN: usize = 64 << 10;

/// Bytes that are given on in one piece, about.
pub(crate) const PIECE: usize = 16 << 10;

/// What a filter makes of a body. Trailers stay.
pub(crate) struct Filtered<F> {
    source: Body,
    filter: F,
    input: Bytes,
    out: Vec<u8>,
    /// Bytes worked on since others had their turn.
    work: usize,
    /// The filter may hold something back.
    holds: bool,
    state: State,
}

enum State {
    Reading,
    /// The source has ended, maybe with trailers.
    Ending(Option<HeaderMap>),
    /// What the filter gives at the end may wait to be given on; then there are these.
    Ended(Option<HeaderMap>),
}

/// What a filter makes of a body: at once, if that is small and in memory.
pub(crate) fn filtered(body: Body, filter: impl Filter) -> Body {
    let mut filtered = Filtered::new(body, filter);
    match filtered.whole() {
        Some(made) => made.into(),
        None => Body::stream(filtered),
    }
}

impl<F: Filter> Filtered<F> {
    pub(crate) fn new(source: Body, filter: F) -> Self {
        let (input, out) = (Bytes::new(), Vec::new());
        Self { source, filter, input, out, work: 0, holds: false, state: State::Reading }
    }

    /// Works on what has come; false if there is nothing, or enough is made.
    fn work(&mut self) -> Result<bool, BoxError> {
        if self.input.is_empty() || self.out.len() >= PIECE {
            return Ok(false);
        }
        let most = self.input.len().min(TURN.saturating_sub(self.work).max(1));
        let before = self.out.len();
        let used = self.filter.feed(&self.input[..most], &mut self.out)?.clamp(1, most);
        self.input.advance(used);
        self.work += used.max(self.out.len() - before);
        self.holds = true;
        Ok(true)
    }

    /// All that is made; none if that is not to be had at once, or has to fail as a stream does.
    fn whole(&mut self) -> Option<Bytes> {
        self.input = self.source.in_memory().filter(|bytes| bytes.len() <= TURN)?.clone();
        self.source = Body::empty();
        while !self.input.is_empty() && self.out.len() < TURN {
            let used = self.filter.feed(&self.input, &mut self.out).ok()?;
            self.input.advance(used.clamp(1, self.input.len()));
        }
        if !self.input.is_empty() {
            return None;
        }
        self.filter.end(&mut self.out).ok()?;
        Some(std::mem::take(&mut self.out).into())
    }

    fn take(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.out).into()))))
    }
}

impl<F: Filter> HttpBody for Filtered<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if this.work >= TURN {
                this.work = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if this.work()? {
                continue;
            }
            if this.out.len() >= PIECE {
                return this.take();
            }
            match &mut this.state {
                State::Reading => match Pin::new(&mut this.source).poll_frame(cx)? {
                    Poll::Ready(Some(frame)) => match frame.into_data() {
                        Ok(data) => this.input = data,
                        Err(frame) => this.state = State::Ending(frame.into_trailers().ok()),
                    },
                    Poll::Ready(None) => this.state = State::Ending(None),
                    Poll::Pending => {
                        if std::mem::take(&mut this.holds) {
                            this.filter.flush(&mut this.out)?;
                        }
                        if this.out.is_empty() {
                            return Poll::Pending;
                        }
                        return this.take();
                    }
                },
                State::Ending(trailers) => {
                    let trailers = trailers.take();
                    this.filter.end(&mut this.out)?;
                    this.state = State::Ended(trailers);
                }
                State::Ended(_) if !this.out.is_empty() => return this.take(),
                State::Ended(trailers) => {
                    return Poll::Ready(trailers.take().map(|map| Ok(Frame::trailers(map))));
                }
            }
        }
    }
}

/// Stands in an answer to HEAD for content that nobody makes and whose length nobody knows.
pub(crate) struct Unmade;

impl HttpBody for Unmade {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(None)
    }
}
