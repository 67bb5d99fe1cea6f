//! The properties of WebSockets.

use std::borrow::Cow;
use std::time::Duration;

use hemi_core::Explain;
use hemi_core::config::{ConfigType, Size};
use hemi_proto::websocket::Limits;
use hemi_proto::websocket::deflate::{Context, Policy, WindowBits};
use serde::Deserialize;

/// Properties of all WebSockets, in code as in a config.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct WebSocketConfig {
    /// Bytes of one message of a client, once it is decompressed, at most. A longer one closes the
    /// connection with 1009.
    pub max_message_size: Size,
    /// Bytes of one frame of a client, as it is sent, at most. A longer one closes the connection with
    /// 1009.
    pub max_frame_size: Size,
    /// Frames that one message of a client comes in, at most. More close the connection with 1008.
    pub max_fragments: u32,
    /// When a client was silent for this long it is sent a ping; when it does not answer two of them in
    /// a row, the connection is closed. 0 never pings.
    pub ping_interval: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub send_timeout: Duration,
    /// How long a client may take to answer a close.
    pub close_timeout: Duration,
    /// Whether messages are compressed, if the client likes that too: `"off"`; `"stateless"`, each for
    /// itself; `"stateful"`, where a message is shorter that resembles those before it, at the cost of
    /// some 200 KiB of memory for each connection. Who puts secrets and what others write into the same
    /// messages should not compress them.
    pub compression: Compression,
    /// The window of stateful compression, as a power of two: 9 for 512 bytes, to 15 for 32 KiB.
    pub compression_window: CompressionWindow,
    /// Messages with fewer bytes are sent as they are.
    pub compress_from: Size,
    /// Pages of which other sites may connect, as `"https://shop.test"`; `"*"` stands for all. Pages of the
    /// same host may, and clients that are no browsers.
    pub origins: Vec<String>,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        let Limits { frame, message, fragments } = Limits::default();
        Self {
            max_message_size: Size(message as u64),
            max_frame_size: Size(frame),
            max_fragments: fragments,
            ping_interval: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            compression: Compression::Off,
            compression_window: CompressionWindow(WindowBits::MAX),
            compress_from: Size(256),
            origins: Vec::new(),
        }
    }
}

impl WebSocketConfig {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            frame: self.max_frame_size.0,
            message: usize::try_from(self.max_message_size.0).unwrap_or(usize::MAX),
            fragments: self.max_fragments,
        }
    }

    /// How to compress, if at all.
    pub(super) fn policy(&self) -> Option<Policy> {
        let context = match self.compression {
            Compression::Off => return None,
            Compression::Stateless => Context::None,
            Compression::Stateful => Context::Kept,
        };
        Some(Policy { context, window: self.compression_window.0 })
    }
}

/// Whether messages are compressed (RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Compression {
    /// They are not.
    Off,
    /// Each for itself: an idle connection holds nothing.
    Stateless,
    /// Each with regard to those before it.
    Stateful,
}

/// A text that names no such thing.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is none of \"off\", \"stateless\" and \"stateful\"")]
pub struct BadCompression(String);

impl TryFrom<String> for Compression {
    type Error = BadCompression;

    fn try_from(name: String) -> Result<Self, BadCompression> {
        match &*name {
            "off" => Ok(Self::Off),
            "stateless" => Ok(Self::Stateless),
            "stateful" => Ok(Self::Stateful),
            _ => Err(BadCompression(name)),
        }
    }
}

impl ConfigType for Compression {
    fn kind() -> Cow<'static, str> {
        "compression".into()
    }

    fn show(&self) -> String {
        let name = match self {
            Self::Off => "off",
            Self::Stateless => "stateless",
            Self::Stateful => "stateful",
        };
        name.to_owned().show()
    }
}

/// A window of compression: 9 to 15, as a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub struct CompressionWindow(WindowBits);

/// A number that is no such window.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not from 9, for 512 bytes, to 15, for 32 KiB")]
pub struct BadWindow(u8);

impl TryFrom<u8> for CompressionWindow {
    type Error = BadWindow;

    fn try_from(bits: u8) -> Result<Self, BadWindow> {
        let window = WindowBits::new(bits).filter(|window| window.number() > 8);
        window.map(Self).ok_or(BadWindow(bits))
    }
}

impl ConfigType for CompressionWindow {
    fn kind() -> Cow<'static, str> {
        "integer".into()
    }

    fn show(&self) -> String {
        self.0.number().to_string()
    }
}
