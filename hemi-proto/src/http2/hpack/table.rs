//! The dynamic table of a decoder (RFC 7541 section 2.3.2).

use std::collections::VecDeque;

use bytes::Bytes;

use crate::message::FieldName;

/// What an entry counts for besides its bytes (RFC 7541 section 4.1).
const OVERHEAD: usize = 32;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: FieldName,
    pub(super) value: Bytes,
}

impl Entry {
    fn size(&self) -> usize {
        self.name.len() + self.value.len() + OVERHEAD
    }
}

/// Entries, the newest first. An empty table has no memory.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
}

impl Table {
    pub(super) fn new(max: usize) -> Self {
        Self { entries: VecDeque::new(), size: 0, max }
    }

    /// The entry of this index, the newest being 0.
    pub(super) fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Adds an entry, which pushes others out. It must not share memory that is larger than itself.
    pub(super) fn insert(&mut self, name: FieldName, value: Bytes) {
        let entry = Entry { name, value };
        let size = entry.size();
        self.shrink(self.max.saturating_sub(size));
        if size <= self.max {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.shrink(max);
    }

    fn shrink(&mut self, most: usize) {
        while self.size > most {
            let Some(entry) = self.entries.pop_back() else { return };
            self.size -= entry.size();
        }
    }
}
