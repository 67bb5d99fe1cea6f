//! What the protocol has to know of each stream, and of those that are no more.

use crate::priority::Priority;

/// A stream that is not closed.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) priority: Priority,
    /// The client has sent all.
    pub(super) received_all: bool,
    /// All of the answer was sent.
    pub(super) sent_all: bool,
    /// Nobody reads what the client still sends.
    pub(super) unread: bool,
    /// There is content to be sent.
    pub(super) ready: bool,
    /// Bytes that the client has sent and nobody read.
    pub(super) dropped: u32,
    /// Bytes of content still to come, if the head said how many.
    pub(super) left: Option<u64>,
    /// Bytes that the client may still send.
    pub(super) receive_window: i64,
    /// Bytes that were read, but that the client was not told of yet.
    pub(super) read: u32,
    /// The size of the window that the client is given.
    pub(super) window_size: u32,
    /// Bytes that the client still takes.
    pub(super) send_window: i64,
    /// When it was last served, as a number that counts up.
    pub(super) served: u32,
}

/// The streams of a connection in the order of their ids. There are never many.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Vec<Stream>,
    /// Ids of streams that were reset here lately: their client may not know yet.
    reset: Reset,
}

#[derive(Debug, Default)]
struct Reset {
    ids: [u32; 32],
    next: usize,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn index(&self, id: u32) -> Option<usize> {
        // Most often it is the last one.
        match self.open.last() {
            Some(last) if last.id == id => Some(self.open.len() - 1),
            _ => self.open.binary_search_by_key(&id, |stream| stream.id).ok(),
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&Stream> {
        self.open.get(self.index(id)?)
    }

    pub(super) fn find(&mut self, id: u32) -> Option<&mut Stream> {
        let index = self.index(id)?;
        self.open.get_mut(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.open.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.open.iter_mut()
    }

    /// Adds a stream, whose id is higher than all before.
    pub(super) fn push(&mut self, stream: Stream) {
        self.open.push(stream);
    }

    pub(super) fn remove(&mut self, id: u32) {
        if let Some(index) = self.index(id) {
            self.open.remove(index);
        }
    }

    /// Remembers that a stream was reset here, and removes it if it was open.
    pub(super) fn reset(&mut self, id: u32) {
        self.remove(id);
        if let Some(slot) = self.reset.ids.get_mut(self.reset.next) {
            *slot = id;
        }
        self.reset.next = (self.reset.next + 1) % self.reset.ids.len();
    }

    pub(super) fn was_reset(&self, id: u32) -> bool {
        self.reset.ids.contains(&id)
    }

    /// Lets go of memory while there are no streams.
    pub(super) fn release(&mut self) {
        if self.open.is_empty() {
            self.open = Vec::new();
        }
    }
}
