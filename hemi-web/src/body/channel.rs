//! Content that a task makes piece by piece, no faster than it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;

use super::{Body, BodyError, BoxError};

/// Puts pieces into the content of a message: see [`Body::channel`].
#[derive(Clone, Debug)]
pub struct BodySender {
    pieces: mpsc::Sender<Result<Frame<Bytes>, BoxError>>,
    whole: Arc<AtomicBool>,
}

/// Nobody reads the content any more: the client is gone, or the server has drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the content any more")]
pub struct Unread;

/// The reading end.
struct Channel {
    pieces: mpsc::Receiver<Result<Frame<Bytes>, BoxError>>,
    whole: Arc<AtomicBool>,
}

impl Body {
    /// Content that is put in piece by piece, of which up to `bound` wait to be sent.
    ///
    /// It has its end when [`BodySender::finish`] says so: if all senders are dropped without, the content
    /// breaks off, and the client notices.
    ///
    /// ```
    /// use hemi_web::testing::Client;
    /// use hemi_web::{Body, Mapper};
    ///
    /// async fn count() -> Body {
    ///     let (sender, body) = Body::channel(4);
    ///     tokio::spawn(async move {
    ///         for number in 0..1000 {
    ///             // Fails when the client is gone.
    ///             sender.send(format!("{number}\n")).await?;
    ///         }
    ///         sender.finish();
    ///         Ok::<_, hemi_web::Unread>(())
    ///     });
    ///     body
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let client = Client::of(Mapper::new().get("/", count));
    /// assert!(client.get("/").send().await.text().ends_with("998\n999\n"));
    /// # }
    /// ```
    ///
    /// # Panics
    /// When the bound is 0.
    #[must_use]
    pub fn channel(bound: usize) -> (BodySender, Self) {
        let (sender, pieces) = mpsc::channel(bound);
        let whole = Arc::new(AtomicBool::new(false));
        let body = Self::stream(Channel { pieces, whole: whole.clone() });
        (BodySender { pieces: sender, whole }, body)
    }
}

impl BodySender {
    /// Puts in a piece, when there is room.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Unread> {
        self.put(Ok(Frame::data(piece.into()))).await
    }

    /// Says that the content is whole.
    pub fn finish(self) {
        self.whole.store(true, Ordering::Release);
    }

    /// The same, with trailers.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub async fn finish_with(self, trailers: HeaderMap) -> Result<(), Unread> {
        self.put(Ok(Frame::trailers(trailers))).await?;
        self.finish();
        Ok(())
    }

    /// Breaks the content off, for the reader to be told why.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub async fn abort(self, why: impl Into<BoxError>) -> Result<(), Unread> {
        self.put(Err(why.into())).await
    }

    /// Is over when nobody reads any more.
    pub async fn unread(&self) {
        self.pieces.closed().await;
    }

    async fn put(&self, piece: Result<Frame<Bytes>, BoxError>) -> Result<(), Unread> {
        self.pieces.send(piece).await.map_err(|_| Unread)
    }
}

impl HttpBody for Channel {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match ready!(self.pieces.poll_recv(cx)) {
            None if !self.whole.swap(true, Ordering::Acquire) => Some(Err(BodyError::Cut.into())),
            piece => piece,
        })
    }
}
