//! Messages of HTTP/2 and HTTP/3: pseudo-fields and fields, as HPACK and QPACK give them, become heads
//! (RFC 9113 sections 8.2 and 8.3, RFC 9114 sections 4.2 to 4.4).
//!
//! [`RequestReader`] takes field lines one by one and makes the same [`RequestHead`] of them that HTTP/1 has.
//! It goes on after a fault, for the state of the compression has to follow all lines.

pub use self::error::{Malformed, MessageError};
pub use self::name::{FieldName, Pseudo};
pub use self::response::{ResponseFields, ResponseReader};
pub use self::trailers::TrailerReader;

mod error;
mod name;
mod response;
mod trailers;

use bytes::{Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Version};

use crate::ascii::{is_forbidden_control, parse_decimal};
use crate::authority::Authority;
use crate::fields::Names;
use crate::http1::{BodyLength, HeadError, HeadLimits, RequestHead};

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
    /// Fields as HTTP/1 has them: most requests are answered after a look for one or two.
    fields: BytesMut,
    names: Names,
    count: usize,
    /// A field has come, so no pseudo-field may.
    in_fields: bool,
    size: usize,
    fault: Option<MessageError>,
}

impl RequestReader {
    /// A reader that takes memory for fields from `buffer`.
    #[must_use]
    pub fn in_buffer(buffer: BytesMut) -> Self {
        Self { fields: buffer, ..Self::default() }
    }

    /// The memory that is left, without what was taken of a request that is refused.
    #[must_use]
    pub fn into_buffer(mut self) -> BytesMut {
        self.fields.clear();
        self.fields
    }

    /// Takes the next line. What is wrong with it is told by [`finish`](Self::finish).
    pub fn line(&mut self, name: &FieldName, value: Bytes, limits: &HeadLimits) {
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
                FieldName::Field(name) => self.field(name, value, limits),
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

    /// Completes `head` after the last line. What it held before is lost, but for an authority that is the same.
    ///
    /// An extended CONNECT (RFC 8441 section 4, RFC 9220) becomes a GET that asks to upgrade to its protocol,
    /// as HTTP/1 has it. After an error `head` holds nothing to rely on.
    pub fn finish(
        &mut self,
        head: &mut RequestHead,
        limits: &HeadLimits,
        version: Version,
        content: Content,
    ) -> Result<(), MessageError> {
        head.headers.clear();
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let method = self.method.take().ok_or(Malformed::MissingPseudo)?;
        if method.len() > MAX_METHOD {
            return Err(HeadError::MethodTooLong.into());
        }
        // Most often it is that of the request before.
        if head.method.as_str().as_bytes() != method {
            head.method = Method::from_bytes(&method).map_err(|_| Malformed::Method)?;
        }
        head.version = version;
        head.keep_alive = true;
        head.upgrade = false;
        head.framing = framing(self.content_length, content)?;
        head.expect_continue = self.expects && !head.framing.is_empty();
        let connects = head.method == Method::CONNECT;
        if let Some(protocol) = self.protocol.take() {
            if !connects {
                return Err(Malformed::Protocol.into());
            }
            self.offer_upgrade(head, &protocol)?;
        } else if connects {
            if self.scheme.is_some() || self.path.is_some() {
                return Err(Malformed::Connect.into());
            }
            let authority = self.authority.take().ok_or(Malformed::MissingPseudo)?;
            let whole = 0..authority.len();
            head.authority = head.target.read(&head.method, authority, whole)?;
            // What follows are bytes of a tunnel, if there is one.
            head.upgrade = true;
            head.framing = BodyLength::None;
            head.expect_continue = false;
            self.put_cookies();
            head.headers.set_lines(self.fields.split().freeze(), self.count, self.names);
            return Ok(());
        }
        let (Some(scheme), Some(path)) = (self.scheme.take(), self.path.take()) else {
            return Err(Malformed::MissingPseudo.into());
        };
        if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
            return Err(HeadError::MalformedTarget.into());
        }
        self.put_authority(head)?;
        read_path(head, path, limits)?;
        self.put_cookies();
        head.headers.set_lines(self.fields.split().freeze(), self.count, self.names);
        Ok(())
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
        if self.count >= limits.fields {
            return Err(HeadError::TooManyFields.into());
        }
        self.put(name, &[&value]);
        Ok(())
    }

    /// Puts a field, whose value is made of these parts.
    fn put(&mut self, name: &HeaderName, parts: &[&[u8]]) {
        let name = name.as_str().as_bytes();
        let len = name.len() + parts.iter().map(|part| part.len()).sum::<usize>() + 4;
        if self.fields.capacity() - self.fields.len() < len {
            self.fields.reserve(len.max(BLOCK));
        }
        self.count += 1;
        self.names.note(name);
        self.fields.extend_from_slice(name);
        self.fields.extend_from_slice(b": ");
        parts.iter().for_each(|part| self.fields.extend_from_slice(part));
        self.fields.extend_from_slice(b"\r\n");
    }

    fn offer_upgrade(
        &mut self,
        head: &mut RequestHead,
        protocol: &[u8],
    ) -> Result<(), MessageError> {
        check_value(protocol).map_err(|_| Malformed::Protocol)?;
        self.put(&UPGRADE, &[protocol]);
        head.method = Method::GET;
        head.upgrade = true;
        // What follows are bytes of that protocol.
        head.framing = BodyLength::None;
        head.expect_continue = false;
        Ok(())
    }

    /// RFC 9113 section 8.3.1: the authority, or else the Host field; both only if they are the same.
    fn put_authority(&mut self, head: &mut RequestHead) -> Result<(), MessageError> {
        let parse = |text| Authority::parse(text).map_err(|_| HeadError::MalformedAuthority);
        let text = match (self.authority.take(), self.host.take()) {
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
        if let Some(authority) = &head.authority {
            self.put(&HOST, &[authority.bytes()]);
        }
        Ok(())
    }

    /// The crumbs of cookies as one field (RFC 9113 section 8.2.3).
    fn put_cookies(&mut self) {
        let crumbs = std::mem::take(&mut self.cookies);
        if let Some((last, others)) = crumbs.split_last() {
            let others = others.iter().flat_map(|crumb| [&crumb[..], b"; "]);
            let parts: Vec<&[u8]> = others.chain([&last[..]]).collect();
            self.put(&COOKIE, &parts);
        }
    }
}

/// Memory for fields is allocated by this much, for those of a few requests.
const BLOCK: usize = 512;

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

/// No control byte, nor white space at an end (RFC 9113 section 8.2.1).
fn check_value(value: &[u8]) -> Result<(), Malformed> {
    let is_space = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    let is_bad = value.iter().fold(false, |bad, &b| bad | is_forbidden_control(b));
    if is_bad || is_space(value.first()) || is_space(value.last()) {
        return Err(Malformed::FieldValue);
    }
    Ok(())
}

fn read_path(head: &mut RequestHead, path: Bytes, limits: &HeadLimits) -> Result<(), MessageError> {
    if path.len() > limits.target_size {
        return Err(HeadError::TargetTooLong.into());
    }
    // Neither empty nor with an authority: RFC 9113 section 8.3.1.
    if !matches!(path.first(), Some(b'/' | b'*')) {
        return Err(Malformed::Path.into());
    }
    let whole = 0..path.len();
    let read = head.target.read(&head.method, path, whole);
    if read.is_err() {
        head.target.show_refused();
    }
    read?;
    Ok(())
}

#[cfg(test)]
mod tests;
