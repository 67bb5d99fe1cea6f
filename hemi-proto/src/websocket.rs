//! WebSocket (RFC 6455) with its compression (RFC 7692): frames and messages as values, for both sides.
//!
//! A [`Decoder`] is fed what was received and gives messages; what is sent is a [`Header`] and its
//! payload, which a [`Deflater`] may have compressed. [`handshake`] is what HTTP says before the first frame,
//! [`deflate`] among it what both sides agree on about compression.
//!
//! ```
//! use bytes::BytesMut;
//! use hemi_proto::websocket::{Decoder, Header, Incoming, Limits, Message, Opcode, Role};
//!
//! let mut wire = BytesMut::new();
//! Header::whole(Opcode::Text).put_frame(b"Hello", &mut wire);
//!
//! let mut decoder = Decoder::new(Role::Client, Limits::default());
//! let hello = Incoming::Message(Message::Text("Hello".into()));
//! assert_eq!(decoder.decode(&mut wire), Ok(Some(hello)));
//! ```

mod close;
mod decoder;
pub mod deflate;
mod error;
mod frame;
pub mod handshake;
mod mask;

pub use close::{Close, CloseCode};
pub use decoder::{Decoder, Incoming, Limits};
pub use deflate::{Deflater, Inflater};
pub use error::WebSocketError;
pub use frame::{Header, Opcode};
pub use mask::apply as apply_mask;

use bytes::Bytes;

/// The side that a codec works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Frames that come are masked, those that go are not (RFC 6455, 5.1).
    Server,
    /// The other way round.
    Client,
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Anything else.
    Binary(Bytes),
}

impl Message {
    /// What its frame is.
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        match self {
            Self::Text(_) => Opcode::Text,
            Self::Binary(_) => Opcode::Binary,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Its text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}
