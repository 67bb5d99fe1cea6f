//! Trailers (RFC 9113 section 8.1, RFC 9114 section 4.1).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::{FieldName, LINE_OVERHEAD, Malformed, check_name, check_value};
use crate::http1::{MAX_TRAILERS, is_dropped_trailer, is_refused_trailer};

/// Bytes of all lines, each with its overhead.
const MAX_SIZE: usize = 8 << 10;

/// Makes a map of the field lines after the content. What may not be a trailer is dropped or refused as in
/// HTTP/1.
#[derive(Debug, Default)]
pub struct TrailerReader {
    fields: HeaderMap,
    lines: usize,
    size: usize,
    fault: Option<Malformed>,
}

impl TrailerReader {
    /// Takes the next line.
    pub fn line(&mut self, name: &FieldName, value: Bytes) {
        if self.fault.is_none()
            && let Err(fault) = self.take(name, value)
        {
            self.fault = Some(fault);
        }
    }

    /// The fields, after the last line.
    pub fn finish(self) -> Result<HeaderMap, Malformed> {
        self.fault.map_or(Ok(self.fields), Err)
    }

    fn take(&mut self, name: &FieldName, value: Bytes) -> Result<(), Malformed> {
        self.lines += 1;
        self.size = self.size.saturating_add(name.len() + value.len() + LINE_OVERHEAD);
        if self.lines > MAX_TRAILERS || self.size > MAX_SIZE {
            return Err(Malformed::TrailersTooLarge);
        }
        let name = match name {
            FieldName::Field(name) => name,
            FieldName::Pseudo(_) => return Err(Malformed::UnknownPseudo),
            FieldName::Invalid { .. } => return Err(Malformed::FieldName),
        };
        check_value(&value)?;
        check_name(name)?;
        let plain = name.as_str().replace('_', "-");
        if is_refused_trailer(&plain) {
            return Err(Malformed::ForbiddenTrailer);
        }
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::FieldValue)?;
        if !is_dropped_trailer(&plain) {
            self.fields.try_append(name, value).map_err(|_| Malformed::TrailersTooLarge)?;
        }
        Ok(())
    }
}
