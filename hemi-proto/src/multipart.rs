//! Reads `multipart/form-data` (RFC 7578, RFC 2046 section 5.1) as it arrives, without copying it.
//!
//! A [`MultipartReader`] takes what has come off the front of a buffer and says what it is: the head
//! of a part, a piece of its data, its end. Lines of heads and delimiters must end with CRLF.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use memchr::memmem::Finder;
use thiserror::Error;

use crate::http1::LineScan;
use crate::params;

pub use self::head::PartHead;

mod head;

/// The line that separates parts, as the content type names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(Box<str>);

/// Bounds on what a stranger may send. What they don't bound, data, is the caller's to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultipartLimits {
    /// Bytes of the head of a part; default 8 KiB.
    pub head_size: usize,
    /// Parts; default 1,000.
    pub parts: usize,
}

impl Default for MultipartLimits {
    fn default() -> Self {
        Self { head_size: 8 << 10, parts: 1_000 }
    }
}

/// Bytes before the first part and after the last, together. Nobody sends more than a line there.
const MAX_AROUND: usize = 8 << 10;

/// Blanks between a delimiter and the end of its line. Nobody sends any.
const MAX_PADDING: usize = 64;

/// What is wrong with content that claims to be a form.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MultipartError {
    /// The content type is not `multipart/form-data`.
    #[error("content is not multipart/form-data")]
    MediaType,
    /// The content type has not exactly one boundary, or it is not as RFC 2046 section 5.1.1 says.
    #[error("missing or malformed boundary")]
    Boundary,
    /// What follows a boundary is neither the end of its line nor `--`.
    #[error("malformed delimiter")]
    Delimiter,
    /// Over 8 KiB before the first part and after the last.
    #[error("too much around the parts")]
    Around,
    /// A head is longer than [`MultipartLimits::head_size`], or has over 32 fields.
    #[error("head of a part is too large")]
    HeadTooLarge,
    /// More parts than [`MultipartLimits::parts`].
    #[error("too many parts")]
    TooManyParts,
    /// A head that is not made of well-formed field lines.
    #[error("malformed head of a part")]
    Head,
    /// Not exactly one Content-Disposition, or one that is not `form-data` with a name in UTF-8.
    #[error("missing or malformed disposition of a part")]
    Disposition,
    /// A part in a transfer encoding, which RFC 7578 section 4.7 tells not to use.
    #[error("part in a transfer encoding")]
    TransferEncoding,
    /// The content ended before the last delimiter.
    #[error("content is incomplete")]
    Incomplete,
}

