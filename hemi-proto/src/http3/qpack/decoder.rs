//! Field sections of requests, and the table that clients build for them.

use bytes::{Buf, Bytes, BytesMut};

use super::string::{Literal, StringError};
use super::table::DynamicTable;
use super::{ENTRY_OVERHEAD, static_table};
use crate::http3::Code;
use crate::message::FieldName;
use crate::prefix_int;

/// Reads the field sections of one connection.
#[derive(Debug)]
pub struct Decoder {
    table: DynamicTable,
    capacity: usize,
    /// Streams that wait for the table.
    blocked: Vec<u64>,
    max_blocked: usize,
    /// Insertions that the client knows to have come.
    acknowledged: u64,
    /// Instructions for the client's encoder.
    out: BytesMut,
}

/// What became of a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// All its lines were given.
    Whole,
    /// It has to wait until [`Decoder::inserted`] is this many; no line was given.
    Blocked(u64),
}

/// Encoded strings may be longer than what they say: by this, at most, in Huffman code.
const CODED: u64 = 4;

impl Decoder {
    /// With a table of up to so many bytes, for which so many streams may wait at once: as the settings say.
    #[must_use]
    pub fn new(capacity: usize, max_blocked: usize) -> Self {
        Self {
            table: DynamicTable::default(),
            capacity,
            blocked: Vec::new(),
            max_blocked,
            acknowledged: 0,
            out: BytesMut::new(),
        }
    }

    /// Entries that were inserted so far.
    #[must_use]
    pub fn inserted(&self) -> u64 {
        self.table.inserted()
    }

    /// Instructions that are to be sent to the client (RFC 9204 section 4.4).
    pub fn take_instructions(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Takes instructions off the front of what came on the encoder's stream (RFC 9204 section 4.3).
    pub fn read_instructions(&mut self, buf: &mut BytesMut) -> Result<(), Code> {
        loop {
            let mut bytes = &buf[..];
            match self.instruction(&mut bytes) {
                Ok(()) => {
                    let rest = bytes.len();
                    buf.advance(buf.len() - rest);
                }
                Err(StringError::Incomplete) => break,
                Err(StringError::Malformed) => return Err(Code::EncoderStreamError),
            }
        }
        let new = self.table.inserted() - self.acknowledged;
        if new > 0 {
            self.acknowledged += new;
            prefix_int::encode(&mut self.out, 6, 0, new);
        }
        Ok(())
    }

    fn instruction(&mut self, bytes: &mut &[u8]) -> Result<(), StringError> {
        let first = *bytes.first().ok_or(StringError::Incomplete)?;
        let most = self.capacity as u64 * CODED;
        let (name, value) = if first & 0x80 != 0 {
            let index = prefix_int::decode(6, bytes)?;
            let name = match first & 0x40 {
                0 => self.relative(index).map(|(name, _)| name.clone()),
                _ => static_table::entry(index).map(|(name, _)| name.clone()),
            };
            let value = Literal::take(7, bytes, most)?.to_owned()?;
            (name.ok_or(StringError::Malformed)?, value)
        } else if first & 0x40 != 0 {
            let name = Literal::take(5, bytes, most)?;
            let value = Literal::take(7, bytes, most)?.to_owned()?;
            (FieldName::parse(&name.to_owned()?), value)
        } else if first & 0x20 != 0 {
            let capacity = prefix_int::decode(5, bytes)?;
            if capacity > self.capacity as u64 {
                return Err(StringError::Malformed);
            }
            self.table.set_capacity(capacity as usize);
            return Ok(());
        } else {
            let index = prefix_int::decode(5, bytes)?;
            self.relative(index).cloned().ok_or(StringError::Malformed)?
        };
        self.table.insert(name, value).map_err(|_| StringError::Malformed)
    }

    /// An entry, counted from the newest.
    fn relative(&self, index: u64) -> Option<&(FieldName, Bytes)> {
        self.table.entry(self.table.inserted().checked_sub(index)?.checked_sub(1)?)
    }

    /// Reads a field section of this stream (RFC 9204 section 4.5), giving each line to `line`.
    pub fn decode(
        &mut self,
        stream: u64,
        section: &Bytes,
        mut line: impl FnMut(&FieldName, Bytes),
    ) -> Result<Decoded, Code> {
        let mut bytes = &section[..];
        let (required, base) = self.prefix(&mut bytes).ok_or(Code::DecompressionFailed)?;
        let waits = self.blocked.iter().position(|known| *known == stream);
        if required > self.table.inserted() {
            if waits.is_none() {
                if self.blocked.len() >= self.max_blocked {
                    return Err(Code::DecompressionFailed);
                }
                self.blocked.push(stream);
            }
            return Ok(Decoded::Blocked(required));
        }
        if let Some(at) = waits {
            self.blocked.swap_remove(at);
        }
        let mut lines = Lines { table: &self.table, required, base, section };
        while !bytes.is_empty() {
            lines.next(&mut bytes, &mut line).map_err(|_| Code::DecompressionFailed)?;
        }
        if required > 0 {
            self.acknowledged = self.acknowledged.max(required);
            prefix_int::encode(&mut self.out, 7, 0x80, stream);
        }
        Ok(Decoded::Whole)
    }

    /// Says that the field sections of a stream will not be read (RFC 9204 section 2.2.2.2).
    pub fn cancel(&mut self, stream: u64) {
        self.blocked.retain(|known| *known != stream);
        if self.capacity > 0 {
            prefix_int::encode(&mut self.out, 6, 0x40, stream);
        }
    }

    /// Required Insert Count and Base (RFC 9204 section 4.5.1).
    fn prefix(&self, bytes: &mut &[u8]) -> Option<(u64, u64)> {
        let encoded = prefix_int::decode(8, bytes).ok()?;
        let required = self.required(encoded)?;
        let is_negative = bytes.first()? & 0x80 != 0;
        let delta = prefix_int::decode(7, bytes).ok()?;
        let base = match is_negative {
            true => required.checked_sub(delta)?.checked_sub(1)?,
            false => required.checked_add(delta)?,
        };
        Some((required, base))
    }

    fn required(&self, encoded: u64) -> Option<u64> {
        if encoded == 0 {
            return Some(0);
        }
        let max_entries = (self.capacity / ENTRY_OVERHEAD) as u64;
        let full_range = 2 * max_entries;
        if encoded > full_range {
            return None;
        }
        let max_value = self.table.inserted() + max_entries;
        let wrapped = max_value / full_range * full_range;
        let required = wrapped + encoded - 1;
        let required = match required > max_value {
            true => required.checked_sub(full_range)?,
            false => required,
        };
        (required > 0).then_some(required)
    }
}

/// Reads the lines of a section.
struct Lines<'a> {
    table: &'a DynamicTable,
    required: u64,
    base: u64,
    section: &'a Bytes,
}

