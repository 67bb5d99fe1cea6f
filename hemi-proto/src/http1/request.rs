//! Request heads (RFC 9112 section 3, RFC 9110 section 7).

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderValue};
use http::{Method, Version};

use super::fields::{ControlFields, Expectations, Once};
use super::head::{check_line_ends, diagnose, with_slots};
use super::scan::{Scanned, ScannedFields, scan};
use super::target::parse_authority;
use super::{BodyLength, HeadError, HeadLimits, Target, TargetForm};
use crate::authority::Authority;
use crate::fields::Fields;

/// A request head that has passed every check.
///
/// Target and field values share one buffer, the bytes of the head.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method; unknown ones are extension methods.
    pub method: Method,
    /// The request target.
    pub target: Target,
    /// The effective authority: that of an absolute-form or authority-form target, else the Host
    /// field. `None` only for HTTP/1.0 without a Host field; an empty Host gives an empty one.
    pub authority: Option<Authority>,
    /// 1.0 or 1.1; 2 or 3 if it came as a [message](crate::message) of theirs.
    pub version: Version,
    /// All fields in the order of their arrival. If the target carries an authority, Host has it.
    pub headers: Fields,
    /// How the content is framed.
    pub framing: BodyLength,
    /// Whether the client wants to send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for a 100 response before it sends the content.
    pub expect_continue: bool,
    /// Whether the client offers the protocols in its Upgrade field.
    pub upgrade: bool,
}

impl Default for RequestHead {
    /// An empty head, to be read into.
    fn default() -> Self {
        Self {
            method: Method::GET,
            target: Target::default(),
            authority: None,
            version: Version::HTTP_11,
            headers: Fields::default(),
            framing: BodyLength::None,
            keep_alive: false,
            expect_continue: false,
            upgrade: false,
        }
    }
}

impl RequestHead {
    /// Lets go of the buffer that the values share. The authority is kept, which the next request of a
    /// connection most likely has too.
    pub fn clear(&mut self) {
        self.target = Target::default();
        self.authority.take_if(|authority| authority.bytes().len() > KEPT_AUTHORITY);
        self.headers.clear();
    }
}

/// As long as a name of the DNS (RFC 1035 section 2.3.4) with a port. What is longer is not worth keeping.
const KEPT_AUTHORITY: usize = 255 + 6;

/// Longer than any registered method (`UPDATEREDIRECTREF`) with room for private ones.
pub(super) const MAX_METHOD: usize = 64;

/// Takes the head that `buf` starts with; `false` if [`scan`] has not found it to be whole and good.
pub(super) fn take(
    buf: &mut BytesMut,
    into: &mut RequestHead,
    limits: &HeadLimits,
) -> Result<bool, HeadError> {
    let Some(scanned) = scan(buf, limits) else { return Ok(false) };
    let Scanned { method, target, version, fields } = scanned;
    let ScannedFields { control, names, lines, count, end } = fields;
    // Most often it is that of the request before.
    if into.method.as_str().as_bytes() != method {
        into.method = Method::from_bytes(method).map_err(|_| HeadError::RequestLine)?;
    }
    into.version = version;
    check_host(control.host, version, &mut into.authority)?;
    into.framing = BodyLength::of_request(&into.method, version, &control)?;
    let http11 = version == Version::HTTP_11;
    if http11 && control.expect == Expectations::Unknown {
        return Err(HeadError::Expectation);
    }
    into.keep_alive = !control.connection.close && (http11 || control.connection.keep_alive);
    into.expect_continue =
        http11 && control.expect == Expectations::Continue && !into.framing.is_empty();
    into.upgrade = http11 && control.upgrade && control.connection.upgrade;
    let head = buf.split_to(end).freeze();
    into.headers.set_lines(head.slice(lines), count, names);
    let read = into.target.read(&into.method, head, target);
    if read.is_err() {
        into.target.show_refused();
    }
    if let Some(authority) = read? {
        let value = HeaderValue::from_maybe_shared(authority.bytes().clone())
            .map_err(|_| HeadError::MalformedAuthority)?;
        into.headers.try_insert(HOST, value).map_err(|_| HeadError::TooManyFields)?;
        into.authority = Some(authority);
    }
    into.keep_alive &= into.target.form() != TargetForm::Authority;
    Ok(true)
}

/// Names what [`scan`] has found to be wrong with a whole head.
#[cold]
pub(super) fn fault(head: &[u8], limits: &HeadLimits) -> HeadError {
    let fault = with_slots(head, limits, |slots| {
        let mut request = httparse::Request::new(&mut []);
        let read = request
            .parse_with_uninit_headers(head, slots)
            .map_err(|error| diagnose(head, error, HeadError::RequestLine))?;
        check_line_ends(head, read, request.headers)?;
        if request.method.is_some_and(|method| method.len() > MAX_METHOD) {
            return Err(HeadError::MethodTooLong);
        }
        if request.path.is_some_and(|target| target.len() > limits.target_size) {
            return Err(HeadError::TargetTooLong);
        }
        let mut control = ControlFields::default();
        request
            .headers
            .iter()
            .try_for_each(|field| control.note(field.name.as_bytes(), field.value).map(drop))
    });
    fault.err().unwrap_or(HeadError::RequestLine)
}

/// RFC 9112 section 3.2: one valid Host field, which only HTTP/1.0 may omit.
fn check_host(
    host: Once<&[u8]>,
    version: Version,
    authority: &mut Option<Authority>,
) -> Result<(), HeadError> {
    match host {
        // The same as that of the request before.
        Once::One(host) if authority.as_ref().is_some_and(|known| *known.bytes() == host) => {}
        // A copy, for it is to outlive the head.
        Once::One(host) => *authority = Some(parse_authority(Bytes::copy_from_slice(host))?),
        Once::Many => return Err(HeadError::DuplicateHost),
        Once::Absent if version == Version::HTTP_10 => *authority = None,
        Once::Absent => return Err(HeadError::MissingHost),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
