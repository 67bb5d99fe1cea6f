//! The chunked transfer coding (RFC 9112 section 7.1), by the grammar and nothing beside it.

use bytes::{Buf, BytesMut};

use super::body::take_up_to;
use super::lines::{BareLf, LineScan};
use super::{BodyError, Decoded, trailers};
use crate::ascii::{hex_value, is_forbidden_control, is_token};

/// Decodes chunked content; the bytes of chunk lines are consumed as they come.
#[derive(Clone, Debug, Default)]
pub struct ChunkDecoder {
    state: State,
    /// The size read so far, then the data of the chunk still to come.
    remaining: u64,
    /// Hexadecimal digits of the size so far.
    digits: u8,
    /// Bytes of extensions on this chunk line.
    line_extensions: usize,
    /// Bytes of extensions in the message.
    extensions: usize,
    trailers: LineScan,
}

/// Enough for 2^64 - 1, leading zeros included.
const MAX_SIZE_DIGITS: u8 = 16;
const MAX_LINE_EXTENSIONS: usize = 256;
const MAX_EXTENSIONS: usize = 16 * 1024;
const MAX_TRAILERS: usize = 8 * 1024;

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// Whitespace before a `;`.
    BeforeExtension,
    /// Whitespace after a `;`, or the first byte of a name.
    ExtensionStart,
    ExtensionName,
    /// Whitespace before a `=` or `;`.
    AfterName,
    /// Whitespace after a `=`, or the first byte of a value.
    ValueStart,
    TokenValue,
    QuotedValue,
    QuotedPair,
    /// The closing quote is past.
    AfterQuoted,
    LineLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Ended,
}

impl ChunkDecoder {
    /// Takes the next piece of content from the front of `buf`; after the end it stays at the end.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyError> {
        let mut consumed = 0;
        for &b in buf.iter() {
            if matches!(self.state, State::Data | State::Trailers | State::Ended) {
                break;
            }
            self.state = self.step(b)?;
            consumed += 1;
        }
        buf.advance(consumed);
        match self.state {
            State::Data if !buf.is_empty() => {
                let data = take_up_to(buf, &mut self.remaining);
                if self.remaining == 0 {
                    self.state = State::DataCr;
                }
                Ok(Decoded::Data(data))
            }
            State::Trailers => self.take_trailers(buf),
            State::Ended => Ok(Decoded::End(None)),
            _ => Ok(Decoded::NeedMore),
        }
    }

    /// The state after `b`, a byte of a chunk line or of the CRLF after data.
    fn step(&mut self, b: u8) -> Result<State, BodyError> {
        match self.state {
            State::Size => self.size_byte(b),
            State::LineLf if b == b'\n' => {
                self.digits = 0;
                self.line_extensions = 0;
                Ok(if self.remaining == 0 { State::Trailers } else { State::Data })
            }
            State::DataCr if b == b'\r' => Ok(State::DataLf),
            State::DataLf if b == b'\n' => Ok(State::Size),
            State::LineLf | State::DataCr | State::DataLf => Err(BodyError::ChunkEnd),
            _ => self.extension_byte(b),
        }
    }

    fn size_byte(&mut self, b: u8) -> Result<State, BodyError> {
        if let Some(digit) = hex_value(b) {
            if self.digits == MAX_SIZE_DIGITS {
                return Err(BodyError::ChunkSize);
            }
            self.digits += 1;
            self.remaining = self.remaining << 4 | u64::from(digit);
            return Ok(State::Size);
        }
        match b {
            _ if self.digits == 0 => Err(BodyError::ChunkSize),
            b'\r' => Ok(State::LineLf),
            b';' | b' ' | b'\t' => {
                self.state = State::BeforeExtension;
                self.extension_byte(b)
            }
            b'\n' => Err(BodyError::ChunkEnd),
            _ => Err(BodyError::ChunkSize),
        }
    }

    /// Extensions are checked by their grammar and then ignored:
    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
    fn extension_byte(&mut self, b: u8) -> Result<State, BodyError> {
        let after_element = |b| match b {
            b'\r' => Some(State::LineLf),
            b';' => Some(State::ExtensionStart),
            _ => None,
        };
        let space = matches!(b, b' ' | b'\t');
        let next = match self.state {
            State::BeforeExtension => match b {
                b';' => Some(State::ExtensionStart),
                _ => space.then_some(State::BeforeExtension),
            },
            State::ExtensionStart if space => Some(State::ExtensionStart),
            State::ExtensionStart => is_token(b).then_some(State::ExtensionName),
            State::ExtensionName if is_token(b) => Some(State::ExtensionName),
            State::ExtensionName | State::AfterName => match b {
                b'=' => Some(State::ValueStart),
                b';' => Some(State::ExtensionStart),
                b'\r' if self.state == State::ExtensionName => Some(State::LineLf),
                _ => space.then_some(State::AfterName),
            },
            State::ValueStart if space => Some(State::ValueStart),
            State::ValueStart if b == b'"' => Some(State::QuotedValue),
            State::ValueStart => is_token(b).then_some(State::TokenValue),
            State::TokenValue if is_token(b) => Some(State::TokenValue),
            State::TokenValue | State::AfterQuoted => {
                after_element(b).or(space.then_some(State::BeforeExtension))
            }
            State::QuotedValue => match b {
                b'"' => Some(State::AfterQuoted),
                b'\\' => Some(State::QuotedPair),
                _ => (!is_forbidden_control(b)).then_some(State::QuotedValue),
            },
            State::QuotedPair => (!is_forbidden_control(b)).then_some(State::QuotedValue),
            _ => None,
        };
        let next = next.ok_or(BodyError::ChunkExtension)?;
        if next != State::LineLf {
            self.line_extensions += 1;
            self.extensions += 1;
            if self.line_extensions > MAX_LINE_EXTENSIONS || self.extensions > MAX_EXTENSIONS {
                return Err(BodyError::ExtensionsTooLarge);
            }
        }
        Ok(next)
    }

    /// Takes the trailer section, which ends with an empty line.
    fn take_trailers(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyError> {
        let end = self.trailers.find_end(buf).map_err(|BareLf| BodyError::Trailers)?;
        if end.unwrap_or(buf.len()) > MAX_TRAILERS {
            return Err(BodyError::TrailersTooLarge);
        }
        let Some(end) = end else { return Ok(Decoded::NeedMore) };
        self.state = State::Ended;
        let section = buf.split_to(end).freeze();
        if end == b"\r\n".len() {
            return Ok(Decoded::End(None));
        }
        trailers::parse(&section).map(Decoded::End)
    }
}

#[cfg(test)]
mod tests;
