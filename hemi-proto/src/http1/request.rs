//! Request heads (RFC 9112 section 3, RFC 9110 section 7).

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, Version};

use super::fields::{ControlFields, Expectations, Once};
use super::head::{diagnose, with_slots};
use super::target::parse_authority;
use super::{BodyLength, HeadError, HeadLimits, Target, TargetForm};
use crate::authority::Authority;

/// A request head that has passed every check.
///
/// Target, authority and field values share one buffer, the bytes of the head.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method; unknown ones are extension methods.
    pub method: Method,
    /// The request target.
    pub target: Target,
    /// The effective authority: that of an absolute-form or authority-form target, else the Host
    /// field. `None` only for HTTP/1.0 without a Host field; an empty Host gives an empty one.
    pub authority: Option<Authority>,
    /// 1.0 or 1.1.
    pub version: Version,
    /// All fields in the order of their arrival. If the target carries an authority, Host has it.
    pub headers: HeaderMap,
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
            headers: HeaderMap::new(),
            framing: BodyLength::None,
            keep_alive: false,
            expect_continue: false,
            upgrade: false,
        }
    }
}

impl RequestHead {
    /// Lets go of the buffer that the values share, and keeps the memory of the map of fields.
    pub fn clear(&mut self) {
        self.target = Target::default();
        self.authority = None;
        self.headers.clear();
    }
}

/// Longer than any registered method (`UPDATEREDIRECTREF`) with room for private ones.
pub(super) const MAX_METHOD: usize = 64;

/// Parses the bytes of a complete head into `into`.
pub(super) fn parse(
    head: &Bytes,
    into: &mut RequestHead,
    limits: &HeadLimits,
) -> Result<(), HeadError> {
    with_slots(head, limits, |slots| {
        let mut request = httparse::Request::new(&mut []);
        request
            .parse_with_uninit_headers(head, slots)
            .map_err(|error| diagnose(head, error, HeadError::RequestLine))?;
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::RequestLine);
        };
        if method.len() > MAX_METHOD {
            return Err(HeadError::MethodTooLong);
        }
        if target.len() > limits.target_size {
            return Err(HeadError::TargetTooLong);
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::RequestLine)?;
        let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let (target, authority) = Target::parse(&method, head.slice_ref(target.as_bytes()))?;
        let mut fields = ControlFields::collect(head, request.headers, &mut into.headers)?;
        let host = check_host(std::mem::take(&mut fields.host), version)?;
        let framing = BodyLength::of_request(&method, version, &fields)?;
        let http11 = version == Version::HTTP_11;
        if http11 && fields.expect == Expectations::Unknown {
            return Err(HeadError::Expectation);
        }
        if let Some(authority) = &authority {
            let value = HeaderValue::from_maybe_shared(authority.bytes().clone())
                .map_err(|_| HeadError::MalformedAuthority)?;
            into.headers.try_insert(HOST, value).map_err(|_| HeadError::TooManyFields)?;
        }
        into.keep_alive = !fields.connection.close
            && (http11 || fields.connection.keep_alive)
            && target.form() != TargetForm::Authority;
        into.expect_continue =
            http11 && fields.expect == Expectations::Continue && !framing.is_empty();
        into.upgrade = http11 && fields.upgrade && fields.connection.upgrade;
        into.authority = authority.or(host);
        into.method = method;
        into.target = target;
        into.version = version;
        into.framing = framing;
        Ok(())
    })
}

/// RFC 9112 section 3.2: one valid Host field, which only HTTP/1.0 may omit.
fn check_host(host: Once<Bytes>, version: Version) -> Result<Option<Authority>, HeadError> {
    match host {
        Once::One(value) => parse_authority(value).map(Some),
        Once::Many => Err(HeadError::DuplicateHost),
        Once::Absent if version == Version::HTTP_10 => Ok(None),
        Once::Absent => Err(HeadError::MissingHost),
    }
}

#[cfg(test)]
mod tests;
