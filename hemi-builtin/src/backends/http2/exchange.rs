//! One request and its answer, on a stream of a connection to a node.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use hemi_core::backend::Pick;
use hemi_core::clock;
use hemi_core::deadline::Patience;
use hemi_core::io::{Foreign, relay};
use hemi_web::{
    Body, BodyError, BoxError, Interim, Outgoing, Response, SendError, Undelivered, Upgraded,
};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Shared;
use super::head::{head_of, switching};
use super::tunnel::Tunnel;
use crate::backends::exchange::answered;
use crate::backends::multiplexed::Lease;
use crate::failover::{broke_off, silent};

/// Answers on the way to the answer, at most.
const INTERIM: usize = 16;

/// Bytes of a request that wait for a node's window at once, at most.
const PIECE: usize = 64 << 10;

/// A request that was sent, or its head.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    lease: Lease<SendRequest<Bytes>>,
    pick: Pick,
    upload: Upload,
    patience: Patience,
}

/// The content of a request on its way.
struct Upload {
    stream: SendStream<Bytes>,
    body: Body,
    /// Bytes that are still to come, if that is known.
    left: Option<u64>,
    /// Was taken of the body, and waits for the node.
    piece: Bytes,
    begun: bool,
    ended: bool,
}

/// How far a request was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    All,
    /// As far as the client has; who has a deadline of his own.
    AllThereIs,
    /// As far as the node takes it.
    AllThereIsRoomFor,
}

impl Exchange {
    /// Sends a request, and receives the head of the answer.
    pub(super) async fn send(
        shared: Arc<Shared>,
        lease: Lease<SendRequest<Bytes>>,
        pick: Pick,
        request: &Outgoing<'_>,
        body: Body,
    ) -> Result<Response, Box<Undelivered>> {
        let unseen = |error, pick, body| {
            Err(Box::new(Undelivered { error, pick, unseen: true, body: Some(body) }))
        };
        let left = body.len();
        let head = match head_of(request, left) {
            Ok(head) => head,
            Err(why) => return unseen(SendError::Unsendable(why), pick, body),
        };
        let tunnels = request.upgrade.is_some();
        let ready = lease.conn().clone().ready();
        let limit = shared.times.answer_timeout;
        let mut sender = match tokio::time::timeout(limit, ready).await {
            Ok(Ok(sender)) => sender,
            Ok(Err(e)) => {
                lease.distrust();
                return unseen(SendError::Broken(io::Error::other(e)), pick, body);
            }
            Err(_) => {
                lease.distrust();
                return unseen(
                    SendError::Timeout { what: "room for a request", limit },
                    pick,
                    body,
                );
            }
        };
        if tunnels && !sender.is_extended_connect_protocol_enabled() {
            let why = "the node takes no WebSockets over HTTP/2";
            return unseen(SendError::Unsendable(why), pick, body);
        }
        let ended = left == Some(0) && !tunnels;
        let (answer, stream) = match sender.send_request(head, ended) {
            Ok(sent) => sent,
            Err(e) => {
                lease.distrust();
                return unseen(SendError::Broken(io::Error::other(e)), pick, body);
            }
        };
        drop(sender);
        let piece = Bytes::new();
        // What a tunnel carries is no content.
        let ended = ended || tunnels;
        let upload = Upload { stream, body, left, piece, begun: false, ended };
        let this = Self { shared, lease, pick, upload, patience: Patience::default() };
        this.receive(answer, request).await
    }

    async fn receive(
        mut self,
        mut answer: ResponseFuture,
        request: &Outgoing<'_>,
    ) -> Result<Response, Box<Undelivered>> {
        let (began, mut interim) = (clock::exact(), 0);
        let head = poll_fn(|cx| self.poll_head(cx, &mut answer, &mut interim, request.hints)).await;
        let head = match head {
            Ok(head) => head,
            Err((error, unseen)) => {
                if matches!(error, SendError::Timeout { .. }) {
                    self.lease.distrust();
                }
                let upload = &mut self.upload;
                let body = (!upload.begun).then(|| std::mem::take(&mut upload.body));
                return Err(Box::new(Undelivered { error, pick: self.pick, unseen, body }));
            }
        };
        answered(&self.pick, head.status(), began);
        self.patience.renew();
        let (parts, content) = head.into_parts();
        if request.upgrade.is_some() && parts.status == StatusCode::OK {
            let (status, fields) = switching(parts.headers, request);
            return Ok(self.into_tunnel(Response::passed_on(status, fields), content));
        }
        let left = length(&parts.headers);
        let response = Response::passed_on(parts.status, parts.headers.into());
        if content.is_end_stream() {
            return Ok(response);
        }
        Ok(response.with_body(Body::stream(Answer { exchange: Some(self), content, left })))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        answer: &mut ResponseFuture,
        interim: &mut usize,
        hints: Option<&Interim>,
    ) -> Poll<Result<http::Response<RecvStream>, (SendError, bool)>> {
        let sent = match self.upload.poll(cx) {
            Ok(sent) => sent,
            Err(e) => return Poll::Ready(Err((SendError::Content(e), false))),
        };
        while let Poll::Ready(Some(Ok(early))) = answer.poll_informational(cx) {
            *interim += 1;
            if *interim > INTERIM {
                let why = "too many answers on the way to the answer";
                return Poll::Ready(Err((SendError::Malformed(why.into()), false)));
            }
            if early.status() == StatusCode::EARLY_HINTS {
                _ = hints.map(|hints| hints.push(early.into_parts().0.headers));
            }
        }
        match Pin::new(answer).poll(cx) {
            Poll::Ready(Ok(head)) => Poll::Ready(Ok(head)),
            Poll::Ready(Err(e)) => {
                // The node says that it has not looked at it (RFC 9113, 8.7).
                let refused = e.reason() == Some(Reason::REFUSED_STREAM) || e.is_go_away();
                let unseen = refused && e.is_remote();
                let error = match e.is_reset() && e.is_library() {
                    true => SendError::Malformed(e.into()),
                    false => SendError::Broken(io::Error::other(e)),
                };
                Poll::Ready(Err((error, unseen)))
            }
            Poll::Pending => {
                let times = &self.shared.times;
                let (what, limit) = match sent {
                    Sent::All => ("answer", times.answer_timeout),
                    Sent::AllThereIsRoomFor => ("room for the request", times.write_timeout),
                    Sent::AllThereIs => return Poll::Pending,
                };
                match self.patience.is_over(cx, limit) {
                    true => Poll::Ready(Err((SendError::Timeout { what, limit }, false))),
                    false => Poll::Pending,
                }
            }
        }
    }

