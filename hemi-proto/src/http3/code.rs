//! Error codes (RFC 9114 section 8.1, RFC 9204 section 6, RFC 9297 section 5.2).

use thiserror::Error;

macro_rules! codes {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        /// Why a stream or a connection ends.
        #[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
        pub enum Code {
            $(
                #[doc = concat!("`", $text, "`")]
                #[error($text)]
                $name,
            )*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As QUIC carries it.
            #[must_use]
            pub fn value(self) -> u32 {
                match self {
                    $(Self::$name => $value,)*
                }
            }

            /// Its name in the RFCs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    DatagramError = 0x33, "H3_DATAGRAM_ERROR";
    NoError = 0x100, "H3_NO_ERROR";
    GeneralProtocolError = 0x101, "H3_GENERAL_PROTOCOL_ERROR";
    InternalError = 0x102, "H3_INTERNAL_ERROR";
    StreamCreationError = 0x103, "H3_STREAM_CREATION_ERROR";
    ClosedCriticalStream = 0x104, "H3_CLOSED_CRITICAL_STREAM";
    FrameUnexpected = 0x105, "H3_FRAME_UNEXPECTED";
    FrameError = 0x106, "H3_FRAME_ERROR";
    ExcessiveLoad = 0x107, "H3_EXCESSIVE_LOAD";
    IdError = 0x108, "H3_ID_ERROR";
    SettingsError = 0x109, "H3_SETTINGS_ERROR";
    MissingSettings = 0x10a, "H3_MISSING_SETTINGS";
    RequestRejected = 0x10b, "H3_REQUEST_REJECTED";
    RequestCancelled = 0x10c, "H3_REQUEST_CANCELLED";
    RequestIncomplete = 0x10d, "H3_REQUEST_INCOMPLETE";
    MessageError = 0x10e, "H3_MESSAGE_ERROR";
    ConnectError = 0x10f, "H3_CONNECT_ERROR";
    VersionFallback = 0x110, "H3_VERSION_FALLBACK";
    DecompressionFailed = 0x200, "QPACK_DECOMPRESSION_FAILED";
    EncoderStreamError = 0x201, "QPACK_ENCODER_STREAM_ERROR";
    DecoderStreamError = 0x202, "QPACK_DECODER_STREAM_ERROR";
}
