//! Frames for who only looks on: what stands in one, whatever came before.

use super::parts::{Asked, Hello, Replied};
use super::{Broken, Frame, Kind};

/// What stands in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// What its sender can do.
    Hello(Hello),
    /// A call, or with [`Kind::PUSH`] a push; and what there is of its message.
    Asked(Asked<'a>, &'a [u8]),
    /// The start of an answer, or its end; and what there is of its message.
    Replied(Replied<'a>, &'a [u8]),
    /// A message, or a part of one.
    Data(&'a [u8]),
    /// A text.
    Reset(&'a [u8]),
    /// Bytes that may be sent.
    Credit(u32),
    /// The last stream, and a text.
    Goaway(u32, &'a [u8]),
    /// A sign of life, or something that is not known.
    Other,
}

impl<'a> Frame<'a> {
    /// What stands in it.
    ///
    /// # Errors
    /// When its lengths contradict each other.
    pub fn see(&self) -> Result<Seen<'a>, Broken> {
        Ok(match self.head.kind {
            Kind::HELLO => Seen::Hello(Hello::read(self.body)?),
            Kind::CALL | Kind::PUSH => {
                let (asked, message) = Asked::read(self)?;
                Seen::Asked(asked, message)
            }
            Kind::REPLY | Kind::TRAILERS => {
                let (replied, message) = Replied::read(self)?;
                Seen::Replied(replied, message)
            }
            Kind::DATA => Seen::Data(self.body),
            Kind::RESET => Seen::Reset(self.body),
            Kind::CREDIT => {
                let more = self.body.try_into().map_err(|_| Broken("a CREDIT of no number"))?;
                Seen::Credit(u32::from_be_bytes(more))
            }
            Kind::GOAWAY => {
                let first = self.body.split_first_chunk::<4>();
                let (last, text) = first.ok_or(Broken("a GOAWAY that breaks off"))?;
                Seen::Goaway(u32::from_be_bytes(*last), text)
            }
            _ => Seen::Other,
        })
    }
}
