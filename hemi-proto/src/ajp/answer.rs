//! What a container sends.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, DATE, LAST_MODIFIED, LOCATION, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const MAGIC: [u8; 2] = *b"AB";

const BODY_CHUNK: u8 = 3;
const HEADERS: u8 = 4;
const END_RESPONSE: u8 = 5;
const BODY_WANTED: u8 = 6;
const CPONG: u8 = 9;

/// The first byte of the number that stands for the name of a field.
const NUMBERED: u8 = 0xa0;

/// Names of fields from number 0xa001; some are of old.
static FIELDS: [HeaderName; 11] = [
    CONTENT_TYPE,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    DATE,
    LAST_MODIFIED,
    LOCATION,
    SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
    HeaderName::from_static("servlet-engine"),
    HeaderName::from_static("status"),
    WWW_AUTHENTICATE,
];

/// One step of reading what a container sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The head of the answer.
    Head(AjpHead),
    /// A piece of its content.
    Data(Bytes),
    /// The container wants the next piece of the request's content, of at most so many bytes.
    ContentWanted(u16),
    /// The answer is over; whether the connection can serve another request.
    End {
        /// It can.
        reuse: bool,
    },
    /// The answer to a ping.
    Pong,
    /// There is no whole packet yet.
    NeedMore,
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AjpHead {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// All fields.
    pub headers: HeaderMap,
}

/// Not what a container sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A packet does not begin like one.
    #[error("not AJP")]
    Magic,
    /// A packet is larger than agreed.
    #[error("a packet is too large")]
    TooLarge,
    /// A packet has a type that containers don't send, or not then.
    #[error("a packet of an unexpected type")]
    Type,
    /// A packet ends within a value.
    #[error("a truncated packet")]
    Truncated,
    /// The status is not one of 200 to 599.
    #[error("a malformed status")]
    Status,
    /// A field is none.
    #[error("a malformed field")]
    Field,
}

/// Reads the packets of an answer.
#[derive(Clone, Copy, Debug)]
pub struct AnswerReader {
    packet: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Content,
    Ended,
}

impl AnswerReader {
    /// A reader of packets with at most `packet` bytes.
    #[must_use]
    pub fn new(packet: usize) -> Self {
        Self { packet, stage: Stage::Head }
    }

