//! Settings of the client (RFC 9113 section 6.5).

use super::ConnectionError;

/// Identifiers of settings.
pub(super) mod id {
    pub(in crate::http2) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in crate::http2) const ENABLE_PUSH: u16 = 2;
    pub(in crate::http2) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in crate::http2) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in crate::http2) const MAX_FRAME_SIZE: u16 = 5;
    pub(in crate::http2) const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// RFC 8441
    pub(in crate::http2) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    /// RFC 9218
    pub(in crate::http2) const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// The window that streams and connections have unless told otherwise.
pub(super) const DEFAULT_WINDOW: u32 = 65_535;

/// The largest window.
pub(super) const MAX_WINDOW: i64 = (1 << 31) - 1;

/// What a client has asked for, as far as a server minds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// If it was set since this was last taken.
    pub(super) header_table_size: Option<u32>,
    pub(super) initial_window: u32,
    pub(super) max_frame: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { header_table_size: None, initial_window: DEFAULT_WINDOW, max_frame: 16 << 10 }
    }
}

impl Settings {
    /// Takes what the payload of a SETTINGS frame says; it is also what an upgrade from HTTP/1.1 says in its
    /// field `http2-settings` (RFC 7540 section 3.2.1).
    pub fn update(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(ConnectionError::frame_size("SETTINGS of a wrong size"));
        }
        for &[id0, id1, v0, v1, v2, v3] in settings {
            self.set(u16::from_be_bytes([id0, id1]), u32::from_be_bytes([v0, v1, v2, v3]))?;
        }
        Ok(())
    }

    fn set(&mut self, id: u16, value: u32) -> Result<(), ConnectionError> {
        match id {
            id::HEADER_TABLE_SIZE => self.header_table_size = Some(value),
            id::ENABLE_PUSH | id::ENABLE_CONNECT_PROTOCOL | id::NO_RFC7540_PRIORITIES
                if value > 1 =>
            {
                return Err(ConnectionError::protocol("setting is neither 0 nor 1"));
            }
            id::INITIAL_WINDOW_SIZE if i64::from(value) > MAX_WINDOW => {
                return Err(ConnectionError::flow_control("initial window is too large"));
            }
            id::INITIAL_WINDOW_SIZE => self.initial_window = value,
            id::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                return Err(ConnectionError::protocol("frame size is out of range"));
            }
            id::MAX_FRAME_SIZE => self.max_frame = value,
            _ => {}
        }
        Ok(())
    }
}
