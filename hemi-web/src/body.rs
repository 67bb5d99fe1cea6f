//! The content of a request or response: bytes, a part of a file, or a stream; never more in memory than
//! is asked for.

mod channel;
mod foreign;
mod gathered;
mod incoming;

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hemi_core::io::{SharedFile, Socket};
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use rustix::buffer::spare_capacity;

pub use channel::{BodySender, Unread};
pub use gathered::Buffering;
pub(crate) use incoming::{Feed, Incoming, incoming};

/// Any error of a body that users stream.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The content of a message.
///
/// It is an [`http_body::Body`], and can be made from any: with trailers, and read only as fast as it is sent.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
pub(crate) enum Inner {
    #[default]
    Empty,
    Bytes(Bytes),
    File(SharedFile, Range<u64>),
    Pieces(VecDeque<Piece>),
    Incoming(Incoming),
    Passed(Box<dyn Passed>),
    Stream(Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin>),
}

/// Content that comes from the socket of another server, which can be passed on without being looked at.
pub trait Passed: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin {
    /// The socket, and how many bytes of content come next on it, if nothing else does.
    fn source(&mut self) -> Option<(&mut Socket, u64)>;

    /// So many of these were taken.
    ///
    /// # Errors
    /// When there were not so many.
    fn took(&mut self, bytes: u64) -> Result<(), BoxError>;

    /// To be asked when the socket has to be waited for: an error, if that takes too long.
    fn waits(&mut self, cx: &mut Context<'_>) -> Result<(), BoxError>;

    /// The socket has failed like this: the error of the content.
    fn fails(&mut self, error: std::io::Error) -> BoxError {
        error.into()
    }
}

/// A piece of a content that is made of several: see [`Body::pieces`].
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// A part of an open file.
    File(SharedFile, Range<u64>),
}

impl Piece {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, range) => range.end.saturating_sub(range.start),
        }
    }
}

