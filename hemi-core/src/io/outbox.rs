//! What waits to be sent on a connection, in order.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::SharedFile;

/// Bytes up to this many are copied into the buffer of heads, so that they go out in the same write
/// at no further cost.
const COPIED: usize = 4 << 10;

/// Bytes of a frame's head, at most.
const HEAD: usize = 14;

/// The bytes and files that wait to be sent on one connection.
///
/// Small pieces are gathered in one buffer; large ones keep their own memory; a range of a file stays in the file.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Sent before `rest`; what is appended goes here for as long as `rest` is empty.
    front: BytesMut,
    rest: VecDeque<Chunk>,
    /// Bytes in memory of `rest`, but for a small chunk at its end, which may still grow.
    held: usize,
    /// Bytes of files in it.
    of_files: u64,
}

#[derive(Debug)]
enum Chunk {
    Small(BytesMut),
    Large(Bytes),
    /// With what goes before it.
    Framed(Head, Bytes),
    File(SharedFile, Range<u64>),
}

/// A few bytes that need no memory of their own.
#[derive(Debug)]
struct Head {
    bytes: [u8; HEAD],
    from: u8,
    to: u8,
}

/// The next thing to send.
pub(crate) enum Next<'a> {
    Nothing,
    /// One piece of memory.
    Bytes(&'a [u8]),
    /// Several: see [`Outbox::slices`].
    Slices,
    File(&'a SharedFile, &'a Range<u64>),
}

impl Outbox {
    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.rest.is_empty()
    }

    /// Bytes that wait here, those of files too.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.in_memory() as u64 + self.of_files
    }

    /// Bytes in memory that wait here; files count nothing.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.front.len() + self.held + self.at_end()
    }

    /// Bytes of the small chunk at the end of `rest`, if there is one.
    fn at_end(&self) -> usize {
        match self.rest.back() {
            Some(Chunk::Small(buf)) => buf.len(),
            _ => 0,
        }
    }

    fn append(&mut self, chunk: Chunk) {
        self.held += self.at_end();
        match &chunk {
            Chunk::Small(_) => {}
            Chunk::Large(bytes) => self.held += bytes.len(),
            Chunk::Framed(head, bytes) => self.held += head.len() + bytes.len(),
            Chunk::File(_, range) => self.of_files += range.end - range.start,
        }
        self.rest.push_back(chunk);
    }

    /// The buffer to append heads and other small things to.
    pub fn small(&mut self) -> &mut BytesMut {
        if self.rest.is_empty() {
            if self.front.capacity() == 0 {
                self.front = super::pool::take();
            }
            return &mut self.front;
        }
        if !matches!(self.rest.back(), Some(Chunk::Small(_))) {
            self.append(Chunk::Small(super::pool::take()));
        }
        match self.rest.back_mut() {
            Some(Chunk::Small(buf)) => buf,
            _ => unreachable!("pushed above"),
        }
    }

    /// Appends bytes: copied if few, else by reference.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPIED {
            self.small().extend_from_slice(&bytes);
        } else {
            self.append(Chunk::Large(bytes));
        }
    }

    /// Appends the head of a frame, at most 14 bytes, and its content.
    pub fn push_framed(&mut self, head: &[u8], bytes: Bytes) {
        let is_large = bytes.len() > COPIED;
        match Head::new(head) {
            Some(head) if is_large && !matches!(self.rest.back(), None | Some(Chunk::Small(_))) => {
                self.append(Chunk::Framed(head, bytes));
            }
            _ => {
                self.small().extend_from_slice(head);
                self.push(bytes);
            }
        }
    }

    /// Appends a range of a file.
    pub fn push_file(&mut self, file: SharedFile, range: Range<u64>) {
        if !range.is_empty() {
            self.append(Chunk::File(file, range));
        }
    }

    /// Gives the emptied buffers back to the core's pool: the connection goes idle.
    pub fn release(&mut self) {
        if self.is_empty() {
            super::pool::give(std::mem::take(&mut self.front));
            self.rest = VecDeque::new();
        }
    }

    /// Whether there are small things only.
    pub(super) fn is_small(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes all there is, if it is small things only and up to `most` bytes.
    pub(super) fn take_small(&mut self, most: usize) -> Option<BytesMut> {
        let small = self.is_small() && (1..=most).contains(&self.front.len());
        small.then(|| std::mem::take(&mut self.front))
    }

    pub(crate) fn next(&self) -> Next<'_> {
        match self.rest.front() {
            None if self.front.is_empty() => Next::Nothing,
            None | Some(Chunk::File(..)) if !self.front.is_empty() => Next::Bytes(&self.front),
            Some(Chunk::File(file, range)) => Next::File(file, range),
            _ => Next::Slices,
        }
    }

    /// Fills `slices` with the bytes up to the next file; returns how many it filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let rest = self.rest.iter().map_while(|chunk| match chunk {
            Chunk::Small(buf) => Some([&buf[..], &[]]),
            Chunk::Large(bytes) => Some([&bytes[..], &[]]),
            Chunk::Framed(head, bytes) => Some([head.bytes(), &bytes[..]]),
            Chunk::File(..) => None,
        });
        let all = std::iter::once(&self.front[..]).chain(rest.flatten()).filter(|s| !s.is_empty());
        let mut count = 0;
        for (slot, bytes) in slices.iter_mut().zip(all) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    /// Drops `sent` bytes from the front, as counted by the slices or by the file that was next.
    pub(crate) fn advance(&mut self, mut sent: u64) {
        let here = sent.min(self.front.len() as u64);
        if here == self.front.len() as u64 {
            self.front.clear();
        } else {
            self.front.advance(here as usize);
        }
        sent -= here;
        loop {
            let is_last = self.rest.len() == 1;
            let Some(chunk) = self.rest.front_mut() else { return };
            let (used, left) = match chunk {
                Chunk::Small(buf) => consume(buf, sent),
                Chunk::Large(bytes) => consume(bytes, sent),
                Chunk::Framed(head, bytes) => {
                    let of_head = head.consume(sent);
                    let (of_bytes, left) = consume(bytes, sent - of_head);
                    (of_head + of_bytes, head.len() as u64 + left)
                }
                Chunk::File(_, range) => {
                    let used = sent.min(range.end - range.start);
                    range.start += used;
                    (used, range.end - range.start)
                }
            };
            match chunk {
                Chunk::Small(_) if is_last => {}
                Chunk::File(..) => self.of_files -= used,
                _ => self.held -= used as usize,
            }
            sent -= used;
            if left > 0 {
                return;
            }
            match self.rest.pop_front() {
                Some(Chunk::Small(buf)) => super::pool::give(buf),
                // What was read to be sent on is warm, and is used for the next of its kind.
                Some(Chunk::Large(bytes) | Chunk::Framed(_, bytes)) => {
                    if let Ok(buf) = bytes.try_into_mut() {
                        super::pool::give(buf);
                    }
                }
                Some(Chunk::File(..)) | None => {}
            }
            // Nothing is left of buffers behind it either to which nothing was appended.
        }
    }
}