impl MultipartError {
    /// The status that answers it: 413 for what is too much, 415 for what is another format, or 400.
    pub fn status(self) -> StatusCode {
        match self {
            Self::MediaType | Self::TransferEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Around | Self::HeadTooLarge | Self::TooManyParts => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl Boundary {
    /// The boundary in the value of a Content-Type field.
    ///
    /// # Errors
    /// [`MultipartError::MediaType`] or [`MultipartError::Boundary`].
    pub fn of(content_type: &[u8]) -> Result<Self, MultipartError> {
        let (essence, params) = params::split(content_type);
        if !essence.eq_ignore_ascii_case(b"multipart/form-data") {
            return Err(MultipartError::MediaType);
        }
        let mut boundary = None;
        for param in params {
            let (name, value) = param.map_err(|_| MultipartError::Boundary)?;
            if name.eq_ignore_ascii_case(b"boundary") && boundary.replace(value).is_some() {
                return Err(MultipartError::Boundary);
            }
        }
        Self::parse(&boundary.unwrap_or_default()).ok_or(MultipartError::Boundary)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(b);
        let good = (1..=70).contains(&text.len()) && text.iter().all(allowed);
        (good && text.last() != Some(&b' ')).then_some(())?;
        std::str::from_utf8(text).ok().map(|text| Self(text.into()))
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What comes next in the content.
#[derive(Clone, Debug, PartialEq)]
pub enum MultipartEvent {
    /// A part begins.
    Part(PartHead),
    /// Some bytes of its data, never none.
    Data(Bytes),
    /// The part ends.
    PartEnd,
    /// There are no more parts; what follows is ignored.
    End,
}

/// Reads the parts of one message.
#[derive(Clone, Debug)]
pub struct MultipartReader {
    limits: MultipartLimits,
    state: State,
    /// CRLF, two dashes, and the boundary, in which there is no other CR.
    delimiter: Bytes,
    finder: Finder<'static>,
    /// How many bytes of the delimiter the bytes so far end with.
    matched: usize,
    /// How many of those belong to what is before: the line end of a head, or of nothing at the start.
    lent: usize,
    /// What has come of a head that is not complete.
    head: BytesMut,
    lines: LineScan,
    parts: usize,
    /// Bytes outside of all parts.
    around: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preamble,
    /// After the boundary in a delimiter.
    Delimiter,
    /// After its first dash of those that say it is the last.
    Dash,
    /// After this many blanks behind it.
    Padding(usize),
    Lf,
    Head,
    Data,
    PartEnd,
    Epilogue,
    Failed(MultipartError),
}

impl MultipartReader {
    /// A reader of content with this boundary.
    pub fn new(boundary: &Boundary, limits: MultipartLimits) -> Self {
        let delimiter = Bytes::from(format!("\r\n--{boundary}"));
        Self {
            limits,
            state: State::Preamble,
            finder: Finder::new(&delimiter).into_owned(),
            delimiter,
            // The first delimiter may be at the start, where no line end is before it.
            matched: 2,
            lent: 2,
            head: BytesMut::new(),
            lines: LineScan::default(),
            parts: 0,
            around: 0,
        }
    }

    /// Takes what comes next off the front of `input`; none once all of it is taken.
    ///
    /// # Errors
    /// What is wrong with it; the same again if asked again.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<MultipartEvent>, MultipartError> {
        let next = self.advance(input);
        if let Err(error) = next {
            self.state = State::Failed(error);
        }
        next
    }

    /// Tells that nothing more comes.
    ///
    /// # Errors
    /// [`MultipartError::Incomplete`] if the last delimiter has not come.
    pub fn finish(&self) -> Result<(), MultipartError> {
        match self.state {
            State::Epilogue => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(MultipartError::Incomplete),
        }
    }

    fn advance(&mut self, input: &mut Bytes) -> Result<Option<MultipartEvent>, MultipartError> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        // A part may end without a further byte.
        while !input.is_empty() || self.state == State::PartEnd {
            match self.state {
                State::Preamble => {
                    let (before, found) = self.scan(input);
                    self.outside(before.len())?;
                    if found {
                        self.state = State::Delimiter;
                    }
                }
                State::Data => {
                    let (data, found) = self.scan(input);
                    if found {
                        self.state = State::PartEnd;
                    }
                    if !data.is_empty() {
                        return Ok(Some(MultipartEvent::Data(data)));
                    }
                }
                State::PartEnd => {
                    self.state = State::Delimiter;
                    return Ok(Some(MultipartEvent::PartEnd));
                }
                State::Head => {
                    if let Some(head) = self.take_head(input)? {
                        self.state = State::Data;
                        (self.matched, self.lent) = (2, 2);
                        return PartHead::parse(&head).map(|head| Some(MultipartEvent::Part(head)));
                    }
                }
                State::Epilogue => {
                    self.outside(input.len())?;
                    input.clear();
                }
                _ => {
                    self.state = self.after_delimiter(input.get_u8())?;
                    if self.state == State::Epilogue {
                        return Ok(Some(MultipartEvent::End));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes bytes up to the delimiter and it too; whether it was there. What may become one is kept
    /// back, as a number: the delimiter itself has the bytes.
    fn scan(&mut self, input: &mut Bytes) -> (Bytes, bool) {
        if self.matched > 0 {
            let due = self.delimiter.get(self.matched..).unwrap_or_default();
            let same = due.iter().zip(input.iter()).take_while(|(due, b)| due == b).count();
            if same == due.len() {
                input.advance(same);
                self.matched = 0;
                return (self.kept_back(0), true);
            }
            if same == input.len() {
                input.clear();
                self.matched += same;
                return (Bytes::new(), false);
            }
            // Without a CR in it, no delimiter begins within what was matched.
            let matched = std::mem::take(&mut self.matched);
            return (self.kept_back(matched), false);
        }
        if let Some(at) = self.finder.find(input) {
            let before = input.split_to(at);
            input.advance(self.delimiter.len());
            return (before, true);
        }
        let tail = input.len().saturating_sub(self.delimiter.len());
        let cr = memchr::memrchr(b'\r', input.get(tail..).unwrap_or_default());
        let end = cr.map(|cr| tail + cr).filter(|&at| {
            input.get(at..).is_some_and(|beginning| self.delimiter.starts_with(beginning))
        });
        let before = input.split_to(end.unwrap_or(input.len()));
        self.matched = input.len();
        input.clear();
        (before, false)
    }

    /// What was kept back, and turns out to be data; `matched` bytes that ended like a delimiter.
    fn kept_back(&mut self, matched: usize) -> Bytes {
        let lent = std::mem::take(&mut self.lent);
        if matched > lent { self.delimiter.slice(lent..matched) } else { Bytes::new() }
    }

    /// The state after `b`, a byte behind a boundary.
    fn after_delimiter(&mut self, b: u8) -> Result<State, MultipartError> {
        match (self.state, b) {
            (State::Delimiter, b'-') => Ok(State::Dash),
            (State::Dash, b'-') => Ok(State::Epilogue),
            (State::Delimiter | State::Padding(_), b'\r') => Ok(State::Lf),
            (State::Delimiter, b' ' | b'\t') => Ok(State::Padding(1)),
            (State::Padding(blanks @ ..MAX_PADDING), b' ' | b'\t') => {
                Ok(State::Padding(blanks + 1))
            }
            (State::Lf, b'\n') => {
                self.parts += 1;
                let few = self.parts <= self.limits.parts;
                few.then_some(State::Head).ok_or(MultipartError::TooManyParts)
            }
            _ => Err(MultipartError::Delimiter),
        }
    }

    /// Takes a head with its empty line, in one piece.
    fn take_head(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, MultipartError> {
        let held = self.head.len();
        let seen = input.len().min(self.limits.head_size.saturating_sub(held));
        let fresh = input.get(..seen).unwrap_or_default();
        if held > 0 {
            self.head.extend_from_slice(fresh);
        }
        let known = if held > 0 { &self.head[..] } else { fresh };
        let known_len = known.len();
        if let Some(end) = self.lines.find_end(known).map_err(|_| MultipartError::Head)? {
            self.lines = LineScan::default();
            if held == 0 {
                return Ok(Some(input.split_to(end)));
            }
            input.advance(end.saturating_sub(held));
            self.head.truncate(end);
            return Ok(Some(self.head.split().freeze()));
        }
        if known_len >= self.limits.head_size {
            return Err(MultipartError::HeadTooLarge);
        }
        if held == 0 {
            self.head.extend_from_slice(fresh);
        }
        input.advance(seen);
        Ok(None)
    }

    fn outside(&mut self, bytes: usize) -> Result<(), MultipartError> {
        self.around = self.around.saturating_add(bytes);
        if self.around > MAX_AROUND { Err(MultipartError::Around) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
