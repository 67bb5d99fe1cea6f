//! Finds heads in a read buffer, in one pass however slowly they arrive.

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use bytes::{Buf, BytesMut};
use http::Method;
use memchr::memchr;
use memchr::memmem::Finder;

use super::HeadError;
use super::lines::{BareLf, LineScan};
use super::request::{self, RequestHead};
use super::response::{self, ResponseHead};
use crate::ascii::{is_forbidden_control, is_token};

/// Limits on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the first line to the empty one; default 32 KiB. Beyond: 431.
    pub head_size: usize,
    /// Field lines; default 128. Beyond: 431.
    pub fields: usize,
    /// Bytes of the request target; default 8 KiB. Beyond: 414.
    pub target_size: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_size: 32 * 1024, fields: 128, target_size: 8 * 1024 }
    }
}

/// Takes heads off a read buffer, one after another.
///
/// It remembers how much of an incomplete head was seen, so bytes are scanned once, and it refuses
/// what can't become a head as soon as that shows. One value serves a connection for its whole
/// life; after an error the connection is to be closed.
#[derive(Clone, Debug, Default)]
pub struct HeadReader {
    lines: LineScan,
    /// Empty lines dropped before the first line.
    empty_lines: u8,
    /// Bytes of the incomplete head that [`check_partial`](Self::check_partial) has passed.
    judged: usize,
    first_line_checked: bool,
}

/// Robust servers skip "at least one" empty line (RFC 9112 section 2.2); no client needs three.
const MAX_EMPTY_LINES: u8 = 2;

/// Finds the end of a head that has come whole, as most do.
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// What a request line holds besides its target: method, two spaces, version, CRLF.
const REQUEST_LINE_REST: usize = request::MAX_METHOD + 12;

impl HeadReader {
    /// Takes a request head from the front of `buf` into `head`; `false` until it is complete.
    ///
    /// `buf` holds what was read so far and may only grow between calls that give `false`. What
    /// `head` held before is lost; after an error it holds nothing to rely on.
    pub fn read_request(
        &mut self,
        buf: &mut BytesMut,
        head: &mut RequestHead,
        limits: &HeadLimits,
    ) -> Result<bool, HeadError> {
        // Most heads come whole.
        if !self.is_midway() && request::take(buf, head, limits)? {
            return Ok(true);
        }
        let Some(mut bytes) = self.take_head(buf, limits, Kind::Request)? else { return Ok(false) };
        if request::take(&mut bytes, head, limits)? {
            return Ok(true);
        }
        Err(request::fault(&bytes, limits))
    }

    /// Takes a response head from the front of `buf`, or gives `None` until it is complete.
    ///
    /// `method` is that of the request being answered. Interim (1xx) responses come out like the
    /// others; the final one follows them. The buffer is handled as in
    /// [`read_request`](Self::read_request).
    pub fn read_response(
        &mut self,
        method: &Method,
        buf: &mut BytesMut,
        limits: &HeadLimits,
    ) -> Result<Option<ResponseHead>, HeadError> {
        // Most heads come whole.
        if !self.is_midway()
            && let Some(head) = response::take(method, buf, limits)?
        {
            return Ok(Some(head));
        }
        let Some(mut bytes) = self.take_head(buf, limits, Kind::Response)? else { return Ok(None) };
        match response::take(method, &mut bytes, limits)? {
            Some(head) => Ok(Some(head)),
            None => Err(response::fault(&bytes, limits)),
        }
    }

    /// Whether some bytes of a head have arrived, but not all.
    pub fn is_midway(&self) -> bool {
        self.lines.scanned() > 0 || self.empty_lines > 0
    }

    fn take_head(
        &mut self,
        buf: &mut BytesMut,
        limits: &HeadLimits,
        kind: Kind,
    ) -> Result<Option<BytesMut>, HeadError> {
        if buf.len() == self.lines.scanned() {
            return Ok(None);
        }
        while self.lines.complete() == 0 && buf.starts_with(b"\r\n") {
            if kind == Kind::Response || self.empty_lines == MAX_EMPTY_LINES {
                return Err(HeadError::EmptyLines);
            }
            buf.advance(2);
            self.lines = LineScan::default();
            self.empty_lines += 1;
        }
        let Some(end) = self.find_end(buf)? else {
            self.check_partial(buf, limits, kind)?;
            return Ok(None);
        };
        if end > limits.head_size {
            return Err(too_large(buf, limits, kind));
        }
        *self = Self::default();
        Ok(Some(buf.split_to(end)))
    }

    /// Where the head ends. That each of its lines ends with CRLF remains to be checked.
    fn find_end(&mut self, buf: &[u8]) -> Result<Option<usize>, HeadError> {
        if self.lines.scanned() == 0
            && let Some(at) = END.find(buf)
        {
            return Ok(Some(at + 4));
        }
        self.lines.find_end(buf).map_err(|BareLf| HeadError::BareLf)
    }

