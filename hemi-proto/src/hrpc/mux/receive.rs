//! What comes: frames become messages, and credit is given for more.

use std::borrow::Cow;

use bytes::BytesMut;

use super::window::Window;
use super::{Broken, Event, Message, Mux, Side, Stream, advance, beyond, send};
use crate::hrpc::parts::{Asked, Hello, Replied, credit, frame as write_frame, reset};
use crate::hrpc::{CHUNK, CONN_CREDIT, Code, Flags, Frame, Head, Kind, STREAM_CREDIT};

/// What comes on a stream.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) window: Window,
    /// A message that is not whole yet, if one has begun.
    partial: Option<Partial>,
    /// The answer has begun.
    replied: bool,
    ended: bool,
}

#[derive(Debug, Default)]
struct Partial {
    compression: u8,
    bytes: Vec<u8>,
    /// Bytes of credit in it.
    weight: usize,
}

impl Inbound {
    pub(super) fn new(ended: bool) -> Self {
        Self { window: Window::new(STREAM_CREDIT), partial: None, replied: false, ended }
    }

    fn kept(&self, is_long: bool) -> u64 {
        let partial = self.partial.as_ref().filter(|_| !is_long);
        self.window.held + partial.map_or(0, |partial| partial.weight as u64)
    }

    /// Takes what a frame has of a message: the message, if it is whole.
    fn take<'a>(
        &mut self,
        flags: Flags,
        bytes: &'a [u8],
        weight: usize,
        most: usize,
    ) -> Result<Option<Message<'a>>, TooLong> {
        if !flags.has(Flags::MESSAGE) {
            return Ok(None);
        }
        let (compression, more) = (flags.compression(), flags.has(Flags::MORE));
        if !more && self.partial.is_none() {
            if bytes.len() > most {
                return Err(TooLong);
            }
            self.window.held += weight as u64;
            return Ok(Some(Message { compression, bytes: Cow::Borrowed(bytes), weight }));
        }
        let partial =
            self.partial.get_or_insert_with(|| Partial { compression, ..Partial::default() });
        if partial.bytes.len() + bytes.len() > most {
            return Err(TooLong);
        }
        partial.bytes.extend_from_slice(bytes);
        partial.weight += weight;
        if more {
            return Ok(None);
        }
        let Partial { compression, bytes, weight } = self.partial.take().unwrap_or_default();
        self.window.held += weight as u64;
        Ok(Some(Message { compression, bytes: Cow::Owned(bytes), weight }))
    }
}

struct TooLong;

/// So many of the longest messages may wait to be consumed before no further long ones are taken in.
const LONG_HELD: u64 = 4;

/// Whether these can stand together.
fn check(head: &Head, bytes: &[u8]) -> Result<(), Broken> {
    let flags = head.flags;
    if bytes.len() > CHUNK {
        return Err(Broken("more of a message than a frame may have"));
    }
    if !flags.has(Flags::MESSAGE) && (!bytes.is_empty() || flags.has(Flags::MORE)) {
        return Err(Broken("bytes of no message"));
    }
    if flags.has(Flags::MORE.and(Flags::END)) {
        return Err(Broken("the end within a message"));
    }
    Ok(())
}

