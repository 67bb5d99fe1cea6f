//! Moves parsed field lines into a `HeaderMap`, noting on the way those that steer the connection.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, UPGRADE,
};

use super::HeadError;
use crate::ascii::{list_elements, trim_ows};

/// The fields that decide about framing, routing and the connection, as they were sent.
#[derive(Debug, Default)]
pub(super) struct ControlFields<'head> {
    pub(super) host: Once<&'head [u8]>,
    pub(super) content_length: Once<&'head [u8]>,
    pub(super) transfer_encoding: Once<&'head [u8]>,
    pub(super) connection: ConnectionTokens,
    /// An Upgrade field is present.
    pub(super) upgrade: bool,
    pub(super) expect: Expectations,
}

/// A field that may be sent once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Once<T> {
    #[default]
    Absent,
    One(T),
    Many,
}

impl<T> Once<T> {
    fn note(&mut self, value: T) {
        *self = match self {
            Self::Absent => Self::One(value),
            Self::One(_) | Self::Many => Self::Many,
        };
    }
}

/// The options of all Connection lines that matter here.
#[derive(Debug, Default)]
pub(super) struct ConnectionTokens {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

/// What all Expect lines ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Expectations {
    #[default]
    None,
    Continue,
    Unknown,
}

impl<'head> ControlFields<'head> {
    /// Takes what matters of a field; returns its name, if it is one of those that may matter.
    pub(super) fn note(
        &mut self,
        name: &[u8],
        value: &'head [u8],
    ) -> Result<Option<HeaderName>, HeadError> {
        // The length tells most names apart without looking at them.
        Ok(Some(match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.host.note(value);
                HOST
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expect.note(value);
                EXPECT
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                UPGRADE
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection.note(value);
                CONNECTION
            }
            14 if imitates(name, b"content-length") => {
                if name.contains(&b'_') {
                    return Err(HeadError::DisguisedFraming);
                }
                self.content_length.note(value);
                CONTENT_LENGTH
            }
            17 if imitates(name, b"transfer-encoding") => {
                if name.contains(&b'_') {
                    return Err(HeadError::DisguisedFraming);
                }
                self.transfer_encoding.note(value);
                TRANSFER_ENCODING
            }
            _ => return Ok(None),
        }))
    }
}

impl ConnectionTokens {
    fn note(&mut self, value: &[u8]) {
        for option in list_elements(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

impl Expectations {
    fn note(&mut self, value: &[u8]) {
        for expectation in list_elements(value) {
            if !trim_ows(expectation).eq_ignore_ascii_case(b"100-continue") {
                *self = Self::Unknown;
            } else if *self == Self::None {
                *self = Self::Continue;
            }
        }
    }
}

/// Appends a field whose name and value httparse has accepted.
pub(crate) fn append(headers: &mut HeaderMap, name: &str, value: Bytes) -> Result<(), HeadError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeadError::FieldName)?;
    append_named(headers, name, value)
}

fn append_named(headers: &mut HeaderMap, name: HeaderName, value: Bytes) -> Result<(), HeadError> {
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| HeadError::FieldValue)?;
    headers.try_append(name, value).map_err(|_| HeadError::TooManyFields)?;
    Ok(())
}

/// Whether `name` reads as `reserved` to a peer that maps `_` to `-`, as CGI does.
fn imitates(name: &[u8], reserved: &[u8]) -> bool {
    name.iter().zip(reserved).all(|(&sent, reserved)| {
        let sent = if sent == b'_' { b'-' } else { sent.to_ascii_lowercase() };
        sent == *reserved
    })
}
