//! What a client may cost that is of no use: a budget that useful work fills up again.

use super::{ConnectionError, ErrorCode};

/// What is left of the patience with a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: u32,
}

/// The most that there is.
const FULL: u32 = 1000;

/// What things cost that a client may do, but not all the time.
pub(super) mod cost {
    /// A frame that changes little: PRIORITY, WINDOW_UPDATE, and on streams that were reset just now.
    pub(in crate::http2) const FRAME: u32 = 1;
    /// A frame that has to be answered: PING.
    pub(in crate::http2) const ANSWER: u32 = 2;
    /// A frame that is known to nobody, or comes too late.
    pub(in crate::http2) const IDLE: u32 = 3;
    /// A reset of what is over: it was there to be answered.
    pub(in crate::http2) const LATE_RESET: u32 = 5;
    /// A stream beyond those allowed.
    pub(in crate::http2) const REFUSED: u32 = 2;
    /// DATA without data, CONTINUATION without fields.
    pub(in crate::http2) const EMPTY: u32 = 10;
    /// SETTINGS.
    pub(in crate::http2) const SETTINGS: u32 = 10;
    /// A stream that the client has reset, or has us reset.
    pub(in crate::http2) const RESET: u32 = 10;
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: FULL }
    }
}

impl Budget {
    /// The client has done something that costs this much.
    pub(super) fn spend(&mut self, cost: u32) -> Result<(), ConnectionError> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                Err(ConnectionError::new(ErrorCode::ENHANCE_YOUR_CALM, "too much useless work"))
            }
        }
    }

    /// Something useful has been done.
    pub(super) fn earn(&mut self, gain: u32) {
        self.left = self.left.saturating_add(gain).min(FULL);
    }
}
