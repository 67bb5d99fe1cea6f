//! The head of a frame.

/// Bytes of a head.
pub const HEAD_LEN: usize = 16;

/// What a head begins with.
pub const MAGIC: u8 = 0x08;

const RESPONSE: u8 = 0x80;
const HEARTBEAT: u8 = 0x40;
const ONE_WAY: u8 = 0x20;
const STATUS: u8 = 0x03;

/// What a frame says about itself, but for its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Always 0 so far; who answers says what was asked.
    pub version: u8,
    /// What it is.
    pub mode: Mode,
    /// How the payload is compressed.
    pub compression: Compression,
    /// What the payload is written in.
    pub codec: CodecId,
    /// Which call of the connection it belongs to.
    pub seq: u64,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A call, to be answered.
    Call,
    /// A call that is not answered, or a push if it comes from a server.
    OneWay,
    /// The answer to a call.
    Answer,
    /// The answer to a call that has failed: metadata has the text, and there may be a payload.
    Failure,
    /// A sign of life, to be sent back.
    Heartbeat,
    /// A sign of life that has come back.
    Echo,
}

/// How a payload is compressed: a number below 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression(u8);

impl Compression {
    /// Not at all.
    pub const NONE: Self = Self(0);
    /// As gzip (RFC 1952).
    pub const GZIP: Self = Self(1);

    /// The one of this number, if it is below 8.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number < 8).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

/// What a payload is written in: a number below 16. Those from 5 on are for users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CodecId(u8);

impl CodecId {
    /// Bytes as they are.
    pub const RAW: Self = Self(0);
    /// JSON.
    pub const JSON: Self = Self(1);
    /// A message of Protobuf.
    pub const PROTOBUF: Self = Self(2);
    /// MessagePack.
    pub const MSGPACK: Self = Self(3);
    /// A struct of Thrift's binary protocol.
    pub const THRIFT: Self = Self(4);

    /// The codec of this number, if it is below 16.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number < 16).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Mode {
    /// A frame that says of itself that it is an answer is one, whatever else it says; bits that say how a
    /// call went are ignored in calls.
    fn of(flags: u8) -> Self {
        let answer = flags & RESPONSE != 0;
        match (answer, flags & HEARTBEAT != 0) {
            (false, true) => Self::Heartbeat,
            (true, true) => Self::Echo,
            (false, false) if flags & ONE_WAY != 0 => Self::OneWay,
            (false, false) => Self::Call,
            (true, false) if flags & STATUS == 0 => Self::Answer,
            (true, false) => Self::Failure,
        }
    }

    fn flags(self) -> u8 {
        match self {
            Self::Call => 0,
            Self::OneWay => ONE_WAY,
            Self::Answer => RESPONSE,
            Self::Failure => RESPONSE | 1,
            Self::Heartbeat => HEARTBEAT,
            Self::Echo => RESPONSE | HEARTBEAT,
        }
    }
}

impl Head {
    /// Reads the 12 bytes that stand before the length; `None` if they are no head.
    pub(super) fn read(bytes: &[u8; 12]) -> Option<Self> {
        let [magic, version, flags, codec, seq @ ..] = *bytes;
        (magic == MAGIC).then(|| Self {
            version,
            mode: Mode::of(flags),
            compression: Compression(flags >> 2 & 7),
            codec: CodecId(codec >> 4),
            seq: u64::from_be_bytes(seq),
        })
    }

    pub(super) fn bytes(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        let flags = self.mode.flags() | self.compression.0 << 2;
        bytes[..4].copy_from_slice(&[MAGIC, self.version, flags, self.codec.0 << 4]);
        bytes[4..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    /// The head of the answer to this.
    #[must_use]
    pub fn answer(&self, mode: Mode) -> Self {
        Self { mode, compression: Compression::NONE, ..*self }
    }
}
