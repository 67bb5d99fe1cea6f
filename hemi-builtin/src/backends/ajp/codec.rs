//! AJP as a server speaks it: the container asks for each piece of a request's content but the first.

use bytes::{Bytes, BytesMut};
use hemi_core::io::Outbox;
use hemi_proto::ajp::{
    AnswerReader, Event, content_room, encode_content_end, encode_content_head, encode_ping,
};
use hemi_web::{BoxError, Interim};
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, StatusCode};

use crate::backends::exchange::{Codec, Decoded, Head};

/// One request, and the answer to it.
pub(super) struct Ajp {
    packets: AnswerReader,
    /// Bytes of content in a packet, at most.
    room: u16,
    /// The request's head, while the container is asked whether it is there.
    head: Option<Bytes>,
    /// A piece of content that was not asked for yet.
    held: Bytes,
    /// No more will come.
    over: bool,
    /// The container waits for so much content.
    wanted: Option<u16>,
    pong: bool,
    is_head: bool,
    /// Bytes of the answer's content that are still to come, if that was said.
    left: Option<u64>,
    ended: bool,
    reuse: bool,
}

impl Ajp {
    /// Puts the head of a request into `out`, or first a ping.
    pub(super) fn begin(
        method: &Method,
        packet: usize,
        length: Option<u64>,
        head: Bytes,
        ping: bool,
        out: &mut Outbox,
    ) -> Self {
        let head = if ping {
            encode_ping(out.small());
            Some(head)
        } else {
            out.push(head);
            None
        };
        let room = content_room(packet);
        Self {
            packets: AnswerReader::new(packet),
            room,
            head,
            held: Bytes::new(),
            over: false,
            // The first piece comes unasked, if there is known to be one.
            wanted: length.filter(|length| *length > 0).map(|_| room),
            pong: false,
            is_head: *method == Method::HEAD,
            left: None,
            ended: false,
            reuse: false,
        }
    }

    /// Notes what is not about the answer.
    fn note(&mut self, event: &Event) {
        match event {
            // Tomcat asks for as much as fits in a packet, others for less.
            Event::ContentWanted(most) => self.wanted = Some((*most).clamp(1, self.room)),
            Event::Pong => self.pong = true,
            _ => {}
        }
    }
}

impl Codec for Ajp {
    fn put_data(&mut self, out: &mut Outbox, data: Bytes) {
        self.held = data;
        self.put_more(out);
    }

    fn put_end(&mut self, out: &mut Outbox, _: &HeaderMap) {
        self.over = true;
        self.put_more(out);
    }

    fn takes_data(&self) -> bool {
        self.held.is_empty() && self.head.is_none()
    }

    fn is_asked(&self) -> bool {
        match &self.head {
            Some(_) => self.pong,
            None => self.wanted.is_some() && (self.over || !self.held.is_empty()),
        }
    }

    fn put_more(&mut self, out: &mut Outbox) {
        if self.pong
            && let Some(head) = self.head.take()
        {
            out.push(head);
        }
        if !self.is_asked() {
            return;
        }
        let Some(wanted) = self.wanted.take() else { return };
        if self.held.is_empty() {
            encode_content_end(out.small());
            return;
        }
        let piece = self.held.split_to(self.held.len().min(wanted.into()));
        encode_content_head(out.small(), piece.len() as u16);
        out.push(piece);
    }

    fn read_head(
        &mut self,
        buf: &mut BytesMut,
        _: Option<&Interim>,
    ) -> Result<Option<Head>, BoxError> {
        loop {
            match self.packets.read(buf)? {
                Event::Head(head) => {
                    let (status, mut headers) = (head.status, head.headers);
                    let length = headers.remove(CONTENT_LENGTH);
                    let none = self.is_head
                        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
                    self.left = match length {
                        _ if none => Some(0),
                        Some(length) => Some(length.to_str()?.trim().parse()?),
                        None => None,
                    };
                    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
                        headers.remove(name);
                    }
                    headers.remove("keep-alive");
                    return Ok(Some(Head { status, headers: headers.into(), upgrades: None }));
                }
                Event::NeedMore => return Ok(None),
                event => {
                    self.note(&event);
                    if self.is_asked() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BoxError> {
        loop {
            if self.ended {
                return Ok(Decoded::End(None));
            }
            match self.packets.read(buf)? {
                Event::Data(mut data) => {
                    if let Some(left) = &mut self.left {
                        data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                        *left -= data.len() as u64;
                    }
                    // Tomcat flushes by an empty piece.
                    if !data.is_empty() {
                        return Ok(Decoded::Data(data));
                    }
                }
                Event::End { reuse } => {
                    if matches!(self.left, Some(1..)) {
                        return Err("the content is shorter than was said".into());
                    }
                    (self.ended, self.reuse) = (true, reuse);
                }
                Event::NeedMore => return Ok(Decoded::NeedMore),
                event => {
                    self.note(&event);
                    if self.is_asked() {
                        return Ok(Decoded::NeedMore);
                    }
                }
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        // Though its length may be known, it is over with the packet that says so.
        None
    }

    fn close(&mut self) -> Result<(), BoxError> {
        Err("the connection was closed before the answer was over".into())
    }

    fn is_ended(&self) -> bool {
        self.ended
    }

    fn may_keep(&self) -> bool {
        // Who is asked for content that nobody waits for any more would take it for the next request.
        self.reuse && self.held.is_empty() && self.wanted.is_none()
    }
}
