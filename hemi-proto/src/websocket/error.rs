//! What a peer may do wrong, and the code that tells it so.

use super::CloseCode;

/// Why what a peer has sent is no WebSocket, or not one that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// A reserved bit is set that no extension was agreed on for (RFC 6455, 5.2).
    #[error("a reserved bit is set")]
    ReservedBit,
    /// An opcode that has no meaning.
    #[error("unknown opcode {0:#x}")]
    Opcode(u8),
    /// A frame of a client is not masked.
    #[error("a client's frame without a mask")]
    NotMasked,
    /// A frame of a server is.
    #[error("a server's frame with a mask")]
    Masked,
    /// A length that is not written in the shortest way, or has its highest bit set.
    #[error("a length that is not written as it has to be")]
    Length,
    /// A ping, pong or close in fragments.
    #[error("a control frame in fragments")]
    ControlFragment,
    /// A ping, pong or close with more than 125 bytes.
    #[error("a control frame with more than 125 bytes")]
    ControlLength,
    /// A fragment that continues nothing.
    #[error("a fragment that continues no message")]
    NoMessage,
    /// A message within another.
    #[error("a message within another")]
    WithinMessage,
    /// The payload of a close frame is one byte.
    #[error("a close frame with half a code")]
    CloseLength,
    /// A code that no close frame may have.
    #[error("close code {0}")]
    CloseCode(u16),
    /// Text, or a reason, is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// What is compressed can't be decompressed.
    #[error("a message that can't be decompressed")]
    Deflate,
    /// A frame beyond [`super::Limits::frame`].
    #[error("a frame that is too long")]
    FrameTooBig,
    /// A message beyond [`super::Limits::message`], if only once it is decompressed.
    #[error("a message that is too long")]
    MessageTooBig,
    /// A message of more than [`super::Limits::fragments`].
    #[error("a message of too many fragments")]
    TooManyFragments,
}

impl WebSocketError {
    /// The code to close the connection with (RFC 6455, 7.4.1).
    #[must_use]
    pub fn code(self) -> CloseCode {
        match self {
            Self::NotUtf8 | Self::Deflate => CloseCode::INVALID_DATA,
            Self::FrameTooBig | Self::MessageTooBig => CloseCode::TOO_BIG,
            Self::TooManyFragments => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}
