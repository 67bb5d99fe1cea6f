//! A dynamic table (RFC 9204 section 3.2).

use std::collections::VecDeque;

use bytes::Bytes;

use super::ENTRY_OVERHEAD;
use crate::message::FieldName;

/// The table that a client builds here. Entries have absolute indices, counted from 0 as they are inserted.
#[derive(Debug, Default)]
pub(super) struct DynamicTable {
    /// The newest is the last.
    entries: VecDeque<(FieldName, Bytes)>,
    inserted: u64,
    size: usize,
    capacity: usize,
}

/// There is no room for it, even if all else went.
#[derive(Debug)]
pub(super) struct NoRoom;

impl DynamicTable {
    pub(super) fn inserted(&self) -> u64 {
        self.inserted
    }

    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.shrink(capacity);
    }

    pub(super) fn insert(&mut self, name: FieldName, value: Bytes) -> Result<(), NoRoom> {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        self.shrink(self.capacity.checked_sub(size).ok_or(NoRoom)?);
        self.size += size;
        self.inserted += 1;
        self.entries.push_back((name, value));
        Ok(())
    }

    /// The entry with this absolute index, if it is there, still.
    pub(super) fn entry(&self, index: u64) -> Option<&(FieldName, Bytes)> {
        let from_end = self.inserted.checked_sub(index)?;
        let at = self.entries.len().checked_sub(usize::try_from(from_end).ok()?)?;
        self.entries.get(at)
    }

    fn shrink(&mut self, room: usize) {
        while self.size > room
            && let Some((name, value)) = self.entries.pop_front()
        {
            self.size -= name.len() + value.len() + ENTRY_OVERHEAD;
        }
    }
}
