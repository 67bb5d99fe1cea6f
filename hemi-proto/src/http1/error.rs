//! What can be wrong with a message: each rule has a variant, a name for logs and metrics, and,
//! for heads, the status that answers it.

use http::StatusCode;
use thiserror::Error;

/// Why a head was refused. The connection closes after the answer.
///
/// For the head of a response the statuses don't apply: a proxy answers 502.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeadError {
    /// More than two empty lines before the first line (RFC 9112 section 2.2).
    #[error("too many empty lines before the head")]
    EmptyLines,
    /// A line ends with LF alone.
    #[error("line ends with a bare LF")]
    BareLf,
    /// A CR that no LF follows.
    #[error("bare CR in the head")]
    BareCr,
    /// NUL or another control byte.
    #[error("control byte in the head")]
    ControlByte,
    /// The first line of a request does not match its grammar.
    #[error("malformed request line")]
    RequestLine,
    /// The first line of a response does not match its grammar.
    #[error("malformed status line")]
    StatusLine,
    /// The version is not `HTTP/` digit `.` digit.
    #[error("malformed protocol version")]
    MalformedVersion,
    /// A well-formed version other than 1.0 and 1.1.
    #[error("protocol version is not supported")]
    UnsupportedVersion,
    /// The method is longer than any that exists.
    #[error("method is too long")]
    MethodTooLong,
    /// The target has a forbidden byte, a broken percent escape, or a form of no kind.
    #[error("malformed request target")]
    MalformedTarget,
    /// The form of the target does not fit the method (RFC 9112 section 3.2).
    #[error("form of the request target does not fit the method")]
    TargetForm,
    /// The target is longer than [`HeadLimits::target_size`](super::HeadLimits::target_size).
    #[error("request target is too long")]
    TargetTooLong,
    /// The head is longer than [`HeadLimits::head_size`](super::HeadLimits::head_size).
    #[error("head is too large")]
    HeadTooLarge,
    /// More fields than [`HeadLimits::fields`](super::HeadLimits::fields).
    #[error("too many fields")]
    TooManyFields,
    /// A field line without a colon, with an empty name or with a byte that names don't have.
    #[error("malformed field name")]
    FieldName,
    /// Whitespace between a field name and its colon.
    #[error("whitespace before the colon of a field")]
    SpaceBeforeColon,
    /// A field line that starts with whitespace (obsolete line folding).
    #[error("folded field line")]
    FoldedLine,
    /// A field value with a forbidden byte.
    #[error("malformed field value")]
    FieldValue,
    /// HTTP/1.1 without a Host field.
    #[error("no Host field")]
    MissingHost,
    /// More than one Host field.
    #[error("more than one Host field")]
    DuplicateHost,
    /// The Host field or the authority of the target is not `uri-host [":" port]`.
    #[error("malformed authority")]
    MalformedAuthority,
    /// The Content-Length is not one decimal number, or is given more than once.
    #[error("malformed or repeated Content-Length")]
    ContentLength,
    /// Content-Length together with Transfer-Encoding.
    #[error("both Content-Length and Transfer-Encoding")]
    AmbiguousLength,
    /// Transfer-Encoding is repeated, or `chunked` is not its last coding.
    #[error("malformed Transfer-Encoding")]
    TransferEncoding,
    /// A transfer coding other than `chunked`.
    #[error("transfer coding is not supported")]
    UnsupportedCoding,
    /// Transfer-Encoding in HTTP/1.0.
    #[error("Transfer-Encoding in HTTP/1.0")]
    TransferEncodingInHttp10,
    /// A name such as `Content_Length` that some peers read as a framing field.
    #[error("field name imitates a framing field")]
    DisguisedFraming,
    /// Content on a CONNECT request, which has none (RFC 9110 section 9.3.6).
    #[error("CONNECT with content")]
    ConnectContent,
    /// An expectation other than `100-continue`.
    #[error("expectation is not supported")]
    Expectation,
}

impl HeadError {
    /// The status that answers a request with this fault.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnsupportedVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::MethodTooLong | Self::UnsupportedCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A short stable name for logs and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::EmptyLines => "empty-lines",
            Self::BareLf => "bare-lf",
            Self::BareCr => "bare-cr",
            Self::ControlByte => "control-byte",
            Self::RequestLine => "request-line",
            Self::StatusLine => "status-line",
            Self::MalformedVersion => "malformed-version",
            Self::UnsupportedVersion => "unsupported-version",
            Self::MethodTooLong => "method-too-long",
            Self::MalformedTarget => "malformed-target",
            Self::TargetForm => "target-form",
            Self::TargetTooLong => "target-too-long",
            Self::HeadTooLarge => "head-too-large",
            Self::TooManyFields => "too-many-fields",
            Self::FieldName => "field-name",
            Self::SpaceBeforeColon => "space-before-colon",
            Self::FoldedLine => "folded-line",
            Self::FieldValue => "field-value",
            Self::MissingHost => "missing-host",
            Self::DuplicateHost => "duplicate-host",
            Self::MalformedAuthority => "malformed-authority",
            Self::ContentLength => "content-length",
            Self::AmbiguousLength => "ambiguous-length",
            Self::TransferEncoding => "transfer-encoding",
            Self::UnsupportedCoding => "unsupported-coding",
            Self::TransferEncodingInHttp10 => "transfer-encoding-in-http10",
            Self::DisguisedFraming => "disguised-framing",
            Self::ConnectContent => "connect-content",
            Self::Expectation => "expectation",
        }
    }
}

/// Why the content of a message was refused. The connection closes; a request that was not
/// answered yet is answered with 400.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection ended before the content did.
    #[error("content is incomplete")]
    Incomplete,
    /// A chunk size that is not 1 to 16 hexadecimal digits.
    #[error("malformed chunk size")]
    ChunkSize,
    /// A chunk extension that does not match its grammar (RFC 9112 section 7.1.1).
    #[error("malformed chunk extension")]
    ChunkExtension,
    /// The extensions of a chunk are over 256 bytes, or of the message over 16 KiB.
    #[error("chunk extensions are too large")]
    ExtensionsTooLarge,
    /// A chunk line, or the data of a chunk, is not followed by exactly CRLF.
    #[error("chunk is not followed by CRLF")]
    ChunkEnd,
    /// A trailer section that is not made of well-formed field lines.
    #[error("malformed trailer section")]
    Trailers,
    /// Over 8 KiB or 128 fields of trailers.
    #[error("trailer section is too large")]
    TrailersTooLarge,
    /// A trailer field that would change how the message is framed or routed.
    #[error("forbidden trailer field")]
    ForbiddenTrailer,
}

impl BodyError {
    /// A short stable name for logs and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete-body",
            Self::ChunkSize => "chunk-size",
            Self::ChunkExtension => "chunk-extension",
            Self::ExtensionsTooLarge => "chunk-extensions-too-large",
            Self::ChunkEnd => "chunk-end",
            Self::Trailers => "trailers",
            Self::TrailersTooLarge => "trailers-too-large",
            Self::ForbiddenTrailer => "forbidden-trailer",
        }
    }
}
