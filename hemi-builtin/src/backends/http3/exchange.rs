//! One request and its answer, on a stream of a connection to a node.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hemi_core::backend::Pick;
use hemi_core::clock;
use hemi_core::deadline::Patience;
use hemi_core::io::{Foreign, relay};
use hemi_core::quic::quinn::{ReadError, RecvStream};
use hemi_proto::http3::{Code, Fault, Part, RequestStream};
use hemi_proto::message::ResponseFields;
use hemi_web::{Body, BoxError, Interim, Outgoing, Response, SendError, Undelivered, Upgraded};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::io::poll_read_buf;

use super::Shared;
use super::conns::Conn;
use super::head::{Bad, put_head, read_head, read_trailers};
use super::tunnel::Tunnel;
use super::upload::{Sent, Upload};
use crate::backends::exchange::answered;
use crate::backends::http2::head::switching;
use crate::backends::multiplexed::Lease;
use crate::failover::{broke_off, silent};

/// Answers on the way to the answer, at most.
const INTERIM: usize = 16;

/// Room for what comes next.
const PIECE: usize = 16 << 10;

/// A request that was sent, or its head.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    lease: Lease<Conn>,
    pick: Pick,
    upload: Upload,
    recv: RecvStream,
    reader: RequestStream,
    buf: BytesMut,
    patience: Patience,
    /// The answer is over.
    ended: bool,
}

/// Why there is no answer, and whether nobody can have seen the request.
type Failed = (SendError, bool);

impl Exchange {
    /// Sends a request, and receives the head of the answer.
    pub(super) async fn send(
        shared: Arc<Shared>,
        lease: Lease<Conn>,
        pick: Pick,
        request: &Outgoing<'_>,
        body: Body,
    ) -> Result<Response, Box<Undelivered>> {
        if let Some(why) = cannot_upgrade(request, &lease, &shared).await {
            return Err(Undelivered::unsendable(pick, why));
        }
        let limit = shared.times.write_timeout;
        let opened = match tokio::time::timeout(limit, lease.conn().open()).await {
            Ok(opened) => opened.map_err(SendError::Broken),
            Err(_) => Err(SendError::Timeout { what: "room for a request", limit }),
        };
        let (send, recv) = match opened {
            Ok(streams) => streams,
            Err(error) => {
                lease.distrust();
                return Err(Box::new(Undelivered { error, pick, unseen: true, body: Some(body) }));
            }
        };
        let mut head = BytesMut::new();
        put_head(request, body.len(), &mut head);
        let this = Self {
            shared,
            lease,
            pick,
            upload: match request.upgrade {
                Some(_) => Upload::open(send, head),
                None => Upload::new(send, head, body),
            },
            recv,
            reader: RequestStream::default(),
            buf: BytesMut::new(),
            patience: Patience::default(),
            ended: false,
        };
        this.receive(request).await
    }