    /// A 101 after which both sides go on in another protocol.
    fn into_tunnel(self, response: Response, content: RecvStream) -> Response {
        let Self { shared, lease, pick, upload, .. } = self;
        let idle = shared.tunnel_timeout;
        response.go_on(move |mut client: Upgraded| {
            Box::pin(async move {
                let mut node = Foreign(Tunnel::new(upload.stream, content));
                // However it ends, both do.
                let _ = relay(&mut node, &mut client, Bytes::new(), idle).await;
                drop((lease, pick));
            })
        })
    }
}

impl Upload {
    /// Sends what there is, as far as there is room.
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<Sent, BodyError> {
        while !self.ended {
            if !self.piece.is_empty() {
                match self.poll_piece(cx) {
                    Poll::Ready(Ok(())) => {}
                    // It may have answered before it lost interest.
                    Poll::Ready(Err(_)) => self.ended = true,
                    Poll::Pending => return Ok(Sent::AllThereIsRoomFor),
                }
                continue;
            }
            let frame = match self.left {
                Some(0) => None,
                _ => match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(frame) => {
                        let frame = frame.transpose();
                        frame.inspect_err(|_| self.stream.send_reset(Reason::CANCEL))?
                    }
                    Poll::Pending => {
                        // The node may say meanwhile that it wants no more.
                        self.ended = self.stream.poll_reset(cx).is_ready();
                        return Ok(if self.ended { Sent::All } else { Sent::AllThereIs });
                    }
                },
            };
            self.begun |= frame.is_some();
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    if let Some(left) = &mut self.left {
                        // Whoever made the body has said how long it is.
                        *left = left.checked_sub(data.len() as u64).ok_or(BodyError::Cut)?;
                    }
                    self.piece = data;
                }
                Some(Err(trailers)) => {
                    self.ended = true;
                    let trailers = trailers.into_trailers().unwrap_or_default();
                    let _ = self.stream.send_trailers(trailers);
                }
                None if matches!(self.left, Some(1..)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Err(BodyError::Cut);
                }
                None => {
                    self.ended = true;
                    let _ = self.stream.send_data(Bytes::new(), true);
                }
            }
        }
        Ok(Sent::All)
    }

    /// Sends as much of a piece as the node has room for, when it has some.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.stream.reserve_capacity(self.piece.len().min(PIECE));
        if self.stream.capacity() == 0 {
            ready!(self.stream.poll_capacity(cx)).transpose()?.ok_or("the stream is closed")?;
        }
        let room = self.stream.capacity().min(self.piece.len());
        let part = self.piece.split_to(room);
        let last = self.piece.is_empty() && self.left == Some(0);
        if !part.is_empty() {
            self.stream.send_data(part, last)?;
            self.ended |= last;
        }
        Poll::Ready(Ok(()))
    }
}

/// The content of an answer.
struct Answer {
    exchange: Option<Exchange>,
    content: RecvStream,
    /// Bytes still to come, if that was told.
    left: Option<u64>,
}

impl Answer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BoxError>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(Ok(None)) };
        // Whether the node takes the rest of the request is its business now.
        exchange.upload.poll(cx)?;
        let frame = match self.content.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => {
                self.content.flow_control().release_capacity(data.len())?;
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Some(Frame::data(data))
            }
            Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(e.into())),
            Poll::Ready(None) => match self.content.poll_trailers(cx) {
                Poll::Ready(trailers) => trailers?.map(Frame::trailers),
                Poll::Pending => return exchange.wait(cx),
            },
            Poll::Pending => return exchange.wait(cx),
        };
        exchange.patience.renew();
        if frame.as_ref().is_none_or(Frame::is_trailers) {
            self.exchange = None;
        }
        Poll::Ready(Ok(frame))
    }
}

impl Exchange {
    /// The node is waited for: an error, if that takes too long.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, BoxError>> {
        match self.patience.is_over(cx, self.shared.times.read_timeout) {
            true => Poll::Ready(Err(silent(self.shared.times.read_timeout))),
            false => Poll::Pending,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = self.poll(cx) else { return Poll::Pending };
        if let (Err(e), Some(exchange)) = (&frame, self.exchange.take_if(|_| frame.is_err())) {
            broke_off(&exchange.pick, e);
        }
        Poll::Ready(frame.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// How long an answer says that its content is; that it is so the connection sees to.
fn length(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
