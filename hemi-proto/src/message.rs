//! Messages of HTTP/2 and HTTP/3: pseudo-fields and fields, as HPACK and QPACK give them, become heads
//! (RFC 9113 sections 8.2 and 8.3, RFC 9114 sections 4.2 to 4.4).
//!
//! [`RequestReader`] takes field lines one by one and makes the same [`RequestHead`] of them that HTTP/1 has.
//! It goes on after a fault, for the state of the compression has to follow all lines.

pub use self::error::{Malformed, MessageError};
pub use self::name::{FieldName, Pseudo};
pub use self::trailers::TrailerReader;

mod error;
mod name;
mod trailers;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Version};

use crate::ascii::parse_decimal;
use crate::authority::Authority;
use crate::http1::{BodyLength, HeadError, HeadLimits, RequestHead, Target};

/// What each line counts for besides its bytes (RFC 9113 section 10.5.1).
pub const LINE_OVERHEAD: usize = 32;

/// Longer than any registered method, with room for private ones.
const MAX_METHOD: usize = 64;

/// Whether content follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The stream ends with the head.
    None,
    /// It may follow.
    Follows,
}

/// Makes a request's head of its field lines.
#[derive(Debug, Default)]
pub struct RequestReader {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
    host: Option<Bytes>,
    /// Crumbs of cookies (RFC 9113 section 8.2.3).
    cookies: Vec<Bytes>,
    content_length: Option<u64>,
    expects: bool,
    /// A field has come, so no pseudo-field may.
    in_fields: bool,
    lines: usize,
    size: usize,
    fault: Option<MessageError>,
}

impl RequestReader {
    /// Takes the next line. What is wrong with it is told by [`finish`](Self::finish).
    pub fn line(
        &mut self,
        name: &FieldName,
        value: Bytes,
        head: &mut RequestHead,
        limits: &HeadLimits,
    ) {
        if self.lines == 0 && !head.headers.is_empty() {
            head.headers.clear();
        }
        self.lines += 1;
        // Once it is too large, nothing of it is kept.
        if matches!(self.fault, Some(MessageError::Refused(_))) {
            return;
        }
        self.size = self.size.saturating_add(name.len() + value.len() + LINE_OVERHEAD);
        let taken = if self.size > limits.head_size {
            Err(HeadError::HeadTooLarge.into())
        } else {
            match name {
                FieldName::Pseudo(pseudo) => self.pseudo(*pseudo, value),
                FieldName::Field(name) => self.field(name, value, head, limits),
                FieldName::Invalid { .. } => Err(Malformed::FieldName.into()),
            }
        };
        if let Err(fault) = taken {
            self.fault.get_or_insert(fault);
        }
    }

    /// The bytes of all lines, each with [`LINE_OVERHEAD`].
    pub fn size(&self) -> usize {
        self.size
    }

    /// Completes `head`, which has been given to [`line`](Self::line), after the last line.
    ///
    /// An extended CONNECT (RFC 8441 section 4, RFC 9220) becomes a GET that asks to upgrade to its protocol,
    /// as HTTP/1 has it. After an error `head` holds nothing to rely on.
    pub fn finish(
        self,
        head: &mut RequestHead,
        limits: &HeadLimits,
        version: Version,
        content: Content,
    ) -> Result<(), MessageError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let method = self.method.ok_or(Malformed::MissingPseudo)?;
        if method.len() > MAX_METHOD {
            return Err(HeadError::MethodTooLong.into());
        }
        head.method = Method::from_bytes(&method).map_err(|_| Malformed::Method)?;
        head.version = version;
        head.keep_alive = true;
        head.upgrade = false;
        head.framing = framing(self.content_length, content)?;
        head.expect_continue = self.expects && !head.framing.is_empty();
        let connects = head.method == Method::CONNECT;
        if let Some(protocol) = self.protocol {
            if !connects {
                return Err(Malformed::Protocol.into());
            }
            offer_upgrade(head, protocol)?;
        } else if connects {
            if self.scheme.is_some() || self.path.is_some() {
                return Err(Malformed::Connect.into());
            }
            let authority = self.authority.ok_or(Malformed::MissingPseudo)?;
            (head.target, head.authority) = Target::parse(&head.method, authority)?;
            return Ok(());
        }
        let (Some(scheme), Some(path)) = (self.scheme, self.path) else {
            return Err(Malformed::MissingPseudo.into());
        };
        if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
            return Err(HeadError::MalformedTarget.into());
        }
        put_authority(head, self.authority, self.host)?;
        head.target = parse_path(&head.method, path, limits)?;
        put_cookies(head, self.cookies)
    }

    fn pseudo(&mut self, pseudo: Pseudo, value: Bytes) -> Result<(), MessageError> {
        if self.in_fields {
            return Err(Malformed::LatePseudo.into());
        }
        let slot = match pseudo {
            Pseudo::Method => &mut self.method,
            Pseudo::Scheme => &mut self.scheme,
            Pseudo::Authority => &mut self.authority,
            Pseudo::Path => &mut self.path,
            Pseudo::Protocol => &mut self.protocol,
            Pseudo::Status => return Err(Malformed::UnknownPseudo.into()),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(Malformed::RepeatedPseudo.into()),
        }
    }

    fn field(
        &mut self,
        name: &HeaderName,
        value: Bytes,
        head: &mut RequestHead,
        limits: &HeadLimits,
    ) -> Result<(), MessageError> {
        self.in_fields = true;
        check_value(&value)?;
        match *name {
            COOKIE if self.cookies.len() < limits.fields => {
                self.cookies.push(value);
                return Ok(());
            }
            COOKIE => return Err(HeadError::TooManyFields.into()),
            HOST => {
                return match self.host.replace(value) {
                    None => Ok(()),
                    Some(_) => Err(HeadError::DuplicateHost.into()),
                };
            }
            CONTENT_LENGTH => {
                let length = parse_decimal(&value).ok_or(Malformed::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(Malformed::ContentLength.into());
                }
            }
            TE if !value.eq_ignore_ascii_case(b"trailers") => return Err(Malformed::Te.into()),
            EXPECT if value.eq_ignore_ascii_case(b"100-continue") => self.expects = true,
            EXPECT => return Err(HeadError::Expectation.into()),
            _ => check_name(name)?,
        }
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::FieldValue)?;
        if head.headers.len() >= limits.fields {
            return Err(HeadError::TooManyFields.into());
        }
        head.headers.try_append(name, value).map_err(|_| HeadError::TooManyFields)?;
        Ok(())
    }
}