impl<T: Default> Mux<T> {
    /// Takes a frame. What is to be answered to it at once is written.
    ///
    /// # Errors
    /// When the other side does not keep to the protocol.
    pub fn receive<'a>(
        &mut self,
        frame: &Frame<'a>,
        out: &mut BytesMut,
    ) -> Result<Event<'a, T>, Broken> {
        let head = frame.head;
        if self.peer.is_none() && head.kind != Kind::HELLO {
            return Err(Broken("a frame before HELLO"));
        }
        match head.kind {
            Kind::HELLO => self.hello(frame),
            Kind::CALL => self.call(frame, out),
            Kind::REPLY => self.reply(frame, out),
            Kind::DATA => self.data(frame, out),
            Kind::TRAILERS => self.trailers_came(frame),
            Kind::RESET => {
                let known = self.knows(head.stream)?;
                let closed = known.then(|| self.close(head.stream, out)).flatten();
                let (stream, code, text) = (head.stream, Code(head.value), frame.body);
                Ok(closed.map_or(Event::None, |own| Event::Reset { stream, own, code, text }))
            }
            Kind::CREDIT => {
                let more = frame.body.try_into().map_err(|_| Broken("a CREDIT of no number"))?;
                let more = u64::from(u32::from_be_bytes(more));
                if head.stream == 0 {
                    self.credit = self.credit.saturating_add(more);
                } else if self.knows(head.stream)? {
                    self.credited(head.stream, more);
                }
                Ok(Event::None)
            }
            Kind::PING => {
                if frame.body.len() != 8 {
                    return Err(Broken("a PING that has not 8 bytes"));
                }
                if !head.flags.has(Flags::ACK) {
                    write_frame(out, &Head { flags: Flags::ACK, ..head }, frame.body);
                }
                Ok(Event::None)
            }
            Kind::PUSH => {
                let (asked, bytes) = Asked::read(frame)?;
                check(&head, bytes)?;
                if self.side == Side::Server || head.flags.has(Flags::MORE) {
                    return Err(Broken("a PUSH that can't be"));
                }
                Ok(Event::Push { asked, message: (head.flags.compression(), bytes) })
            }
            Kind::GOAWAY => {
                let first = frame.body.split_first_chunk::<4>();
                let (last, text) = first.ok_or(Broken("a GOAWAY that breaks off"))?;
                let (last, code) = (u32::from_be_bytes(*last), Code(head.value));
                Ok(Event::Goaway { last, code, text })
            }
            _ => Ok(Event::None),
        }
    }

    fn hello<'a>(&mut self, frame: &Frame<'a>) -> Result<Event<'a, T>, Broken> {
        if self.peer.is_some() {
            return Err(Broken("a second HELLO"));
        }
        let hello = Hello::read(frame.body)?;
        self.peer = Some(hello);
        Ok(Event::Hello(hello))
    }

    /// Whether a stream is still there; it may have been.
    fn knows(&self, stream: u32) -> Result<bool, Broken> {
        if stream == 0 || stream > self.last {
            return Err(Broken("a frame of a stream that was never begun"));
        }
        Ok(self.streams.contains_key(&stream))
    }

    fn call<'a>(&mut self, frame: &Frame<'a>, out: &mut BytesMut) -> Result<Event<'a, T>, Broken> {
        let Head { stream, flags, .. } = frame.head;
        if self.side == Side::Client {
            return Err(Broken("a CALL of a server"));
        }
        if self.last.checked_add(1) != Some(stream) {
            return Err(Broken("a CALL whose stream is not the next one"));
        }
        self.last = stream;
        let (asked, bytes) = Asked::read(frame)?;
        check(&frame.head, bytes)?;
        if self.streams.len() >= self.most {
            reset(out, stream, Code::REFUSED, "too many calls at once");
            return Ok(Event::None);
        }
        if asked.metadata.block().len() > self.limits.metadata {
            reset(out, stream, Code::RESOURCE_EXHAUSTED, "too much metadata");
            return Ok(Event::None);
        }
        let end = flags.has(Flags::END);
        let mut inbound = Inbound::new(end);
        let Ok(message) = inbound.take(flags, bytes, 0, self.limits.message) else {
            reset(out, stream, Code::RESOURCE_EXHAUSTED, "the message is too long");
            return Ok(Event::None);
        };
        if !end {
            let outbound = send::Outbound::default();
            self.streams.insert(stream, Stream { own: T::default(), inbound, outbound });
        }
        let one_way = flags.has(Flags::ONE_WAY);
        Ok(Event::Call { stream, asked, one_way, message, end })
    }

    fn reply<'a>(&mut self, frame: &Frame<'a>, out: &mut BytesMut) -> Result<Event<'a, T>, Broken> {
        let Head { stream, flags, .. } = frame.head;
        if self.side == Side::Server {
            return Err(Broken("a REPLY of a client"));
        }
        let (replied, bytes) = Replied::read(frame)?;
        check(&frame.head, bytes)?;
        if !self.knows(stream)? {
            return Ok(Event::None);
        }
        let limits = self.limits;
        let Some(Stream { inbound, .. }) = self.streams.get_mut(&stream) else {
            return Ok(Event::None);
        };
        if std::mem::replace(&mut inbound.replied, true) {
            return Err(Broken("a second REPLY"));
        }
        let end = flags.has(Flags::END);
        inbound.ended = end;
        let message = inbound.take(flags, bytes, 0, limits.message);
        match message {
            Ok(message) if replied.metadata.block().len() <= limits.metadata => {
                Ok(Event::Reply { stream, replied, message, end })
            }
            _ => Ok(self.too_long(stream, out)),
        }
    }

    fn trailers_came<'a>(&mut self, frame: &Frame<'a>) -> Result<Event<'a, T>, Broken> {
        let stream = frame.head.stream;
        if self.side == Side::Server {
            return Err(Broken("TRAILERS of a client"));
        }
        let (replied, rest) = Replied::read(frame)?;
        if !rest.is_empty() {
            return Err(Broken("bytes behind TRAILERS"));
        }
        if !self.knows(stream)? {
            return Ok(Event::None);
        }
        match self.streams.get(&stream) {
            Some(kept) if kept.inbound.ended => Err(Broken("TRAILERS after the end")),
            Some(kept) if kept.inbound.partial.is_some() => {
                Err(Broken("TRAILERS within a message"))
            }
            Some(_) => Ok(Event::Trailers { stream, replied }),
            None => Ok(Event::None),
        }
    }

    fn data<'a>(&mut self, frame: &Frame<'a>, out: &mut BytesMut) -> Result<Event<'a, T>, Broken> {
        let Head { stream, flags, .. } = frame.head;
        let weight = frame.body.len();
        check(&frame.head, frame.body)?;
        self.window.take(weight)?;
        if !self.knows(stream)? {
            self.give(0, out);
            return Ok(Event::None);
        }
        let (most, side) = (self.limits.message, self.side);
        let Some(Stream { inbound, .. }) = self.streams.get_mut(&stream) else {
            return Ok(Event::None);
        };
        inbound.window.take(weight)?;
        if inbound.ended {
            return Err(Broken("DATA after the end"));
        }
        if side == Side::Client && !inbound.replied {
            return Err(Broken("DATA before REPLY"));
        }
        if inbound.partial.is_some() && !flags.has(Flags::MESSAGE) {
            return Err(Broken("the end within a message"));
        }
        let Ok(message) = inbound.take(flags, frame.body, weight, most) else {
            return Ok(self.too_long(stream, out));
        };
        let end = flags.has(Flags::END);
        inbound.ended = end;
        let partial = inbound.partial.as_ref().map_or(0, |partial| partial.weight as u64);
        match &message {
            Some(message) => {
                let held = inbound.window.held;
                self.held += beyond(held) - beyond(held - message.weight as u64);
                self.not_long(stream, out);
            }
            None if partial >= STREAM_CREDIT / 2 && !self.long.contains(&stream) => {
                self.long.push_back(stream);
            }
            None => {}
        }
        if !end {
            self.give(stream, out);
        }
        self.give(0, out);
        if message.is_none() && !end {
            return Ok(Event::None);
        }
        Ok(Event::Message { stream, message, end })
    }

    fn too_long<'a>(&mut self, stream: u32, out: &mut BytesMut) -> Event<'a, T> {
        let text = "more than may come in one message";
        match self.reset(stream, Code::RESOURCE_EXHAUSTED, text, out) {
            Some(own) => Event::TooLong { stream, own },
            None => Event::None,
        }
    }
}

