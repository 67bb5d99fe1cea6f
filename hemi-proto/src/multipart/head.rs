//! The head of a part: its name, that of a file, and its fields.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, HeaderValue};

use super::MultipartError;
use crate::ascii::hex_value;
use crate::http1::append;
use crate::params;

const MAX_FIELDS: usize = 32;

/// The head of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// The name of the form's field.
    pub name: String,
    /// The name of the file as the client knows it, if the part is a file: maybe empty, maybe with a path
    /// or worse. See [`file_name`](Self::file_name).
    pub filename: Option<String>,
    /// All fields.
    pub headers: HeaderMap,
}

impl PartHead {
    /// The value of its Content-Type field.
    pub fn content_type(&self) -> Option<&HeaderValue> {
        self.headers.get(CONTENT_TYPE)
    }

    /// The last component of the file's name without control characters, which names a file in whatever
    /// directory it is put in; none if nothing is left, or for a part that is no file.
    pub fn file_name(&self) -> Option<Cow<'_, str>> {
        let last = self.filename.as_ref()?.rsplit(['/', '\\']).next()?;
        let name = match last.contains(char::is_control) {
            true => last.replace(char::is_control, "").into(),
            false => Cow::Borrowed(last),
        };
        (!matches!(&*name, "" | "." | "..")).then_some(name)
    }

    /// Parses a head that ends with its empty line.
    pub(super) fn parse(head: &Bytes) -> Result<Self, MultipartError> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let parsed = match httparse::parse_headers(head, &mut slots) {
            Ok(httparse::Status::Complete((_, parsed))) => parsed,
            Err(httparse::Error::TooManyHeaders) => return Err(MultipartError::HeadTooLarge),
            Ok(httparse::Status::Partial) | Err(_) => return Err(MultipartError::Head),
        };
        let mut headers = HeaderMap::with_capacity(parsed.len());
        for field in parsed {
            append(&mut headers, field.name, head.slice_ref(field.value))
                .map_err(|_| MultipartError::Head)?;
        }
        let (name, filename) = disposition(&headers).ok_or(MultipartError::Disposition)?;
        match headers.get(TRANSFER_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
            None => {}
            Some(coding) if matches!(&coding[..], b"7bit" | b"8bit" | b"binary") => {}
            Some(_) => return Err(MultipartError::TransferEncoding),
        }
        Ok(Self { name, filename, headers })
    }
}

const TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");

/// The names in the one Content-Disposition field. That of a file in RFC 8187's form comes first
/// (RFC 6266 section 4.3), though RFC 7578 section 4.2 tells not to send it.
fn disposition(headers: &HeaderMap) -> Option<(String, Option<String>)> {
    let mut values = headers.get_all(CONTENT_DISPOSITION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (kind, params) = params::split(value.as_bytes());
    if !kind.eq_ignore_ascii_case(b"form-data") {
        return None;
    }
    let (mut name, mut filename, mut extended) = (None, None, None);
    for param in params {
        let (param, value) = param.ok()?;
        let known = match param.to_ascii_lowercase().as_slice() {
            b"name" => &mut name,
            b"filename" => &mut filename,
            b"filename*" => &mut extended,
            _ => continue,
        };
        if known.replace(value).is_some() {
            return None;
        }
    }
    let filename = match (extended, filename) {
        (Some(extended), _) => Some(decode_extended(&extended)?),
        (None, Some(filename)) => Some(decode(&filename)?),
        (None, None) => None,
    };
    Some((decode(&name?)?, filename))
}

/// Browsers escape quotes and line ends, and nothing else, not even percent signs (HTML section
/// 4.10.21.8, Fetch section 5.2).
fn decode(raw: &[u8]) -> Option<String> {
    unescape(raw, |b| matches!(b, b'"' | b'\r' | b'\n'))
}

/// Reads `UTF-8'LANGUAGE'TEXT` (RFC 8187 section 3.2).
fn decode_extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |&b| b == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    charset.eq_ignore_ascii_case(b"utf-8").then_some(())?;
    unescape(text, |_| true)
}

/// Decodes the percent escapes of bytes that are escaped; none if the result is not UTF-8.
fn unescape(raw: &[u8], is_escaped: impl Fn(u8) -> bool) -> Option<String> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [b, after @ ..] = rest {
        let byte = match rest {
            [b'%', high, low, ..] => hex_value(*high).zip(hex_value(*low)).map(|(h, l)| h << 4 | l),
            _ => None,
        };
        let escaped = byte.filter(|&byte| is_escaped(byte));
        decoded.push(escaped.unwrap_or(*b));
        rest = escaped.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    String::from_utf8(decoded).ok()
}
