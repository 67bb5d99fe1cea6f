//! What a caller sends, as services want it: messages of gRPC, none of them compressed or too long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use hemi_proto::grpc::{FLAG_COMPRESSED, Frame, FrameError, Frames, HEAD_LEN, Scan, frame_head};
use hemi_web::{Body, BodyError};
use http_body::Body as HttpBody;
use prost_reflect::MessageDescriptor;
use tonic::Status;

use super::coding::Coding;
use super::form::Carrier;
use super::json;

/// The messages of a call: the content of the requests that services of gRPC get.
#[derive(Debug)]
pub struct Messages {
    body: Body,
    state: State,
    want: Want,
    /// How many have come, where they are counted.
    count: usize,
    /// There if what comes is base64: what is left of it until there are four letters.
    letters: Option<BytesMut>,
}

#[derive(Debug)]
enum State {
    /// They are what they should be, and only looked at.
    Passing(Scan),
    /// They are taken out of their frames.
    Framed(Frames),
    /// There is one, without a frame.
    Whole(BytesMut),
    /// They are refused by this, once so many bytes more have been dropped, or all.
    Refused(Status, usize),
    Over,
}

/// What messages have to be.
#[derive(Debug)]
pub(super) struct Want {
    /// How they may be compressed.
    pub(super) coding: Coding,
    /// What they are, if they come in JSON.
    pub(super) json: Option<MessageDescriptor>,
    /// Bytes that each may have.
    pub(super) most: usize,
    /// Whether there has to be one, and no more.
    pub(super) one: bool,
    /// Whether what follows a refusal is dropped first, so that the connection can go on: that of HTTP/1.
    pub(super) drains: bool,
}

impl Messages {
    /// Of a call.
    pub(super) fn new(mut body: Body, carrier: Carrier, want: Want) -> Self {
        // Streams take the time they want.
        body.lift_limits();
        let plain = want.coding == Coding::Identity && want.json.is_none();
        let state = match carrier {
            Carrier::Unary | Carrier::Rest => State::Whole(BytesMut::new()),
            _ if plain => State::Passing(Scan::new(want.most)),
            _ => State::Framed(Frames::new(want.most)),
        };
        let letters = (carrier == Carrier::WebText).then(BytesMut::new);
        Self { body, state, want, count: 0, letters }
    }

