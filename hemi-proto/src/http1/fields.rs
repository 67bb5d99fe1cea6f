//! Moves parsed field lines into a `HeaderMap`, noting on the way those that steer the connection.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::HeadError;
use crate::ascii::{list_elements, trim_ows};

/// The fields that decide about framing, routing and the connection, as they were sent.
#[derive(Debug, Default)]
pub(super) struct ControlFields {
    pub(super) host: Once<Bytes>,
    pub(super) content_length: Once<Bytes>,
    pub(super) transfer_encoding: Once<Bytes>,
    pub(super) connection: ConnectionTokens,
    /// An Upgrade field is present.
    pub(super) upgrade: bool,
    pub(super) expect: Expectations,
}

/// A field that may be sent once.
#[derive(Debug, Default)]
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

impl ControlFields {
    /// Fills `headers` from `parsed`, whose slices lie in `head`, and notes the control fields.
    pub(super) fn collect(
        head: &Bytes,
        parsed: &[httparse::Header<'_>],
        headers: &mut HeaderMap,
    ) -> Result<Self, HeadError> {
        let mut fields = Self::default();
        headers.clear();
        for field in parsed {
            let value = head.slice_ref(field.value);
            fields.note(field.name, &value)?;
            append(headers, field.name, value)?;
        }
        Ok(fields)
    }

    fn note(&mut self, name: &str, value: &Bytes) -> Result<(), HeadError> {
        // The length tells most names apart without looking at them.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.host.note(value.clone()),
            6 if name.eq_ignore_ascii_case("expect") => self.expect.note(value),
            7 if name.eq_ignore_ascii_case("upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case("connection") => self.connection.note(value),
            14 if imitates(name, "content-length") => {
                if name.contains('_') {
                    return Err(HeadError::DisguisedFraming);
                }
                self.content_length.note(value.clone());
            }
            17 if imitates(name, "transfer-encoding") => {
                if name.contains('_') {
                    return Err(HeadError::DisguisedFraming);
                }
                self.transfer_encoding.note(value.clone());
            }
            _ => {}
        }
        Ok(())
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
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| HeadError::FieldValue)?;
    headers.try_append(name, value).map_err(|_| HeadError::TooManyFields)?;
    Ok(())
}

/// Whether `name` reads as `reserved` to a peer that maps `_` to `-`, as CGI does.
fn imitates(name: &str, reserved: &str) -> bool {
    name.bytes().zip(reserved.bytes()).all(|(sent, reserved)| {
        let sent = if sent == b'_' { b'-' } else { sent.to_ascii_lowercase() };
        sent == reserved
    })
}
