//! How a connection is closed: a code, and maybe a reason (RFC 6455, 5.5.1 and 7.4).

use bytes::{BufMut, Bytes, BytesMut};

use super::error::WebSocketError;

/// Why a connection is closed, for programs: a code that a close frame may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: what the connection was for is done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down, or the page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: frames that can't be.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that is not taken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: a message that is not what it says to be, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a message that is not wanted, for want of a better code.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message that is too long.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: an error of the server.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server starts anew.
    pub const RESTART: Self = Self(1012);
    /// 1013: the server has too much to do; to be tried later.
    pub const TRY_LATER: Self = Self(1013);

    /// A code that may be sent: 1000 to 1014 but for those that are reserved, and 3000 to 4999, which
    /// libraries (up to 3999) and applications give a meaning.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

/// Why a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// For programs.
    pub code: CloseCode,
    /// For people who look for mistakes; may be empty.
    reason: String,
}

/// Bytes of a reason, at most: a control frame has 125, the code takes two.
const MAX_REASON: usize = 123;

impl Close {
    /// A code and a reason, which is cut after 123 bytes.
    #[must_use]
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        Self { code, reason }
    }

    /// The reason; may be empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Reads the payload of a close frame, which may be empty.
    ///
    /// # Errors
    /// When it has one byte, a code that may not be sent, or a reason that is not UTF-8.
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, WebSocketError> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() { Ok(None) } else { Err(WebSocketError::CloseLength) };
        };
        let code = u16::from_be_bytes(*code);
        let code = CloseCode::new(code).ok_or(WebSocketError::CloseCode(code))?;
        let reason = std::str::from_utf8(reason).map_err(|_| WebSocketError::NotUtf8)?;
        Ok(Some(Self { code, reason: reason.to_owned() }))
    }

    /// The payload of its frame.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(2 + self.reason.len());
        payload.put_u16(self.code.0);
        payload.put_slice(self.reason.as_bytes());
        payload.freeze()
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self { code, reason: String::new() }
    }
}

impl std::fmt::Display for Close {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.reason {
            "" => write!(f, "{}", self.code.0),
            reason => write!(f, "{} {reason:?}", self.code.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        for (payload, expected) in [
            (&b""[..], Ok(None)),
            (b"\x03", Err(WebSocketError::CloseLength)),
            (b"\x03\xe8", Ok(Some((1000, "")))),
            (b"\x03\xe9bye", Ok(Some((1001, "bye")))),
            (b"\x0b\xb8\xce\xba", Ok(Some((3000, "\u{3ba}")))),
            (b"\x03\xe8\xce", Err(WebSocketError::NotUtf8)),
        ] {
            let close = Close::parse(payload);
            let found = close.clone().map(|close| close.map(|c| (c.code.number(), c.reason)));
            let owned = |(code, reason): (u16, &str)| (code, reason.to_owned());
            assert_eq!(found, expected.map(|close| close.map(owned)));
            if let Ok(Some(close)) = close {
                assert_eq!(close.payload(), payload);
            }
        }
    }

    #[test]
    fn codes_that_no_frame_may_have_are_refused() {
        let refused = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
        for code in refused {
            let payload = u16::to_be_bytes(code);
            assert_eq!(Close::parse(&payload), Err(WebSocketError::CloseCode(code)));
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let close = Close::new(CloseCode::NORMAL, "\u{20ac}".repeat(50));
        assert_eq!(close.reason().len(), 123);
        let close = Close::new(CloseCode::NORMAL, format!("a{}", "\u{20ac}".repeat(50)));
        assert_eq!(close.reason().len(), 121);
        assert!(close.payload().len() <= 125);
    }
}