impl Lines<'_> {
    fn next(
        &mut self,
        bytes: &mut &[u8],
        line: &mut impl FnMut(&FieldName, Bytes),
    ) -> Result<(), StringError> {
        let first = *bytes.first().ok_or(StringError::Incomplete)?;
        let most = self.section.len() as u64;
        let missing = StringError::Malformed;
        if first & 0x80 != 0 {
            let index = prefix_int::decode(6, bytes)?;
            let entry = match first & 0x40 {
                0 => self.relative(index),
                _ => static_table::entry(index),
            };
            let (name, value) = entry.ok_or(missing)?;
            line(name, value.clone());
        } else if first & 0x40 != 0 {
            let index = prefix_int::decode(4, bytes)?;
            let entry = match first & 0x10 {
                0 => self.relative(index),
                _ => static_table::entry(index),
            };
            let (name, _) = entry.ok_or(missing)?;
            line(name, Literal::take(7, bytes, most)?.read(self.section)?);
        } else if first & 0x20 != 0 {
            let name = Literal::take(3, bytes, most)?.read(self.section)?;
            let value = Literal::take(7, bytes, most)?.read(self.section)?;
            line(&FieldName::parse(&name), value);
        } else if first & 0x10 != 0 {
            let index = prefix_int::decode(4, bytes)?;
            let (name, value) = self.post_base(index).ok_or(missing)?;
            line(name, value.clone());
        } else {
            let index = prefix_int::decode(3, bytes)?;
            let (name, _) = self.post_base(index).ok_or(missing)?;
            line(name, Literal::take(7, bytes, most)?.read(self.section)?);
        }
        Ok(())
    }

    /// An entry, counted back from the base.
    fn relative(&self, index: u64) -> Option<&(FieldName, Bytes)> {
        self.absolute(self.base.checked_sub(index)?.checked_sub(1)?)
    }

    /// An entry, counted from the base on.
    fn post_base(&self, index: u64) -> Option<&(FieldName, Bytes)> {
        self.absolute(self.base.checked_add(index)?)
    }

    fn absolute(&self, index: u64) -> Option<&(FieldName, Bytes)> {
        self.table.entry(index).filter(|_| index < self.required)
    }
}
