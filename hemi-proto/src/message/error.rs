//! What can be wrong with a message.

use thiserror::Error;

use crate::http1::HeadError;

/// Why a message was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum MessageError {
    /// It is malformed (RFC 9113 section 8.1.1): its stream is reset, with PROTOCOL_ERROR in HTTP/2 and
    /// H3_MESSAGE_ERROR in HTTP/3.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is answered with [`HeadError::status`].
    #[error(transparent)]
    Refused(#[from] HeadError),
}

impl MessageError {
    /// A short stable name for logs and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed(e) => e.name(),
            Self::Refused(e) => e.name(),
        }
    }
}

/// How a message is malformed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Malformed {
    /// A name that is no token in lower case, or imitates a framing field.
    #[error("malformed field name")]
    FieldName,
    /// A value with a forbidden byte, or with white space at an end.
    #[error("malformed field value")]
    FieldValue,
    /// A method that is no token.
    #[error("malformed method")]
    Method,
    /// A path that does not start with a slash.
    #[error("malformed path")]
    Path,
    /// A pseudo-field that requests, or trailers, do not have.
    #[error("unknown pseudo-field")]
    UnknownPseudo,
    /// A pseudo-field for the second time.
    #[error("repeated pseudo-field")]
    RepeatedPseudo,
    /// A pseudo-field after a field.
    #[error("pseudo-field after a field")]
    LatePseudo,
    /// A pseudo-field is missing that the request must have.
    #[error("pseudo-field is missing")]
    MissingPseudo,
    /// `:protocol` of a method other than CONNECT, or malformed.
    #[error("misplaced or malformed :protocol")]
    Protocol,
    /// A CONNECT with a scheme or path, but without a protocol.
    #[error("malformed CONNECT")]
    Connect,
    /// A field about the connection, as HTTP/1 has them.
    #[error("field about the connection")]
    ConnectionField,
    /// TE other than `trailers`.
    #[error("TE other than trailers")]
    Te,
    /// The Host field names another host than `:authority`.
    #[error("Host differs from :authority")]
    HostConflict,
    /// A length that is no number, is repeated, or is not that of the content.
    #[error("malformed or wrong Content-Length")]
    ContentLength,
    /// A stream that depends on itself (RFC 7540 section 5.3.1).
    #[error("stream depends on itself")]
    Priority,
    /// A trailer field that would change how the message is framed or routed.
    #[error("forbidden trailer field")]
    ForbiddenTrailer,
    /// The trailers are over 8 KiB or 128 fields.
    #[error("trailer section is too large")]
    TrailersTooLarge,
}

impl Malformed {
    /// A short stable name for logs and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::FieldName => "field-name",
            Self::FieldValue => "field-value",
            Self::Method => "method",
            Self::Path => "path",
            Self::UnknownPseudo => "unknown-pseudo-field",
            Self::RepeatedPseudo => "repeated-pseudo-field",
            Self::LatePseudo => "late-pseudo-field",
            Self::MissingPseudo => "missing-pseudo-field",
            Self::Protocol => "protocol",
            Self::Connect => "connect",
            Self::ConnectionField => "connection-field",
            Self::Te => "te",
            Self::HostConflict => "host-conflict",
            Self::ContentLength => "content-length",
            Self::Priority => "priority",
            Self::ForbiddenTrailer => "forbidden-trailer",
            Self::TrailersTooLarge => "trailers-too-large",
        }
    }
}