impl Head {
    fn new(head: &[u8]) -> Option<Self> {
        let mut bytes = [0; HEAD];
        bytes.get_mut(..head.len())?.copy_from_slice(head);
        Some(Self { bytes, from: 0, to: head.len() as u8 })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.from.into()..self.to.into()]
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Takes up to `most` bytes off the front; returns how many.
    fn consume(&mut self, most: u64) -> u64 {
        let used = most.min(self.len() as u64);
        self.from += used as u8;
        used
    }
}

/// Takes up to `most` bytes off the front; returns how many, and how many are left.
fn consume(buf: &mut impl Buf, most: u64) -> (u64, u64) {
    let used = (buf.remaining() as u64).min(most);
    buf.advance(used as usize);
    (used, buf.remaining() as u64)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn gathered(out: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = out.slices(&mut slices);
        slices[..count].iter().flat_map(|s| s.to_vec()).collect()
    }

    #[test]
    fn what_nothing_was_appended_to_is_nothing() {
        let mut out = Outbox::default();
        out.push(Bytes::from(vec![b'x'; COPIED + 1]));
        out.small();
        out.advance(COPIED as u64 + 1);
        assert!(out.is_empty() && matches!(out.next(), Next::Nothing));
    }

    #[test]
    fn order_is_kept_whatever_the_sizes() {
        let mut out = Outbox::default();
        out.small().extend_from_slice(b"head1 ");
        out.push(Bytes::from_static(b"small "));
        out.push(Bytes::from(vec![b'x'; COPIED + 1]));
        out.small().extend_from_slice(b"head2");
        let mut expected = b"head1 small ".to_vec();
        expected.extend(vec![b'x'; COPIED + 1]);
        expected.extend(b"head2");
        for step in [1, 5, 7, COPIED as u64, 100] {
            assert_eq!(gathered(&out), expected);
            assert_eq!((out.len(), out.in_memory()), (expected.len() as u64, expected.len()));
            out.advance(step);
            expected.drain(..(step as usize).min(expected.len()));
        }
        assert!(expected.is_empty() && out.is_empty());
    }

    #[test]
    fn frames_go_out_as_they_were_put() {
        let mut out = Outbox::default();
        let mut expected = Vec::new();
        for len in [COPIED + 1, 3, COPIED + 2, COPIED + 3, 0, COPIED + 4] {
            let content = vec![b'a' + (len % 26) as u8; len];
            expected.extend([b"framehead".as_slice(), &content].concat());
            out.push_framed(b"framehead", content.into());
        }
        assert_eq!((out.len(), out.in_memory()), (expected.len() as u64, expected.len()));
        for step in [1, 7, COPIED as u64, 5, 5, 2 * COPIED as u64, 9, 4000, 5000] {
            let left = gathered(&out);
            assert_eq!(left, expected[..left.len()]);
            assert_eq!(out.len(), expected.len() as u64);
            out.advance(step);
            expected.drain(..(step as usize).min(expected.len()));
        }
        assert!(expected.is_empty() && out.is_empty());
    }

    #[test]
    fn a_file_stands_between_what_was_before_and_after() {
        let mut out = Outbox::default();
        out.small().extend_from_slice(b"before");
        out.push_file(File::open("/dev/null").unwrap().into(), 10..14);
        out.small().extend_from_slice(b"after");
        assert_eq!(gathered(&out), b"before");
        assert_eq!((out.len(), out.in_memory()), (15, 11));
        out.advance(6);
        assert!(matches!(out.next(), Next::File(_, r) if *r == (10..14)));
        out.advance(3);
        assert!(matches!(out.next(), Next::File(_, r) if *r == (13..14)));
        assert_eq!((out.len(), out.in_memory()), (6, 5));
        out.advance(1);
        assert_eq!(gathered(&out), b"after");
        out.advance(5);
        assert!(matches!(out.next(), Next::Nothing));
        assert_eq!((out.len(), out.in_memory()), (0, 0));
    }
}
