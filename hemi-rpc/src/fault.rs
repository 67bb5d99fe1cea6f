//! An error that a method ends with, and that any other becomes by `?`.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use hemi_proto::hrpc::Code;

/// What the caller is told of a call that has failed: a text, and at will a payload.
///
/// Any other error becomes one by `?`: the caller learns its text.
///
/// It is no [`std::error::Error`] itself, or there could be no `?` for all that are.
pub struct Fault {
    text: Cow<'static, str>,
    payload: Bytes,
    code: Code,
}

impl Fault {
    /// One with this text.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), payload: Bytes::new(), code: Code::UNKNOWN }
    }

    /// The same with a payload, which is written as the reply would be.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = payload.into();
        self
    }

    /// The same with what callers by HRPC are told besides; [`Code::UNKNOWN`] otherwise. It is not to be [`Code::OK`].
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = if code == Code::OK { Code::UNKNOWN } else { code };
        self
    }

    /// What is told whose time is over.
    pub(crate) fn too_late() -> Self {
        Self::new("deadline exceeded").with_code(Code::DEADLINE_EXCEEDED)
    }

    /// What the caller is told.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What kind of error it is.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What goes with it.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Fault {
    fn from(e: E) -> Self {
        Self::new(e.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, code, .. } = self;
        f.debug_struct("Fault").field("text", text).field("code", code).finish_non_exhaustive()
    }
}