/// RFC 9113 section 8.1.1: a length that no content can have is a fault of the message.
fn framing(length: Option<u64>, content: Content) -> Result<BodyLength, Malformed> {
    match (length, content) {
        (None, Content::None) => Ok(BodyLength::None),
        (Some(0), Content::None) => Ok(BodyLength::Sized(0)),
        (Some(_), Content::None) => Err(Malformed::ContentLength),
        (Some(length), Content::Follows) => Ok(BodyLength::Sized(length)),
        (None, Content::Follows) => Ok(BodyLength::Chunked),
    }
}

/// Whether a message may have a field of this name, if it is about the message alone (RFC 9113 section
/// 8.2.2), and does not pass for another where `_` is read as `-`.
fn check_name(name: &HeaderName) -> Result<(), Malformed> {
    match name.as_str() {
        "keep-alive" | "proxy-connection" => Err(Malformed::ConnectionField),
        "content_length" | "transfer_encoding" => Err(Malformed::FieldName),
        _ if matches!(*name, CONNECTION | TRANSFER_ENCODING | UPGRADE) => {
            Err(Malformed::ConnectionField)
        }
        _ => Ok(()),
    }
}

/// White space at an end of a value; forbidden bytes are found by who makes a `HeaderValue` of it.
fn check_value(value: &[u8]) -> Result<(), Malformed> {
    let is_space = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    if is_space(value.first()) || is_space(value.last()) {
        return Err(Malformed::FieldValue);
    }
    Ok(())
}

fn offer_upgrade(head: &mut RequestHead, protocol: Bytes) -> Result<(), MessageError> {
    let value = HeaderValue::from_maybe_shared(protocol).map_err(|_| Malformed::Protocol)?;
    head.headers.try_insert(UPGRADE, value).map_err(|_| HeadError::TooManyFields)?;
    head.method = Method::GET;
    head.upgrade = true;
    // What follows are bytes of that protocol.
    head.framing = BodyLength::None;
    head.expect_continue = false;
    Ok(())
}

/// RFC 9113 section 8.3.1: the authority, or else the Host field; both only if they are the same.
fn put_authority(
    head: &mut RequestHead,
    authority: Option<Bytes>,
    host: Option<Bytes>,
) -> Result<(), MessageError> {
    let parse = |text| Authority::parse(text).map_err(|_| HeadError::MalformedAuthority);
    let text = match (authority, host) {
        (Some(text), None) | (None, Some(text)) => text,
        (Some(text), Some(host)) if text == host => text,
        (Some(text), Some(host)) => {
            if parse(text.clone())? != parse(host)? {
                return Err(Malformed::HostConflict.into());
            }
            text
        }
        (None, None) => return Err(HeadError::MissingHost.into()),
    };
    // The same as that of the request before, most often.
    if head.authority.as_ref().is_none_or(|known| *known.bytes() != text) {
        head.authority = None;
        let authority = parse(Bytes::copy_from_slice(&text))?;
        if authority.is_empty() {
            return Err(HeadError::MalformedAuthority.into());
        }
        head.authority = Some(authority);
    }
    let known = head.authority.as_ref().map(|authority| authority.bytes().clone());
    let value = HeaderValue::from_maybe_shared(known.unwrap_or_default())
        .map_err(|_| HeadError::MalformedAuthority)?;
    head.headers.try_insert(HOST, value).map_err(|_| HeadError::TooManyFields)?;
    Ok(())
}

fn parse_path(method: &Method, path: Bytes, limits: &HeadLimits) -> Result<Target, MessageError> {
    if path.len() > limits.target_size {
        return Err(HeadError::TargetTooLong.into());
    }
    // Neither empty nor with an authority: RFC 9113 section 8.3.1.
    if !matches!(path.first(), Some(b'/' | b'*')) {
        return Err(Malformed::Path.into());
    }
    let (target, _) = Target::parse(method, path)?;
    Ok(target)
}

/// The crumbs of cookies as one field (RFC 9113 section 8.2.3).
fn put_cookies(head: &mut RequestHead, mut crumbs: Vec<Bytes>) -> Result<(), MessageError> {
    let joined = match crumbs.len() {
        0 => return Ok(()),
        1 => crumbs.pop().unwrap_or_default(),
        _ => crumbs.join(&b"; "[..]).into(),
    };
    let value = HeaderValue::from_maybe_shared(joined).map_err(|_| Malformed::FieldValue)?;
    head.headers.try_insert(COOKIE, value).map_err(|_| HeadError::TooManyFields)?;
    Ok(())
}

#[cfg(test)]
mod tests;
