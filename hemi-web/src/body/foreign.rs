//! Content that others' types give: streams, and other bodies.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, BoxError};

/// Content up to this many bytes, that is there at once, is no stream.
const SMALL: u64 = 64 << 10;

impl Body {
    /// The pieces that a stream gives, read only as fast as they are sent. An error breaks the content off,
    /// and the client notices.
    pub fn from_stream<S, P, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<P, E>> + Send + 'static,
        P: Into<Bytes>,
        E: Into<BoxError>,
    {
        Self::stream(Pieces(Box::pin(stream)))
    }

    /// The same as [`Body::stream`], but for small content that is there already, and costs less.
    pub(crate) fn foreign<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        let Some(len) = body.size_hint().exact().filter(|len| *len <= SMALL) else {
            return Self::stream(body);
        };
        let mut rest = Box::pin(body);
        // Who is polled again later has a waker then.
        let first = match rest.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(e))) => return Self::stream(Broken(Some(e.into()))),
            Poll::Ready(None) => return Self::empty(),
            Poll::Pending => return Self::stream(Begun { first: None, rest }),
        };
        match first.into_data() {
            Ok(data) if data.len() as u64 == len && rest.is_end_stream() => data.into(),
            Ok(data) => Self::stream(Begun { first: Some(Frame::data(data)), rest }),
            Err(frame) => Self::stream(Begun { first: Some(frame), rest }),
        }
    }
}

struct Pieces<S>(Pin<Box<S>>);

impl<S, P, E> HttpBody for Pieces<S>
where
    S: Stream<Item = Result<P, E>>,
    P: Into<Bytes>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_next(cx).map(|piece| {
            piece.map(|piece| piece.map(|piece| Frame::data(piece.into())).map_err(Into::into))
        })
    }
}

/// A body of which the first frame has been read.
struct Begun<B> {
    first: Option<Frame<Bytes>>,
    rest: Pin<Box<B>>,
}

impl<B> HttpBody for Begun<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.rest.as_mut().poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        match self.rest.size_hint().exact() {
            Some(left) => SizeHint::with_exact(read + left),
            None => SizeHint::default(),
        }
    }
}

/// A body that gives an error alone.
struct Broken(Option<BoxError>);

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}
