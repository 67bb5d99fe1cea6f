//! The content of a request on its way to a node.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use hemi_core::quic::quinn::SendStream;
use hemi_proto::http3::{Code, put_data_head};
use hemi_web::{Body, BodyError};
use http_body::{Body as HttpBody, Frame};

use super::head::put_trailers;

/// What a request is sent by. A request that is not sent whole is cancelled.
pub(super) struct Upload {
    stream: SendStream,
    body: Body,
    /// Bytes that are still to come, if that is known.
    left: Option<u64>,
    /// Frames, or parts of them, that wait for the node: a few.
    waiting: VecDeque<Bytes>,
    /// What follows the head is no content: it is put by a tunnel.
    open: bool,
    begun: bool,
    ended: bool,
}

/// How far a request was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// As far as the client has; who has a deadline of his own.
    AllThereIs,
    /// As far as the node takes it; and whether it has taken something.
    AllThereIsRoomFor {
        some: bool,
    },
}

impl Upload {
    /// A request with this head.
    pub(super) fn new(stream: SendStream, head: BytesMut, body: Body) -> Self {
        let left = body.len();
        let waiting = VecDeque::from([head.freeze()]);
        Self { stream, body, left, waiting, open: false, begun: false, ended: false }
    }

    /// A request that asks to leave HTTP.
    pub(super) fn open(stream: SendStream, head: BytesMut) -> Self {
        let mut upload = Self::new(stream, head, Body::empty());
        upload.open = true;
        upload
    }

    /// The content, if nothing of it was taken.
    pub(super) fn untouched(&mut self) -> Option<Body> {
        (!self.begun).then(|| std::mem::take(&mut self.body))
    }

    /// Takes bytes of a tunnel, to be sent.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let mut frame = BytesMut::with_capacity(bytes.len() + 8);
        put_data_head(bytes.len() as u64, &mut frame);
        frame.extend_from_slice(bytes);
        self.waiting.push_back(frame.freeze());
    }

    /// Nothing follows in the tunnel.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// Whether the node takes no more.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// Sends what there is, as far as there is room.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<Sent, BodyError> {
        let mut some = false;
        while !self.ended {
            if let Some(piece) = self.waiting.front_mut() {
                match Pin::new(&mut self.stream).poll_write(cx, piece) {
                    Poll::Ready(Ok(written)) => {
                        some = true;
                        piece.advance(written);
                        if piece.is_empty() {
                            self.waiting.pop_front();
                        }
                    }
                    // It may have answered before it lost interest, or the connection.
                    Poll::Ready(Err(_)) => self.ended = true,
                    Poll::Pending => return Ok(Sent::AllThereIsRoomFor { some }),
                }
                continue;
            }
            if self.open {
                return Ok(Sent::All);
            }
            let frame = match self.left {
                Some(0) => None,
                _ => match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(frame) => frame.transpose()?,
                    Poll::Pending => return Ok(Sent::AllThereIs),
                },
            };
            self.begun |= frame.is_some();
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    if let Some(left) = &mut self.left {
                        // Whoever made the body has said how long it is.
                        *left = left.checked_sub(data.len() as u64).ok_or(BodyError::Cut)?;
                    }
                    if !data.is_empty() {
                        let mut head = BytesMut::new();
                        put_data_head(data.len() as u64, &mut head);
                        self.waiting.extend([head.freeze(), data]);
                    }
                }
                Some(Err(trailers)) => {
                    let mut out = BytesMut::new();
                    put_trailers(&trailers.into_trailers().unwrap_or_default(), &mut out);
                    self.waiting.push_back(out.freeze());
                    (self.body, self.left) = (Body::empty(), Some(0));
                }
                None if matches!(self.left, Some(1..)) => return Err(BodyError::Cut),
                None => {
                    self.ended = true;
                    // If it can't be, the node wants no more.
                    let _ = self.stream.finish();
                }
            }
        }
        Ok(Sent::All)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.ended {
            // Else the end of what was sent would pass for that of the request.
            let _ = self.stream.reset(Code::RequestCancelled.value().into());
        }
    }
}