    /// One more has come.
    fn counted(&mut self, count: usize) -> Result<(), Status> {
        self.count = count;
        if self.want.one && count > 1 {
            return Err(Status::unimplemented("the method takes one message"));
        }
        Ok(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Data, Status>>> {
        loop {
            if let State::Framed(frames) = &mut self.state
                && let Some(frame) = frames.take().map_err(refusal)?
            {
                let Frame { flags, message } = frame;
                if flags & !FLAG_COMPRESSED != 0 {
                    return Poll::Ready(Some(Err(refusal(FrameError::Flags(flags)))));
                }
                self.counted(self.count + 1)?;
                let message = self.want.unpack(flags == FLAG_COMPRESSED, message)?;
                return Poll::Ready(Some(Ok(Data::data(framed(0, &message)))));
            }
            let Some(frame) =
                ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose().map_err(broken)?
            else {
                return Poll::Ready(self.end());
            };
            let mut piece = match frame.into_data() {
                Ok(piece) => piece,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            };
            if let Some(letters) = &mut self.letters {
                piece = decode(letters, &piece)?;
            }
            match &mut self.state {
                State::Passing(scan) => {
                    scan.look(&piece).map_err(refusal)?;
                    let count = scan.messages();
                    self.counted(count)?;
                    return Poll::Ready(Some(Ok(Data::data(piece))));
                }
                State::Framed(frames) => frames.push(piece),
                State::Whole(whole) => {
                    let (length, most) = (whole.len() + piece.len(), self.want.most);
                    if length > most {
                        return Poll::Ready(Some(Err(refusal(FrameError::TooLong {
                            length,
                            most,
                        }))));
                    }
                    whole.extend_from_slice(&piece);
                }
                State::Refused(_, left) => {
                    *left = left.saturating_sub(piece.len());
                    if *left == 0 {
                        return Poll::Ready(self.end());
                    }
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }

    /// All has come.
    fn end(&mut self) -> Option<Result<Data, Status>> {
        let midway = match std::mem::replace(&mut self.state, State::Over) {
            State::Passing(scan) => scan.is_midway(),
            State::Framed(frames) => frames.is_midway(),
            State::Whole(whole) => {
                let packed = self.want.coding != Coding::Identity;
                let message = self.want.unpack(packed, whole.freeze());
                return Some(message.map(|message| Data::data(framed(0, &message))));
            }
            State::Refused(status, _) => return Some(Err(status)),
            State::Over => false,
        };
        if self.want.one && self.count == 0 && !midway {
            return Some(Err(Status::unimplemented("the method takes one message: there is none")));
        }
        let cut = midway || self.letters.as_ref().is_some_and(|letters| !letters.is_empty());
        cut.then(|| Err(refusal(FrameError::Cut)))
    }
}

/// Bytes that are dropped after a refusal.
const DRAINED: usize = 16 << 20;

type Data = http_body::Frame<Bytes>;

impl Want {
    fn unpack(&self, packed: bool, mut message: Bytes) -> Result<Bytes, Status> {
        if packed {
            message = self.coding.decompress(&message, self.most)?;
        }
        match &self.json {
            Some(ty) => json::read(ty, &message),
            None => Ok(message),
        }
    }
}

/// Bytes of base64, of which several may stand in a row, each with an end of its own.
fn decode(letters: &mut BytesMut, more: &[u8]) -> Result<Bytes, Status> {
    letters.extend(more.iter().filter(|letter| !letter.is_ascii_whitespace()));
    let whole = letters.split_to(letters.len() / 4 * 4);
    let mut bytes = Vec::with_capacity(whole.len() / 4 * 3);
    // Only four letters can have an end among them.
    for part in whole.split_inclusive(|&letter| letter == b'=').filter(|part| *part != b"=") {
        let part = part.strip_suffix(b"=").unwrap_or(part);
        let part = [part, b"=".repeat((4 - part.len() % 4) % 4).as_slice()].concat();
        let bad = |_| Status::invalid_argument("the content is no base64");
        STANDARD.decode_vec(part, &mut bytes).map_err(bad)?;
    }
    Ok(bytes.into())
}

impl HttpBody for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if matches!(this.state, State::Over) {
            return Poll::Ready(None);
        }
        let mut next = this.poll_next(cx);
        if this.want.drains
            && !matches!(this.state, State::Over)
            && let Poll::Ready(Some(Err(status))) = next
        {
            this.letters = None;
            this.state = State::Refused(status, DRAINED);
            next = this.poll_next(cx);
        }
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            this.state = State::Over;
        }
        next
    }
}

/// A message in its frame.
pub(super) fn framed(flags: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(HEAD_LEN + message.len());
    framed.put_slice(&frame_head(flags, message.len()));
    framed.put_slice(message);
    framed.freeze()
}

/// What a caller is told whose messages are none.
fn refusal(e: FrameError) -> Status {
    match e {
        FrameError::TooLong { .. } => Status::resource_exhausted(e.to_string()),
        FrameError::Flags(FLAG_COMPRESSED) => {
            Status::internal("a message is compressed, and nothing says how")
        }
        FrameError::Flags(_) | FrameError::Cut => Status::internal(e.to_string()),
    }
}

/// What a service is told whose caller sends no more.
fn broken(e: BodyError) -> Status {
    match e {
        BodyError::TooLarge(_) => Status::resource_exhausted(e.to_string()),
        _ => Status::cancelled(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_may_end_anywhere() {
        let text = b"AAAAAAI=aGk=IQ==";
        for size in 1..=text.len() {
            let (mut letters, mut bytes) = (BytesMut::new(), Vec::new());
            for piece in text.chunks(size) {
                bytes.extend(decode(&mut letters, piece).unwrap());
            }
            assert_eq!((bytes.as_slice(), letters.len()), (&b"\0\0\0\0\x02hi!"[..], 0), "{size}");
        }
        assert!(decode(&mut BytesMut::new(), b"A===").is_err());
        assert!(decode(&mut BytesMut::new(), b"A*AA").is_err());
    }
}
