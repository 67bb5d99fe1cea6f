//! Credit that is given to the other side.

use super::Broken;

/// Bytes that may come, on a stream or on all of them.
#[derive(Debug)]
pub(super) struct Window {
    received: u64,
    granted: u64,
    /// Bytes of messages that are whole, and were not consumed yet; of the connection, those that no credit is given for.
    pub(super) held: u64,
}

impl Window {
    pub(super) fn new(credit: u64) -> Self {
        Self { received: 0, granted: credit, held: 0 }
    }

    /// Bytes have come.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Broken> {
        self.received += bytes as u64;
        if self.received > self.granted {
            return Err(Broken("more data than there was credit for"));
        }
        Ok(())
    }

    /// What is to be given so that `advance` bytes may come beside `kept` ones; nothing while that is little.
    pub(super) fn more(&mut self, advance: u64, kept: u64) -> Option<u32> {
        let granted = self.received + advance.saturating_sub(kept);
        let more = granted.saturating_sub(self.granted);
        if more < advance / 4 {
            return None;
        }
        self.granted = granted;
        u32::try_from(more).ok()
    }
}
