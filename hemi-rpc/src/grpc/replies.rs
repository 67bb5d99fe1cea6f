//! What a service answers, as its caller wants it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hemi_proto::grpc::{FLAG_COMPRESSED, Frames};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tonic::body::Body as TonicBody;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::called::{Counters, TimeLimit};
use super::coding::Coding;
use super::form::Carrier;
use super::json::Shape;
use super::messages::framed;
use super::{connect, rest};

/// The flag of what would be trailers, for browsers.
const FLAG_TRAILERS: u8 = 0x80;

/// The flag of the frame by which a stream of Connect ends.
const FLAG_END: u8 = 0x02;

/// Metadata that is told after the reply of a method with one: put into the extensions of its `tonic::Response`,
/// which has no other place for it.
#[derive(Clone, Debug)]
pub struct Trailers(pub MetadataMap);

/// The messages of an answer, and what the call has come to.
pub(super) struct Replies {
    answer: TonicBody,
    carrier: Carrier,
    /// There if something is done to each message.
    packing: Option<Packing>,
    /// What is told when all messages are.
    end: Option<HeaderMap>,
    /// What is told with that.
    more: Option<Trailers>,
    time: TimeLimit,
    counters: Arc<Counters>,
    /// A message was carried.
    begun: bool,
    over: bool,
}

/// What is done to messages.
#[derive(Debug)]
pub(super) struct Packing {
    pub(super) coding: Coding,
    /// What is told of them, if they are wanted in JSON.
    pub(super) json: Option<Shape>,
    frames: Frames,
}

impl Packing {
    /// None if nothing is to be done.
    pub(super) fn new(coding: Coding, json: Option<Shape>) -> Option<Self> {
        let plain = coding == Coding::Identity && json.is_none();
        (!plain).then(|| Self { coding, json, frames: Frames::new(u32::MAX as usize) })
    }

    /// The next message, and whether it is compressed.
    fn next(&mut self) -> Result<Option<(bool, Bytes)>, Status> {
        let frame = self.frames.take().map_err(|e| Status::internal(e.to_string()))?;
        let Some(mut message) = frame.map(|frame| frame.message) else { return Ok(None) };
        if let Some(shape) = &self.json {
            message = shape.write(&message)?;
        }
        Ok(Some(match self.coding.compress(&message) {
            Some(packed) => (true, packed),
            None => (false, message),
        }))
    }
}

/// An answer whose head is not sent before all of it is there.
pub(super) struct Whole {
    /// There if there is one and no other; and whether it is compressed.
    pub(super) message: Option<(bool, Bytes)>,
    pub(super) trailers: HeaderMap,
}

impl Replies {
    pub(super) fn new(
        answer: TonicBody,
        carrier: Carrier,
        packing: Option<Packing>,
        more: Option<Trailers>,
        time: TimeLimit,
        counters: Arc<Counters>,
    ) -> Self {
        let (end, begun, over) = (None, false, false);
        Self { answer, carrier, packing, end, more, time, counters, begun, over }
    }

    /// Waits for all of it.
    pub(super) async fn whole(mut self) -> Whole {
        let (coding, json) = self
            .packing
            .take()
            .map_or((Coding::Identity, None), |packing| (packing.coding, packing.json));
        let frames = Frames::new(u32::MAX as usize);
        self.packing = Some(Packing { coding, json, frames });
        let mut message = None;
        loop {
            match poll_fn(|cx| self.poll_part(cx)).await {
                Part::Message(packed, next) => {
                    if message.replace((packed, next)).is_some() {
                        let status = Status::unimplemented("the method answers with a stream");
                        let trailers = self.finish(trailers_of(&status));
                        return Whole { message: None, trailers };
                    }
                }
                Part::Plain(_) => {}
                Part::End(trailers) => {
                    let trailers = self.finish(trailers);
                    return Whole { message, trailers };
                }
            }
        }
    }

    /// The call has come to this.
    fn finish(&mut self, mut trailers: HeaderMap) -> HeaderMap {
        self.over = true;
        // Nothing of it is wanted any more.
        self.answer = TonicBody::empty();
        if let Some(Trailers(more)) = self.more.take() {
            trailers.extend(more.into_headers());
        }
        self.counters.ended(code_of(&trailers));
        trailers
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Part> {
        loop {
            if let Some(packing) = &mut self.packing {
                match packing.next() {
                    Ok(None) => {}
                    Ok(Some((packed, message))) => {
                        return Poll::Ready(Part::Message(packed, message));
                    }
                    Err(status) => return Poll::Ready(Part::End(trailers_of(&status))),
                }
            }
            if let Some(trailers) = self.end.take() {
                return Poll::Ready(Part::End(trailers));
            }
            let frame = match Pin::new(&mut self.answer).poll_frame(cx) {
                Poll::Pending => {
                    return self.time.poll(cx).map(|status| Part::End(trailers_of(&status)));
                }
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(status))) => {
                    return Poll::Ready(Part::End(trailers_of(&status)));
                }
                Poll::Ready(None) => {
                    let status = Status::unknown("the service has not said how the call ended");
                    return Poll::Ready(Part::End(trailers_of(&status)));
                }
            };
            match (frame.into_data(), &mut self.packing) {
                (Ok(messages), None) => return Poll::Ready(Part::Plain(messages)),
                (Ok(messages), Some(packing)) => packing.frames.push(messages),
                (Err(frame), _) => self.end = Some(frame.into_trailers().unwrap_or_default()),
            }
        }
    }

    /// A part as it is carried.
    fn carry(&mut self, part: Part) -> Frame<Bytes> {
        let bytes = match part {
            Part::Plain(bytes) => bytes,
            Part::Message(_, message) if self.carrier == Carrier::Rest => {
                let begun = std::mem::replace(&mut self.begun, true);
                let before = if begun { &b",\n"[..] } else { b"[" };
                [before, &message[..]].concat().into()
            }
            Part::Message(packed, message) => {
                framed(if packed { FLAG_COMPRESSED } else { 0 }, &message)
            }
            Part::End(trailers) => {
                let trailers = self.finish(trailers);
                match self.carrier {
                    Carrier::Grpc | Carrier::Unary => return Frame::trailers(trailers),
                    Carrier::Web | Carrier::WebText => framed(FLAG_TRAILERS, &lines_of(&trailers)),
                    Carrier::Stream => framed(FLAG_END, &connect::end(&trailers)),
                    Carrier::Rest => rest::end(self.begun, &trailers).into(),
                }
            }
        };
        Frame::data(if self.carrier == Carrier::WebText {
            STANDARD.encode(bytes).into()
        } else {
            bytes
        })
    }
}

/// What comes next of an answer.
enum Part {
    /// Messages in their frames.
    Plain(Bytes),
    /// One message, and whether it is compressed.
    Message(bool, Bytes),
    /// What the call has come to.
    End(HeaderMap),
}

impl HttpBody for Replies {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        this.poll_part(cx).map(|part| Some(Ok(this.carry(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

impl Drop for Replies {
    /// Who hangs up has cancelled the call.
    fn drop(&mut self) {
        if !self.over {
            self.counters.ended(Code::Cancelled);
        }
    }
}

/// Trailers as they stand in the content for browsers.
fn lines_of(trailers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

/// What the trailers say that the call has come to.
pub(super) fn code_of(trailers: &HeaderMap) -> Code {
    let code = trailers.get(Status::GRPC_STATUS);
    code.map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()))
}

/// Trailers that say so.
pub(super) fn trailers_of(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, (Code::Unknown as i32).into());
    }
    trailers
}