impl<T> Mux<T> {
    /// A message of this weight was consumed: as much more may come.
    pub fn consumed(&mut self, stream: u32, weight: usize, out: &mut BytesMut) {
        let Some(Stream { inbound, .. }) = self.streams.get_mut(&stream) else { return };
        let held = inbound.window.held;
        inbound.window.held -= held.min(weight as u64);
        self.held -= beyond(held) - beyond(inbound.window.held);
        if !inbound.ended {
            self.give(stream, out);
        }
        self.advance_long(out);
    }

    /// Whether long messages are taken in, though others wait to be consumed.
    fn takes_long(&self) -> bool {
        self.held < LONG_HELD.saturating_mul(self.limits.message as u64)
    }

    /// Gives more to the stream whose long message is taken in, if there is one, and room for it.
    pub(super) fn advance_long(&mut self, out: &mut BytesMut) {
        if let Some(first) = self.long.front().copied() {
            self.give(first, out);
        }
    }

    /// No long message comes on a stream any more: the next one is taken in.
    pub(super) fn not_long(&mut self, stream: u32, out: &mut BytesMut) {
        let Some(at) = self.long.iter().position(|long| *long == stream) else { return };
        self.long.remove(at);
        if at == 0 {
            self.advance_long(out);
        }
    }

    /// Gives the credit that may be given; stream 0 is the connection.
    pub(super) fn give(&mut self, stream: u32, out: &mut BytesMut) {
        let more = if stream == 0 {
            self.window.more(CONN_CREDIT, self.window.held)
        } else {
            let is_long = self.long.front() == Some(&stream) && self.takes_long();
            let Some(Stream { inbound, .. }) = self.streams.get_mut(&stream) else { return };
            let kept = inbound.kept(is_long);
            inbound.window.more(advance(is_long), kept)
        };
        if let Some(more) = more {
            credit(out, stream, more);
        }
    }
}
