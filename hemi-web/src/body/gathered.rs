//! Content that is taken as a whole before it goes on: in memory while it is little, else in a file.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::{Body, BodyError, BoxError};
use crate::multipart::MultipartConfig;
use crate::multipart::store::{Content, Store};

/// Where contents are gathered.
#[derive(Clone, Debug)]
pub struct Buffering {
    store: Arc<MultipartConfig>,
    most: u64,
}

impl Buffering {
    /// Up to `memory` bytes in memory, all of a longer one in a file without a name in `dir`, up to `most`.
    #[must_use]
    pub fn new(memory: usize, dir: PathBuf, most: u64) -> Self {
        let store = MultipartConfig { memory_size: memory, dir, ..MultipartConfig::default() };
        Self { store: Arc::new(store), most }
    }
}

impl Body {
    /// The same content, all of which is there; of one that is too long the rest still comes.
    ///
    /// # Errors
    /// When it breaks off, or a file can't be written.
    pub async fn gathered(mut self, how: &Buffering) -> Result<Self, BodyError> {
        if self.is_empty() || self.in_memory().is_some() {
            return Ok(self);
        }
        let (mut store, mut len, mut trailers) = (Store::new(how.store.clone()), 0, None);
        let mut ended = false;
        while len < how.most && !ended {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await;
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => {
                    store.write(&data).await?;
                    len += data.len() as u64;
                }
                Some(Err(frame)) => trailers = frame.into_trailers().ok(),
                None => ended = true,
            }
        }
        let start = match store.finish().await? {
            Content::Memory(bytes) => Self::from(bytes),
            Content::File(file) => Self::file(file.into_file(), 0..len),
        };
        if ended && trailers.is_none() {
            return Ok(start);
        }
        let rest = if ended { Self::empty() } else { self };
        Ok(Self::stream(Resumed { start, rest, trailers }))
    }
}

/// What was gathered, and what still comes.
struct Resumed {
    start: Body,
    rest: Body,
    trailers: Option<HeaderMap>,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        for part in [&mut this.start, &mut this.rest] {
            if let Some(frame) = ready!(Pin::new(part).poll_frame(cx)) {
                return Poll::Ready(Some(frame.map_err(Into::into)));
            }
        }
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}
