//! What a program is given and what it answers, at the same time: each no faster than the other side takes it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hemi_core::BoxFuture;
use hemi_core::io::pool;
use hemi_proto::cgi::{CgiHead, CgiHeadReader};
use hemi_web::{Body, BoxError};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, Sleep, sleep_until};

use super::process::{Failure, Process, Running};
use crate::backends::cgi::{CGI_HEADS, Content};

/// The answer of a program that runs.
pub(super) struct Output {
    stdout: pipe::Receiver,
    /// Gives the program the request's content.
    feed: Option<BoxFuture<'static, ()>>,
    /// What has come and was not taken.
    buf: BytesMut,
    content: Content,
    timer: Pin<Box<Sleep>>,
    /// None once the answer is over.
    process: Option<Process>,
}

impl Output {
    /// Waits for the head of the answer.
    pub(super) async fn begin(
        running: Running,
        method: &Method,
        body: Body,
        deadline: Instant,
    ) -> Result<(Self, CgiHead), Failure> {
        let Running { process, stdin, stdout } = running;
        let mut output = Self {
            stdout,
            feed: Some(Box::pin(feed(stdin, body))),
            buf: BytesMut::new(),
            content: Content::of(method),
            timer: Box::pin(sleep_until(deadline)),
            process: Some(process),
        };
        let malformed = |why: String| Failure::of(StatusCode::BAD_GATEWAY, why);
        let mut heads = CgiHeadReader::default();
        loop {
            match poll_fn(|cx| output.poll_more(cx)).await {
                Ok(0) => return Err(malformed("the program has ended without an answer".into())),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::TimedOut => return Err(Failure::late()),
                Err(e) => return Err(malformed(format!("the answer can't be read: {e}"))),
            }
            let head = heads.read(&mut output.buf, &CGI_HEADS);
            let head = head.map_err(|e| malformed(format!("the answer is malformed: {e}")))?;
            if let Some(head) = head {
                return Ok((output, head));
            }
        }
    }

    pub(super) fn announced(&mut self, head: &CgiHead) {
        self.content.announced(head);
    }

    /// The content of the answer; of this length, if that was said.
    pub(super) fn into_body(self, length: Option<u64>) -> Body {
        if self.content.is_whole() {
            self.finish();
            return Body::empty();
        }
        Body::stream(Answer { left: length, output: Some(self) })
    }

    /// Reads more of the answer, and gives more of the request meanwhile; 0 at its end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.feed.as_mut().is_some_and(|feed| feed.as_mut().poll(cx).is_ready()) {
            self.feed = None;
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.buf.reserve(pool::BUFFER);
        tokio_util::io::poll_read_buf(Pin::new(&mut self.stdout), cx, &mut self.buf)
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BoxError>> {
        loop {
            let piece = self.content.take(self.buf.split().freeze());
            if !piece.is_empty() {
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.content.is_whole() {
                return Poll::Ready(Ok(None));
            }
            if ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(self.content.end().map(|()| None));
            }
        }
    }

    /// The answer is over; the program need not be.
    fn finish(mut self) {
        if let Some(process) = self.process.take() {
            process.finish(self.timer.deadline());
        }
    }
}

/// Gives a program the content of the request, as long as it takes it.
async fn feed(mut stdin: pipe::Sender, mut body: Body) {
    while let Some(Ok(piece)) = body.chunk().await {
        if stdin.write_all(&piece).await.is_err() {
            return;
        }
    }
}

/// The content of an answer.
struct Answer {
    left: Option<u64>,
    output: Option<Output>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(output) = &mut this.output else { return Poll::Ready(None) };
        let piece = ready!(output.poll_content(cx));
        match piece {
            Ok(Some(piece)) => {
                if let Some(left) = &mut this.left {
                    *left -= piece.len() as u64;
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Ok(None) => {
                if let Some(output) = this.output.take() {
                    output.finish();
                }
                Poll::Ready(None)
            }
            Err(e) => {
                // Killed.
                this.output = None;
                Poll::Ready(Some(Err(e)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.output.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
