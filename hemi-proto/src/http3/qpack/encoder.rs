//! Field sections of answers, and the table that is built for them at the client.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::static_table::{self, Hit};
use super::{ENTRY_OVERHEAD, string};
use crate::http3::Code;
use crate::prefix_int;

/// Appends field lines that say all themselves or by the static table: they may be kept, and sent to
/// everybody.
#[derive(Clone, Copy, Debug)]
pub struct StaticEncoder;

impl StaticEncoder {
    /// Appends what a field section starts with that has such lines only.
    pub fn put_prefix(out: &mut impl BufMut) {
        out.put_slice(&[0, 0]);
    }

    /// Appends the line of a status.
    pub fn put_status(status: http::StatusCode, out: &mut impl BufMut) {
        if status == http::StatusCode::OK {
            return prefix_int::encode(out, 6, 0xc0, static_table::STATUS_200);
        }
        Self::put_line(":status", status.as_str().as_bytes(), out);
    }

    /// Appends a line.
    pub fn put_line(name: &str, value: &[u8], out: &mut impl BufMut) {
        match static_table::find(name, value) {
            Hit::Line(index) => prefix_int::encode(out, 6, 0xc0, index),
            Hit::Name(index) => {
                prefix_int::encode(out, 4, 0x50, index);
                string::put(out, 7, 0, value);
            }
            Hit::None => {
                string::put(out, 3, 0x20, name.as_bytes());
                string::put(out, 7, 0, value);
            }
        }
    }
}

/// Writes the field sections of one connection.
///
/// Entries stay: what fills the table first is what answers say again and again, and one that is never evicted
/// needs no looking after. Lines point at entries only that the client is known to have.
#[derive(Debug, Default)]
pub struct Encoder {
    entries: Vec<Entry>,
    size: usize,
    capacity: usize,
    /// What the settings of the client allow: of it the count in a prefix is made.
    max_capacity: usize,
    /// Entries that the client is known to have.
    known: u64,
    /// Field sections of each stream that point into the table and are not acknowledged.
    pub(super) pending: HashMap<u64, u32>,
    /// Instructions for the client's decoder.
    out: BytesMut,
}

#[derive(Debug)]
struct Entry {
    name: Box<str>,
    value: Box<[u8]>,
}

/// Bytes of a table that is filled, at most, whatever the client allows.
const CAPACITY: usize = 4 << 10;

/// Entries of it, at most: they are looked through for each line.
const ENTRIES: usize = 48;

/// Streams whose field sections are not acknowledged, at most: others do without the table.
const PENDING: usize = 256;

impl Encoder {
    /// Takes what the client's settings allow.
    pub fn allow(&mut self, max_capacity: u64) {
        self.max_capacity = usize::try_from(max_capacity).unwrap_or(usize::MAX);
        self.capacity = self.max_capacity.min(CAPACITY);
        if self.capacity > 0 {
            prefix_int::encode(&mut self.out, 5, 0x20, self.capacity as u64);
        }
    }

    /// Instructions that are to be sent to the client (RFC 9204 section 4.3).
    pub fn take_instructions(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Whether there are any.
    #[must_use]
    pub fn has_instructions(&self) -> bool {
        !self.out.is_empty()
    }

    /// Appends a field section of this stream: a status and fields.
    pub fn encode<'a>(
        &mut self,
        stream: u64,
        status: Option<http::StatusCode>,
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
        out: &mut BytesMut,
    ) {
        let mut lines = BytesMut::new();
        if let Some(status) = status {
            StaticEncoder::put_status(status, &mut lines);
        }
        // The base is what the client is known to have: lines count back from it.
        let base = self.known;
        let mut required = 0;
        let may_point = base > 0 && self.pending.len() < PENDING;
        for (name, value) in fields {
            if let Hit::Line(index) = static_table::find(name, value) {
                prefix_int::encode(&mut lines, 6, 0xc0, index);
                continue;
            }
            match self.find(name, value) {
                Some(index) if index < base && may_point => {
                    required = required.max(index + 1);
                    prefix_int::encode(&mut lines, 6, 0x80, base - 1 - index);
                }
                Some(_) => StaticEncoder::put_line(name, value, &mut lines),
                None => {
                    StaticEncoder::put_line(name, value, &mut lines);
                    self.insert(name, value);
                }
            }
        }
        if required == 0 {
            StaticEncoder::put_prefix(out);
        } else {
            let full_range = 2 * (self.max_capacity / ENTRY_OVERHEAD) as u64;
            prefix_int::encode(out, 8, 0, required % full_range + 1);
            prefix_int::encode(out, 7, 0, base - required);
            *self.pending.entry(stream).or_default() += 1;
        }
        out.extend_from_slice(&lines);
    }

    fn find(&self, name: &str, value: &[u8]) -> Option<u64> {
        let same = |entry: &Entry| *entry.value == *value && *entry.name == *name;
        self.entries.iter().position(same).map(|at| at as u64)
    }

    /// Inserts a field that others will have, too, if there is room.
    fn insert(&mut self, name: &str, value: &[u8]) {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        if self.entries.len() >= ENTRIES || self.size + size > self.capacity || is_volatile(name) {
            return;
        }
        self.size += size;
        match static_table::find(name, value) {
            Hit::Name(index) | Hit::Line(index) => {
                prefix_int::encode(&mut self.out, 6, 0xc0, index);
            }
            Hit::None => string::put(&mut self.out, 5, 0x40, name.as_bytes()),
        }
        string::put(&mut self.out, 7, 0, value);
        self.entries.push(Entry { name: name.into(), value: value.into() });
    }

    /// Takes instructions off the front of what came on the decoder's stream (RFC 9204 section 4.4).
    pub fn read_instructions(&mut self, buf: &mut BytesMut) -> Result<(), Code> {
        loop {
            let mut bytes = &buf[..];
            let Some(&first) = bytes.first() else { return Ok(()) };
            let prefix = if first & 0x80 != 0 { 7 } else { 6 };
            let number = match prefix_int::decode(prefix, &mut bytes) {
                Ok(number) => number,
                Err(prefix_int::IntError::Incomplete) => return Ok(()),
                Err(prefix_int::IntError::TooLarge) => return Err(Code::DecoderStreamError),
            };
            let rest = bytes.len();
            buf.advance(buf.len() - rest);
            if first & 0x80 != 0 {
                self.acknowledge(number)?;
            } else if first & 0x40 != 0 {
                self.pending.remove(&number);
            } else {
                let inserted = self.entries.len() as u64;
                let known = self.known.checked_add(number);
                let known = known.filter(|known| number > 0 && *known <= inserted);
                self.known = known.ok_or(Code::DecoderStreamError)?;
            }
        }
    }

    fn acknowledge(&mut self, stream: u64) -> Result<(), Code> {
        let pending = self.pending.get_mut(&stream).ok_or(Code::DecoderStreamError)?;
        *pending -= 1;
        if *pending == 0 {
            self.pending.remove(&stream);
        }
        Ok(())
    }
}

/// Whether the value of a field is another in most answers, or nobody else's business.
fn is_volatile(name: &str) -> bool {
    matches!(
        name,
        "age"
            | "content-length"
            | "content-range"
            | "date"
            | "etag"
            | "expires"
            | "last-modified"
            | "location"
            | "set-cookie"
            | "x-request-id"
    )
}