    async fn receive(mut self, request: &Outgoing<'_>) -> Result<Response, Box<Undelivered>> {
        let (began, mut interim) = (clock::exact(), 0);
        let head = poll_fn(|cx| self.poll_head(cx, &mut interim, request.hints)).await;
        let head = match head {
            Ok(head) => head,
            Err((error, unseen)) => {
                if matches!(error, SendError::Timeout { .. }) {
                    self.lease.distrust();
                }
                let body = self.upload.untouched();
                let pick = self.pick.twin();
                return Err(Box::new(Undelivered { error, pick, unseen, body }));
            }
        };
        answered(&self.pick, head.status, began);
        self.patience.renew();
        let ResponseFields { status, fields, length } = head;
        if request.upgrade.is_some() {
            if status == StatusCode::OK {
                let (status, fields) = switching(fields, request);
                return Ok(self.into_tunnel(Response::passed_on(status, fields)));
            }
            // What was for the tunnel has nowhere to go.
            self.upload.close();
        }
        let none = *request.method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let left = if none { Some(0) } else { length };
        if let Some(left) = left {
            self.reader.promise(left);
        }
        let response = Response::passed_on(status, fields.into());
        if left == Some(0) {
            return Ok(response);
        }
        Ok(response.with_body(Body::stream(Answer { exchange: Some(self), left })))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        interim: &mut usize,
        hints: Option<&Interim>,
    ) -> Poll<Result<ResponseFields, Failed>> {
        let malformed = |why: BoxError| (SendError::Malformed(why), false);
        let sent = self.upload.poll(cx).map_err(|e| (SendError::Content(e), false))?;
        loop {
            let limits = &self.shared.heads;
            match self.reader.read(&mut self.buf, limits.head_size) {
                Ok(Some(Part::Head(section))) => {
                    let head =
                        read_head(&section, limits).map_err(|bad| malformed(self.bad(bad)))?;
                    if !head.status.is_informational() {
                        return Poll::Ready(Ok(head));
                    }
                    *interim += 1;
                    if *interim > INTERIM || head.status == StatusCode::SWITCHING_PROTOCOLS {
                        let why = "answers on the way to the answer that should not be there";
                        return Poll::Ready(Err(malformed(why.into())));
                    }
                    if head.status == StatusCode::EARLY_HINTS {
                        _ = hints.map(|hints| hints.push(head.fields));
                    }
                    self.reader.await_head();
                    continue;
                }
                Ok(Some(_)) => return Poll::Ready(Err(malformed("its head is too large".into()))),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(malformed(self.fault(fault)))),
            }
            match self.poll_more(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err((SendError::Closed, false))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => {
                    let rejected = Code::RequestRejected.value().into();
                    let unseen = matches!(&e, ReadError::Reset(code) if *code == rejected);
                    return Poll::Ready(Err((SendError::Broken(e.into()), unseen)));
                }
                Poll::Pending => return self.wait_for_head(cx, sent),
            }
        }
    }

    fn wait_for_head(
        &mut self,
        cx: &mut Context<'_>,
        sent: Sent,
    ) -> Poll<Result<ResponseFields, Failed>> {
        let times = &self.shared.times;
        let (what, limit) = match sent {
            Sent::All => ("answer", times.answer_timeout),
            Sent::AllThereIs => {
                self.patience.renew();
                return Poll::Pending;
            }
            Sent::AllThereIsRoomFor { some } => {
                if some {
                    self.patience.renew();
                }
                ("room for the request", times.write_timeout)
            }
        };
        match self.patience.is_over(cx, limit) {
            true => Poll::Ready(Err((SendError::Timeout { what, limit }, false))),
            false => Poll::Pending,
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ReadError>> {
        self.buf.reserve(PIECE);
        let read = poll_read_buf(Pin::new(&mut self.recv), cx, &mut self.buf);
        read.map_err(|e| e.downcast().unwrap_or(ReadError::ClosedStream))
    }

    /// The next frame of the content.
    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BoxError>> {
        // Whether the node takes the rest of the request is its business now.
        self.upload.poll(cx)?;
        loop {
            match self.reader.read(&mut self.buf, 0) {
                Ok(Some(Part::Data(data))) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Ok(Some(Part::Trailers(section))) => {
                    let trailers = read_trailers(&section).map_err(|bad| self.bad(bad))?;
                    return Poll::Ready(Ok(Some(Frame::trailers(trailers))));
                }
                Ok(Some(_)) => return Poll::Ready(Err("a second head".into())),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(self.fault(fault))),
            }
            match self.poll_more(cx) {
                Poll::Ready(Ok(0)) => {
                    let ended = self.reader.end(&self.buf);
                    self.ended = true;
                    return Poll::Ready(ended.map(|()| None).map_err(|fault| self.fault(fault)));
                }
                Poll::Ready(Ok(_)) => self.patience.renew(),
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e.into())),
                Poll::Pending => {
                    return match self.patience.is_over(cx, self.shared.times.read_timeout) {
                        true => Poll::Ready(Err(silent(self.shared.times.read_timeout))),
                        false => Poll::Pending,
                    };
                }
            }
        }
    }

    /// A 101 after which both sides go on in another protocol.
    fn into_tunnel(mut self, response: Response) -> Response {
        self.reader.tunnel();
        let idle = self.shared.tunnel_timeout;
        response.go_on(move |mut client: Upgraded| {
            Box::pin(async move {
                let mut node = Foreign(Tunnel::new(self));
                // However it ends, both do.
                let _ = relay(&mut node, &mut client, Bytes::new(), idle).await;
            })
        })
    }

    /// The next bytes of a tunnel; none at its end.
    pub(super) fn poll_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let broken = |why: BoxError| io::Error::new(io::ErrorKind::InvalidData, why);
        loop {
            match self.reader.read(&mut self.buf, 0) {
                Ok(Some(Part::Data(data))) => return Poll::Ready(Ok(Some(data))),
                Ok(Some(_)) => return Poll::Ready(Err(broken("a head in a tunnel".into()))),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(broken(self.fault(fault)))),
            }
            if ready!(self.poll_more(cx))? == 0 {
                let ended = self.reader.end(&self.buf);
                self.ended = true;
                return Poll::Ready(ended.map(|()| None).map_err(|f| broken(self.fault(f))));
            }
        }
    }

    pub(super) fn upload(&mut self) -> &mut Upload {
        &mut self.upload
    }

    fn bad(&self, bad: Bad) -> BoxError {
        match bad {
            Bad::Connection(code) => self.fault(Fault::Connection(code)),
            Bad::Message(e) => e,
        }
    }

    /// What the node does wrong may end the connection.
    fn fault(&self, fault: Fault) -> BoxError {
        match fault {
            Fault::Connection(code) => {
                self.lease.distrust();
                self.lease.conn().fail(code);
                code.into()
            }
            Fault::Stream(code) => code.into(),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.recv.stop(Code::RequestCancelled.value().into());
        }
    }
}

/// Why a request to leave HTTP can't be sent; none if it can, or is none.
async fn cannot_upgrade(
    request: &Outgoing<'_>,
    lease: &Lease<Conn>,
    shared: &Shared,
) -> Option<&'static str> {
    if !request.upgrade?.eq_ignore_ascii_case(b"websocket") {
        return Some("HTTP/3 can't be left for this protocol");
    }
    // Before they have come nobody knows (RFC 9220, 3).
    let settings = lease.conn().settings();
    match tokio::time::timeout(shared.times.answer_timeout, settings).await {
        Ok(settings) if settings.enable_connect_protocol => None,
        _ => Some("the node takes no WebSockets over HTTP/3"),
    }
}

/// The content of an answer.
struct Answer {
    exchange: Option<Exchange>,
    /// Bytes still to come, if that was told.
    left: Option<u64>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(exchange) = &mut this.exchange else { return Poll::Ready(None) };
        let Poll::Ready(frame) = exchange.poll_content(cx) else { return Poll::Pending };
        match &frame {
            Ok(Some(frame)) => {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.left = this.left.map(|left| left.saturating_sub(len));
            }
            Ok(None) => this.exchange = None,
            Err(e) => {
                broke_off(&exchange.pick, e);
                this.exchange = None;
            }
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
