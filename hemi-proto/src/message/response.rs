//! Heads of answers (RFC 9114 section 4.3.2).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::{FieldName, LINE_OVERHEAD, Malformed, MessageError, Pseudo, check_name, check_value};
use crate::ascii::parse_decimal;
use crate::http1::{HeadError, HeadLimits};

/// Makes an answer's head of its field lines.
#[derive(Debug, Default)]
pub struct ResponseReader {
    status: Option<StatusCode>,
    fields: HeaderMap,
    length: Option<u64>,
    count: usize,
    size: usize,
    fault: Option<MessageError>,
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseFields {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub fields: HeaderMap,
    /// How long its content is, or that of the answer to a GET would be.
    pub length: Option<u64>,
}

impl ResponseReader {
    /// Takes the next line. What is wrong with it is told by [`finish`](Self::finish).
    pub fn line(&mut self, name: &FieldName, value: Bytes, limits: &HeadLimits) {
        if self.fault.is_none()
            && let Err(fault) = self.take(name, value, limits)
        {
            self.fault = Some(fault);
        }
    }

    /// The head, after the last line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn finish(self) -> Result<ResponseFields, MessageError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let status = self.status.ok_or(Malformed::MissingPseudo)?;
        Ok(ResponseFields { status, fields: self.fields, length: self.length })
    }

    fn take(
        &mut self,
        name: &FieldName,
        value: Bytes,
        limits: &HeadLimits,
    ) -> Result<(), MessageError> {
        self.size = self.size.saturating_add(name.len() + value.len() + LINE_OVERHEAD);
        if self.size > limits.head_size {
            return Err(HeadError::HeadTooLarge.into());
        }
        let name = match name {
            FieldName::Pseudo(Pseudo::Status) if self.count > 0 => {
                return Err(Malformed::LatePseudo.into());
            }
            FieldName::Pseudo(Pseudo::Status) => {
                let status =
                    StatusCode::from_bytes(&value).map_err(|_| Malformed::UnknownPseudo)?;
                return match self.status.replace(status) {
                    None => Ok(()),
                    Some(_) => Err(Malformed::RepeatedPseudo.into()),
                };
            }
            FieldName::Pseudo(_) => return Err(Malformed::UnknownPseudo.into()),
            FieldName::Field(name) => name,
            FieldName::Invalid { .. } => return Err(Malformed::FieldName.into()),
        };
        self.count += 1;
        if self.count > limits.fields {
            return Err(HeadError::TooManyFields.into());
        }
        check_value(&value)?;
        check_name(name)?;
        if *name == CONTENT_LENGTH {
            let length = parse_decimal(&value).ok_or(Malformed::ContentLength)?;
            if self.length.replace(length).is_some() {
                return Err(Malformed::ContentLength.into());
            }
        }
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::FieldValue)?;
        let appended = self.fields.try_append(name, value);
        appended.map(drop).map_err(|_| HeadError::TooManyFields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&str, &str)]) -> Result<ResponseFields, MessageError> {
        let limits = HeadLimits { head_size: 300, fields: 4, ..HeadLimits::default() };
        let mut reader = ResponseReader::default();
        for (name, value) in lines {
            let value = Bytes::copy_from_slice(value.as_bytes());
            reader.line(&FieldName::parse(name.as_bytes()), value, &limits);
        }
        reader.finish()
    }

    #[test]
    fn heads() {
        let head = read(&[(":status", "200"), ("content-length", "7"), ("a", "b")]).unwrap();
        assert_eq!((head.status, head.length), (StatusCode::OK, Some(7)));
        assert_eq!(head.fields["a"], "b");
        assert_eq!(read(&[(":status", "404")]).unwrap().fields.len(), 0);
    }

    #[test]
    fn faults() {
        let ok = (":status", "200");
        for (lines, fault) in [
            (&[][..], Malformed::MissingPseudo.into()),
            (&[ok, ok], Malformed::RepeatedPseudo.into()),
            (&[("a", "b"), ok], MessageError::from(Malformed::LatePseudo)),
            (&[(":status", "2x0")], Malformed::UnknownPseudo.into()),
            (&[ok, (":path", "/")], Malformed::UnknownPseudo.into()),
            (&[ok, ("A", "b")], Malformed::FieldName.into()),
            (&[ok, ("connection", "close")], Malformed::ConnectionField.into()),
            (&[ok, ("a", "b\r\nc: d")], Malformed::FieldValue.into()),
            (&[ok, ("content-length", "+1")], Malformed::ContentLength.into()),
            (
                &[ok, ("content-length", "1"), ("content-length", "1")],
                Malformed::ContentLength.into(),
            ),
            (
                &[ok, ("a", ""), ("a", ""), ("a", ""), ("a", ""), ("a", "")],
                HeadError::TooManyFields.into(),
            ),
            (&[ok, ("a", &"b".repeat(300))], HeadError::HeadTooLarge.into()),
        ] {
            assert_eq!(read(lines), Err(fault), "{lines:?}");
        }
    }
}