/// Why content could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than allowed.
    #[error("the content is longer than {0} bytes")]
    TooLarge(u64),
    /// It is not what its framing says.
    #[error("the content is malformed: {0}")]
    Malformed(#[from] hemi_proto::http1::BodyError),
    /// It is not in the coding that it is said to be in.
    #[error(transparent)]
    Coding(BoxError),
    /// The client went away before the end, or was too slow.
    #[error("the content ended before its end")]
    Cut,
    /// The file became shorter, or can't be read.
    #[error("the file can't be read: {0}")]
    File(#[from] std::io::Error),
    /// What a user's stream gave.
    #[error(transparent)]
    Other(BoxError),
}

impl BodyError {
    /// What a stream gave, which may be made of another body.
    fn from_box(error: BoxError) -> Self {
        error.downcast().map_or_else(Self::Other, |error| *error)
    }
}

impl BodyError {
    /// The status that answers it: 413 or 400; 500 if it is not the client's fault.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed(_) | Self::Coding(_) | Self::Cut => StatusCode::BAD_REQUEST,
            Self::File(_) | Self::Other(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Body {
    /// No content.
    #[must_use]
    pub fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// A part of an open file, sent without passing through memory where the connection allows it.
    #[must_use]
    pub fn file(file: impl Into<SharedFile>, range: Range<u64>) -> Self {
        Self(Inner::File(file.into(), range))
    }

    /// Pieces one after the other, files among them sent as by [`Body::file`].
    #[must_use]
    pub fn pieces(pieces: Vec<Piece>) -> Self {
        Self(Inner::Pieces(pieces.into()))
    }

    /// What a stream gives, trailers included.
    pub fn stream<B>(stream: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Inner::Stream(Box::new(Boxed(Box::pin(stream)))))
    }

    /// What another server sends.
    pub fn passed_on(content: impl Passed + 'static) -> Self {
        Self(Inner::Passed(Box::new(content)))
    }

    /// The same, if that is what it is.
    pub(crate) fn as_passed(&mut self) -> Option<&mut dyn Passed> {
        match &mut self.0 {
            Inner::Passed(content) => Some(&mut **content),
            _ => None,
        }
    }

    /// Drops what is there.
    pub(crate) fn clear(&mut self) {
        if !matches!(self.0, Inner::Empty) {
            self.0 = Inner::Empty;
        }
    }

    pub(crate) fn incoming(incoming: Incoming) -> Self {
        Self(Inner::Incoming(incoming))
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self(inner)
    }

    pub(crate) fn into_inner(self) -> Inner {
        self.0
    }

    /// The same for who has to have files in memory: those that are there already are bytes.
    pub(crate) fn into_loaded(self) -> Inner {
        match self.0 {
            Inner::File(file, range) => match file.in_memory(&range) {
                Some(bytes) => Inner::Bytes(bytes),
                None => Inner::File(file, range),
            },
            other => other,
        }
    }

    /// Leaves it to the reader how much comes of a request's content and how fast: neither the webapp's
    /// `maxBodySize` nor the server's `bodyTimeout` and `minRate` hold for it from now on. For protocols within HTTP
    /// whose streams may go on for days, and that have limits of their own.
    pub fn lift_limits(&mut self) {
        if let Inner::Incoming(incoming) = &self.0 {
            incoming.lift_limits();
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Its bytes, if their number is known.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        match &self.0 {
            Inner::Empty => Some(0),
            Inner::Bytes(bytes) => Some(bytes.len() as u64),
            Inner::File(_, range) => Some(range.end.saturating_sub(range.start)),
            Inner::Pieces(pieces) => Some(pieces.iter().map(Piece::len).sum()),
            Inner::Incoming(incoming) => incoming.len(),
            Inner::Passed(content) => content.size_hint().exact(),
            Inner::Stream(stream) => stream.size_hint().exact(),
        }
    }

    /// All its bytes, if they are in memory already.
    #[must_use]
    pub fn in_memory(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The next piece; none after the last.
    ///
    /// # Errors
    /// When the rest can't be had.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(e) => return Some(Err(e)),
            }
        }
    }

    /// All of it in one piece.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] as soon as it is known to be longer than `limit` bytes.
    pub async fn bytes(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        if self.len().is_some_and(|len| len > limit) {
            return Err(BodyError::TooLarge(limit));
        }
        let Some(first) = self.chunk().await.transpose()? else { return Ok(Bytes::new()) };
        let mut all = BytesMut::new();
        let mut last = first;
        while let Some(next) = self.chunk().await.transpose()? {
            all.extend_from_slice(&last);
            last = next;
            if (all.len() + last.len()) as u64 > limit {
                return Err(BodyError::TooLarge(limit));
            }
        }
        if last.len() as u64 > limit {
            return Err(BodyError::TooLarge(limit));
        }
        if all.is_empty() {
            return Ok(last);
        }
        all.extend_from_slice(&last);
        Ok(all.freeze())
    }
}

/// Bytes read from a file in one go, where it has to pass through memory.
const FILE_PIECE: u64 = 64 << 10;

/// Reads the next bytes of a part of a file, which is not empty.
fn read_piece(file: &File, range: &mut Range<u64>) -> Result<Bytes, BodyError> {
    let most = (range.end - range.start).min(FILE_PIECE) as usize;
    let mut piece = Vec::with_capacity(most);
    let read = rustix::io::pread(file, spare_capacity(&mut piece), range.start);
    let read = read.map_err(std::io::Error::from)?;
    if read == 0 {
        return Err(BodyError::Cut);
    }
    range.start += read as u64;
    Ok(piece.into())
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Bytes(_) => {
                let Inner::Bytes(bytes) = std::mem::take(&mut self.0) else {
                    return Poll::Ready(None);
                };
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Inner::File(_, range) if range.is_empty() => Poll::Ready(None),
            Inner::File(file, range) => Poll::Ready(Some(read_piece(file, range).map(Frame::data))),
            Inner::Pieces(pieces) => loop {
                match pieces.front_mut() {
                    None => return Poll::Ready(None),
                    Some(Piece::File(file, range)) if !range.is_empty() => {
                        return Poll::Ready(Some(read_piece(file, range).map(Frame::data)));
                    }
                    Some(_) => {}
                }
                if let Some(Piece::Bytes(bytes)) = pieces.pop_front()
                    && !bytes.is_empty()
                {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            },
            Inner::Incoming(incoming) => incoming.poll_frame(cx),
            Inner::Passed(content) => Pin::new(content).poll_frame(cx).map_err(BodyError::from_box),
            Inner::Stream(stream) => Pin::new(stream).poll_frame(cx).map_err(BodyError::from_box),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Passed(content) => content.is_end_stream(),
            Inner::Stream(stream) => stream.is_end_stream(),
            _ => self.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.0, self.len()) {
            (_, Some(len)) => SizeHint::with_exact(len),
            (Inner::Stream(stream), None) => stream.size_hint(),
            (_, None) => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("len", &self.len()).finish()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Bytes(bytes))
    }
}

impl From<Piece> for Body {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Bytes(bytes) => bytes.into(),
            Piece::File(file, range) => Self::file(file, range),
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

/// A user's stream with its error boxed.
struct Boxed<B>(Pin<Box<B>>);

impl<B> HttpBody for Boxed<B>
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
        self.0.as_mut().poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
