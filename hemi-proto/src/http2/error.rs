//! Error codes, and why a connection ends.

use std::fmt;

use thiserror::Error;

/// An error code (RFC 9113 section 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal)*) => {
        impl ErrorCode {
            $($(#[doc = $doc])* pub const $name: Self = Self($code);)*

            /// The name, if it is a known one.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// There is no error.
    NO_ERROR = 0
    /// The protocol was violated, in a way that no other code tells.
    PROTOCOL_ERROR = 1
    /// The fault is ours.
    INTERNAL_ERROR = 2
    /// More was sent than flow control allows.
    FLOW_CONTROL_ERROR = 3
    /// SETTINGS were not acknowledged in time.
    SETTINGS_TIMEOUT = 4
    /// A frame on a stream that is closed.
    STREAM_CLOSED = 5
    /// A frame has a wrong size.
    FRAME_SIZE_ERROR = 6
    /// The stream was refused before it had an effect.
    REFUSED_STREAM = 7
    /// The stream is not needed any more.
    CANCEL = 8
    /// The state of the field compression is lost.
    COMPRESSION_ERROR = 9
    /// A connection made by CONNECT was lost.
    CONNECT_ERROR = 10
    /// The peer asks too much.
    ENHANCE_YOUR_CALM = 11
    /// TLS is not as good as required.
    INADEQUATE_SECURITY = 12
    /// The request needs HTTP/1.1.
    HTTP_1_1_REQUIRED = 13
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "ErrorCode({:#x})", self.0),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why a connection has to end. The client has been told by a GOAWAY frame with the code.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{code}: {reason}")]
pub struct ConnectionError {
    /// The code.
    pub code: ErrorCode,
    /// What was wrong.
    pub reason: &'static str,
}

impl ConnectionError {
    pub(super) const fn new(code: ErrorCode, reason: &'static str) -> Self {
        Self { code, reason }
    }

    pub(super) const fn protocol(reason: &'static str) -> Self {
        Self::new(ErrorCode::PROTOCOL_ERROR, reason)
    }

    pub(super) const fn frame_size(reason: &'static str) -> Self {
        Self::new(ErrorCode::FRAME_SIZE_ERROR, reason)
    }

    pub(super) const fn flow_control(reason: &'static str) -> Self {
        Self::new(ErrorCode::FLOW_CONTROL_ERROR, reason)
    }
}
