//! What is sent for a call, and what comes back.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use http_body::{Body as HttpBody, Frame};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};
use tonic::body::Body as TonicBody;
use tonic::{Code, Status};

use super::conn::Busy;
use super::hrpc::Wanted;
use super::too_late;
use crate::grpc::hrpc::Incoming;

/// A call on its way.
pub(super) struct Asked {
    pub(super) head: http::Request<()>,
    pub(super) content: Content,
    pub(super) until: Option<Instant>,
}

/// The messages of a call.
pub(super) enum Content {
    /// All of them, which were there at once: they can be sent again.
    Whole(Bytes),
    /// What was there at once, and what is to follow.
    Streamed(Bytes, TonicBody),
}

impl Content {
    /// Looks at what is there.
    ///
    /// # Errors
    /// When a message can't be written.
    pub(super) fn of(mut body: TonicBody) -> Result<Self, Status> {
        let mut known = BytesMut::new();
        let mut only = Bytes::new();
        loop {
            // Who is polled again later has a waker then.
            let next = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
            let gathered = || if known.is_empty() { only.clone() } else { known.clone().freeze() };
            match next {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    if known.is_empty() && only.is_empty() {
                        only = piece;
                        continue;
                    }
                    if known.is_empty() {
                        known.extend_from_slice(&only);
                    }
                    known.extend_from_slice(&piece);
                    if known.len() > AT_ONCE {
                        return Ok(Self::Streamed(known.freeze(), body));
                    }
                }
                Poll::Ready(None) => return Ok(Self::Whole(gathered())),
                Poll::Ready(Some(Err(status))) => return Err(status),
                Poll::Pending => return Ok(Self::Streamed(gathered(), body)),
            }
        }
    }
}

/// Bytes of a stream that are looked at before it is sent.
const AT_ONCE: usize = 64 << 10;

/// The task that sends what follows of a request, for as long as somebody waits for its answer.
pub(super) struct Pump(AbortHandle);

impl Pump {
    pub(super) fn start(stream: SendStream<Bytes>, first: Bytes, body: TonicBody) -> Self {
        Self::spawn(pump(stream, first, body))
    }

    pub(super) fn spawn(sending: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(sending).abort_handle())
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends what follows, as fast as it is taken.
async fn pump(mut stream: SendStream<Bytes>, first: Bytes, mut body: TonicBody) {
    let sending = async {
        send(&mut stream, first).await?;
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame {
                Ok(frame) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    send(&mut stream, piece).await?;
                }
                Err(_) => {
                    stream.send_reset(Reason::CANCEL);
                    return Err(());
                }
            }
        }
        stream.send_data(Bytes::new(), true).map_err(drop)
    };
    let _ = sending.await;
}

/// Waits for room in the window, so that nothing is kept but what can go.
async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), ()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = loop {
            let got = poll_fn(|cx| {
                // A server that has answered does not want the rest.
                if let Poll::Ready(reset) = stream.poll_reset(cx) {
                    return Poll::Ready(reset.ok().and(None));
                }
                stream.poll_capacity(cx)
            });
            match got.await {
                Some(Ok(0)) => {}
                Some(Ok(room)) => break room,
                Some(Err(_)) | None => return Err(()),
            }
        };
        let part = bytes.split_to(room.min(bytes.len()));
        stream.send_data(part, false).map_err(drop)?;
    }
    Ok(())
}

/// The content of an answer.
pub struct AnswerBody {
    source: Source,
    _pump: Option<Pump>,
    deadline: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// Where it comes from.
enum Source {
    Http2(RecvStream, #[expect(dead_code, reason = "it counts")] Busy),
    Hrpc(Incoming, #[expect(dead_code, reason = "it gives up")] Wanted),
}

impl AnswerBody {
    pub(super) fn new(
        stream: RecvStream,
        pump: Option<Pump>,
        until: Option<Instant>,
        busy: Busy,
    ) -> Self {
        let whole = stream.is_end_stream();
        let source = Source::Http2(stream, busy);
        Self { source, _pump: pump, deadline: deadline(until.filter(|_| !whole)), ended: false }
    }

    pub(super) fn hrpc(
        incoming: Incoming,
        wanted: Wanted,
        pump: Option<Pump>,
        until: Option<Instant>,
    ) -> Self {
        let source = Source::Hrpc(incoming, wanted);
        Self { source, _pump: pump, deadline: deadline(until), ended: false }
    }
}

fn deadline(until: Option<Instant>) -> Option<Pin<Box<Sleep>>> {
    until.map(|until| Box::pin(tokio::time::sleep_until(until)))
}

impl Source {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        ended: &mut bool,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let stream = match self {
            Self::Http2(stream, _) => stream,
            Self::Hrpc(incoming, _) => {
                let next = ready!(Pin::new(incoming).poll_frame(cx));
                *ended = !matches!(&next, Some(Ok(frame)) if frame.is_data());
                return Poll::Ready(next);
            }
        };
        match stream.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => {
                let _ = stream.flow_control().release_capacity(data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Some(Err(e))) => {
                *ended = true;
                Poll::Ready(Some(Err(status_of(&e))))
            }
            Poll::Ready(None) => {
                let trailers = ready!(stream.poll_trailers(cx));
                *ended = true;
                Poll::Ready(match trailers {
                    Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
                    Err(e) => Some(Err(status_of(&e))),
                })
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let next = this.source.poll_frame(cx, &mut this.ended);
        let Some(deadline) = &mut this.deadline else { return next };
        match &next {
            Poll::Pending => ready!(pin!(deadline).poll(cx)),
            // A server gives a call up at about the same time.
            Poll::Ready(Some(Err(_))) if Instant::now() >= deadline.deadline() => {}
            Poll::Ready(_) => return next,
        }
        this.ended = true;
        Poll::Ready(Some(Err(too_late())))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || matches!(&self.source, Source::Http2(stream, _) if stream.is_end_stream())
    }
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerBody").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// What it means for a call that its stream has failed, by the table of gRPC over HTTP/2.
pub(super) fn status_of(e: &h2::Error) -> Status {
    let code = match e.reason() {
        Some(Reason::CANCEL) => Code::Cancelled,
        Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        Some(Reason::REFUSED_STREAM) => Code::Unavailable,
        Some(_) if e.is_reset() => Code::Internal,
        _ => Code::Unavailable,
    };
    Status::new(code, format!("the connection has failed the call: {e}"))
}
