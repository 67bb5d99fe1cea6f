//! Forms that came as `application/x-www-form-urlencoded`, and what can be wrong with forms of any kind.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use hemi_proto::multipart::MultipartError;
use hemi_proto::{params, query};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;

use crate::{BodyError, Request};

/// Bounds on a form that is read into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormLimits {
    /// Bytes as sent; default 1 MiB.
    pub size: u64,
    /// Fields; default 1,000.
    pub fields: usize,
}

impl Default for FormLimits {
    fn default() -> Self {
        Self { size: 1 << 20, fields: 1_000 }
    }
}

/// A form without files: pairs of names and values. In a handle, take a [`crate::Form`].
///
/// Bytes that are not UTF-8 once decoded read as U+FFFD, as the URL standard says.
#[derive(Clone, Debug)]
pub struct FormPairs(Bytes);

impl FormPairs {
    /// All pairs, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        query::pairs(&self.0).map(|(name, value)| (text(name), text(value)))
    }

    /// The value of the first field with this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.values(name).next()
    }

    /// The values of all fields with this name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.pairs().filter(move |(found, _)| found == name).map(|(_, value)| value)
    }

    /// The form as a type of its own: a struct whose fields are named as the form's. A `Vec` takes all
    /// values of a name.
    ///
    /// # Errors
    /// [`FormError::Fields`] if a field lacks or can't be read as its type.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, FormError> {
        serde_html_form::from_bytes(&self.0).map_err(FormError::Fields)
    }
}

fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => String::from_utf8(bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
            .into(),
    }
}

/// Why a form could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// The content is not of the kind that was asked for.
    #[error("the content is no such form")]
    MediaType,
    /// The content is compressed or the like, which no browser does to a form.
    #[error("the form has a content encoding")]
    Encoded,
    /// The form, or a file or field of it, is longer than this many bytes.
    #[error("the {0} is longer than {1} bytes")]
    TooLarge(&'static str, u64),
    /// There are more fields than this.
    #[error("the form has more than {0} fields")]
    TooManyFields(usize),
    /// The fields are not those of the type.
    #[error("the fields can't be read: {0}")]
    Fields(serde_html_form::de::Error),
    /// A text is not UTF-8.
    #[error("the field {0:?} is not UTF-8")]
    NotText(String),
    /// The parts are malformed, too many, or have too long heads.
    #[error(transparent)]
    Parts(#[from] MultipartError),
    /// The content could not be read to its end.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A file could not be stored.
    #[error("the file can't be stored: {0}")]
    Store(#[from] io::Error),
}

impl FormError {
    /// The status that answers it: 413, 415, 400; 500 or 507 if it is not the client's fault.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MediaType | Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(..) | Self::TooManyFields(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Fields(_) | Self::NotText(_) => StatusCode::BAD_REQUEST,
            Self::Parts(e) => e.status(),
            Self::Body(e) => e.status(),
            Self::Store(e) if is_full(e) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Request {
    /// Reads a form that came as `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// Any [`FormError`] but those of parts and files.
    pub async fn form(&mut self, limits: FormLimits) -> Result<FormPairs, FormError> {
        let (essence, _) = params::split(self.form_type()?);
        if !essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Err(FormError::MediaType);
        }
        let content = match self.body().bytes(limits.size).await {
            Err(BodyError::TooLarge(_)) => return Err(FormError::TooLarge("form", limits.size)),
            content => content?,
        };
        if query::count(&content) > limits.fields {
            return Err(FormError::TooManyFields(limits.fields));
        }
        Ok(FormPairs(content))
    }

    /// The content type of a form of any kind.
    pub(crate) fn form_type(&self) -> Result<&[u8], FormError> {
        if self.headers().contains_key(CONTENT_ENCODING) {
            return Err(FormError::Encoded);
        }
        let mut types = self.headers().get_all(CONTENT_TYPE).iter();
        match (types.next(), types.next()) {
            (Some(content_type), None) => Ok(content_type.as_bytes()),
            _ => Err(FormError::MediaType),
        }
    }
}