    /// Takes the next packet off the front of `buf`.
    ///
    /// # Errors
    /// When what comes is no answer: the connection can't be used any more.
    pub fn read(&mut self, buf: &mut BytesMut) -> Result<Event, AnswerError> {
        let Some([m0, m1, high, low]) = buf.first_chunk().copied() else {
            return Ok(Event::NeedMore);
        };
        if [m0, m1] != MAGIC {
            return Err(AnswerError::Magic);
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len + 4 > self.packet {
            return Err(AnswerError::TooLarge);
        }
        if buf.len() < len + 4 {
            return Ok(Event::NeedMore);
        }
        buf.advance(4);
        let mut packet = buf.split_to(len).freeze();
        let kind = packet.try_get_u8().map_err(|_| AnswerError::Truncated)?;
        match (kind, self.stage) {
            (HEADERS, Stage::Head) => {
                self.stage = Stage::Content;
                head(packet).map(Event::Head)
            }
            (BODY_CHUNK, Stage::Content) => {
                let len = take_u16(&mut packet)?.into();
                if packet.len() < len {
                    return Err(AnswerError::Truncated);
                }
                Ok(Event::Data(packet.split_to(len)))
            }
            (BODY_WANTED, Stage::Head | Stage::Content) => {
                take_u16(&mut packet).map(Event::ContentWanted)
            }
            (END_RESPONSE, Stage::Content) => {
                self.stage = Stage::Ended;
                let reuse = packet.try_get_u8().map_err(|_| AnswerError::Truncated)? == 1;
                Ok(Event::End { reuse })
            }
            (CPONG, Stage::Head) => Ok(Event::Pong),
            _ => Err(AnswerError::Type),
        }
    }
}

fn head(mut packet: Bytes) -> Result<AjpHead, AnswerError> {
    let status = take_u16(&mut packet)?;
    let status = StatusCode::from_u16(status).ok().filter(|s| (200..600).contains(&s.as_u16()));
    let status = status.ok_or(AnswerError::Status)?;
    // The phrase, which means nothing.
    take_text(&mut packet)?;
    let count = take_u16(&mut packet)?;
    let mut headers = HeaderMap::new();
    for _ in 0..count {
        let name = match packet.first() {
            Some(&NUMBERED) => {
                let number = usize::from(take_u16(&mut packet)? & 0xff);
                let name = number.checked_sub(1).and_then(|index| FIELDS.get(index));
                name.cloned().ok_or(AnswerError::Field)?
            }
            _ => {
                HeaderName::from_bytes(&take_text(&mut packet)?).map_err(|_| AnswerError::Field)?
            }
        };
        let value = HeaderValue::from_maybe_shared(take_text(&mut packet)?);
        let value = value.map_err(|_| AnswerError::Field)?;
        headers.try_append(name, value).map_err(|_| AnswerError::Field)?;
    }
    Ok(AjpHead { status, headers })
}

fn take_u16(packet: &mut Bytes) -> Result<u16, AnswerError> {
    packet.try_get_u16().map_err(|_| AnswerError::Truncated)
}

/// A text with the NUL after it; no text is an empty one.
fn take_text(packet: &mut Bytes) -> Result<Bytes, AnswerError> {
    let len = match take_u16(packet)? {
        0xffff => return Ok(Bytes::new()),
        len => usize::from(len),
    };
    if packet.len() <= len {
        return Err(AnswerError::Truncated);
    }
    let text = packet.split_to(len);
    packet.advance(1);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::PACKET;
    use super::*;

    const HEAD: &[u8] =
        b"AB\0\x1d\x04\0\xc8\0\x02OK\0\0\x02\xa0\x01\0\x04text\0\0\x03x-a\0\0\x01b\0";
    const REST: &[u8] = b"AB\0\x07\x03\0\x03abc\0AB\0\x03\x06\x1f\xfaAB\0\x02\x05\x01";

    #[test]
    fn answers_are_read_however_they_arrive() {
        let all = [HEAD, REST].concat();
        for size in 1..=all.len() {
            let (mut reader, mut buf) = (AnswerReader::new(PACKET), BytesMut::new());
            let mut events = Vec::new();
            for piece in all.chunks(size) {
                buf.extend_from_slice(piece);
                loop {
                    match reader.read(&mut buf).unwrap() {
                        Event::NeedMore => break,
                        event => events.push(event),
                    }
                }
            }
            let [Event::Head(head), rest @ ..] = &events[..] else { panic!("{events:?}") };
            assert_eq!(head.status, StatusCode::OK);
            assert_eq!(head.headers[CONTENT_TYPE], "text");
            assert_eq!(head.headers["x-a"], "b");
            let (data, wanted) = (Event::Data("abc".into()), Event::ContentWanted(0x1ffa));
            assert_eq!(rest, [data, wanted, Event::End { reuse: true }]);
        }
    }

    #[test]
    fn refused() {
        use AnswerError as E;
        for (bytes, error) in [
            (&b"HTTP"[..], E::Magic),
            (b"AB\xff\xff", E::TooLarge),
            (b"AB\0\0", E::Truncated),
            (b"AB\0\x01\x04", E::Truncated),
            (b"AB\0\x02\x05\x01", E::Type),
            (b"AB\0\x07\x03\0\x03abc\0", E::Type),
            (b"AB\0\x08\x04\0\x64\xff\xff\0\0.", E::Status),
            (b"AB\0\x0b\x04\0\xc8\xff\xff\0\x01\xa0\x0c\0\0", E::Field),
            (b"AB\0\x0f\x04\0\xc8\xff\xff\0\x01\0\x01 \0\0\x01b\0", E::Field),
            (b"AB\0\x0f\x04\0\xc8\xff\xff\0\x01\0\x01a\0\0\x01\n\0", E::Field),
        ] {
            let read = AnswerReader::new(PACKET).read(&mut BytesMut::from(bytes));
            assert_eq!(read, Err(error), "{bytes:?}");
        }
        let mut reader = AnswerReader::new(PACKET);
        let mut twice = BytesMut::from(&[HEAD, HEAD].concat()[..]);
        assert!(matches!(reader.read(&mut twice), Ok(Event::Head(_))));
        assert_eq!(reader.read(&mut twice), Err(E::Type));
    }
}