    /// Refuses early what further bytes can't mend, so that garbage is not waited on.
    #[cold]
    fn check_partial(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        kind: Kind,
    ) -> Result<(), HeadError> {
        // A CR that ended the bytes judged before is judged now.
        let unjudged = self.judged.saturating_sub(1);
        self.judged = buf.len();
        check_bytes(buf.get(unjudged..).unwrap_or_default())?;
        if kind == Kind::Request && buf.first().is_some_and(|&b| b != b'\r' && !is_token(b)) {
            return Err(HeadError::RequestLine);
        }
        let room = match (kind, self.lines.complete()) {
            (Kind::Request, 0) => first_line_room(limits).min(limits.head_size),
            _ => limits.head_size,
        };
        if buf.len() > room {
            return Err(too_large(buf, limits, kind));
        }
        if self.lines.complete() > limits.fields.saturating_add(1) {
            return Err(HeadError::TooManyFields);
        }
        if self.lines.complete() > 0 && !self.first_line_checked {
            self.first_line_checked = true;
            kind.check_first_line(buf, limits)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Response,
}

impl Kind {
    /// Judges the first line of a head whose rest is still to come.
    fn check_first_line(self, buf: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        let end = memchr(b'\n', buf).map_or(buf.len(), |at| at + 1);
        let line = buf.get(..end).unwrap_or_default();
        match self {
            Self::Request if end > first_line_room(limits) => Err(too_large(buf, limits, self)),
            Self::Request => httparse::Request::new(&mut [])
                .parse(line)
                .map(drop)
                .map_err(|error| diagnose(line, error, HeadError::RequestLine)),
            Self::Response => httparse::Response::new(&mut [])
                .parse(line)
                .map(drop)
                .map_err(|error| diagnose(line, error, HeadError::StatusLine)),
        }
    }
}

fn first_line_room(limits: &HeadLimits) -> usize {
    limits.target_size.saturating_add(REQUEST_LINE_REST)
}

/// Which limit a head that is too long has passed.
#[cold]
fn too_large(buf: &[u8], limits: &HeadLimits, kind: Kind) -> HeadError {
    let line_end = memchr(b'\n', buf).unwrap_or(buf.len());
    if kind == Kind::Response || line_end <= first_line_room(limits) {
        return HeadError::HeadTooLarge;
    }
    match memchr(b' ', buf) {
        Some(method_end) if method_end <= request::MAX_METHOD => HeadError::TargetTooLong,
        _ => HeadError::MethodTooLong,
    }
}

/// Lends room for the parsed fields of `head`, on the stack up to the default limit.
pub(super) fn with_slots<'head, T>(
    head: &[u8],
    limits: &HeadLimits,
    parse: impl FnOnce(&mut [MaybeUninit<httparse::Header<'head>>]) -> T,
) -> T {
    // Whatever the limit is: a head has fewer fields than bytes.
    let fields = limits.fields.min(head.len());
    let mut slots = [const { MaybeUninit::uninit() }; 128];
    match slots.get_mut(..fields) {
        Some(slots) => parse(slots),
        None => parse(&mut vec![MaybeUninit::uninit(); fields]),
    }
}

/// Finds control bytes, and a CR that something other than LF follows.
fn check_bytes(bytes: &[u8]) -> Result<(), HeadError> {
    let followers = bytes.iter().skip(1).map(Some).chain([None]);
    for (&b, follower) in bytes.iter().zip(followers) {
        match b {
            b'\r' if follower.is_some_and(|&next| next != b'\n') => return Err(HeadError::BareCr),
            b'\r' | b'\n' => {}
            _ if is_forbidden_control(b) => return Err(HeadError::ControlByte),
            _ => {}
        }
    }
    Ok(())
}

/// Checks that each line of `head` ends with CRLF, for httparse, which has `read` these `fields` of it,
/// takes LF alone for the end of a line as well.
pub(super) fn check_line_ends(
    head: &[u8],
    read: httparse::Status<usize>,
    fields: &[httparse::Header<'_>],
) -> Result<(), HeadError> {
    // The last line is followed by the empty one that the head was found by.
    let all = read == httparse::Status::Complete(head.len()) && head.first() != Some(&b'\n');
    let after_crlf = |field: &httparse::Header<'_>| {
        let at = field.name.as_ptr().addr() - head.as_ptr().addr();
        head.get(at - 2..at) == Some(b"\r\n")
    };
    if all && fields.iter().all(after_crlf) { Ok(()) } else { Err(HeadError::BareLf) }
}

/// Names the fault that httparse found in `head`, looking closer where its word is too coarse.
#[cold]
pub(super) fn diagnose(head: &[u8], error: httparse::Error, first_line: HeadError) -> HeadError {
    if LineScan::default().find_end(head).is_err() {
        return HeadError::BareLf;
    }
    if let Err(fault) = check_bytes(head) {
        return fault;
    }
    match error {
        httparse::Error::HeaderName => diagnose_field_name(head),
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Status => HeadError::StatusLine,
        httparse::Error::Version => diagnose_version(head, first_line),
        httparse::Error::Token | httparse::Error::NewLine => first_line,
    }
}

fn diagnose_version(head: &[u8], first_line: HeadError) -> HeadError {
    let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&b| b == b' ');
    // A response starts with its version, a request ends with it.
    let version = match words.next() {
        Some(first) if first.starts_with(b"HTTP/") => first,
        _ => words.next_back().unwrap_or_default(),
    };
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => first_line,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            HeadError::UnsupportedVersion
        }
        _ => HeadError::MalformedVersion,
    }
}

fn diagnose_field_name(head: &[u8]) -> HeadError {
    for line in head.split(|&b| b == b'\n').skip(1) {
        let name = line.split(|&b| b == b':').next().unwrap_or_default();
        match name {
            [b' ' | b'\t', ..] => return HeadError::FoldedLine,
            [.., b' ' | b'\t'] if name.len() < line.len() => return HeadError::SpaceBeforeColon,
            _ => {}
        }
    }
    HeadError::FieldName
}
