//! Decodes blocks of field lines (RFC 7541 section 6).

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::static_table::ENTRIES;
use super::table::Table;
use crate::huffman;
use crate::message::FieldName;
use crate::prefix_int;

/// A block that can't be decoded. The state of the compression is lost with it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("malformed block of fields")]
pub struct HpackError;

/// The state of the compression of what a peer sends.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What the peer may have the table grow to.
    limit: usize,
}

/// Strings of a few messages share memory that is allocated by this much.
const STRINGS: usize = 512;

/// Changes of the table's size at the start of a block: to the least that it was, and to what it is now.
const MOST_RESIZES: u32 = 2;

impl Default for Decoder {
    /// With a table of the size that HTTP/2 begins with (RFC 9113 section 6.5.2).
    fn default() -> Self {
        Self::new(4096)
    }
}

impl Decoder {
    /// With a table of at most `limit` bytes, as they are counted in RFC 7541 section 4.1.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { table: Table::new(limit), limit }
    }

    /// Decodes a whole block, and passes its lines on. `strings` lends memory to values.
    ///
    /// # Errors
    /// When it is malformed. All lines before have been passed on.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        strings: &mut BytesMut,
        mut line: impl FnMut(&FieldName, Bytes),
    ) -> Result<(), HpackError> {
        let mut resizes = 0;
        while let Some(&first) = block.first() {
            if first & 0x80 != 0 {
                // Section 6.1
                let index = int(7, &mut block)?;
                match static_entry(index) {
                    Some((name, value)) => line(name, Bytes::from_static(value.as_bytes())),
                    None => {
                        let entry = self.table.entry(dynamic(index)?).ok_or(HpackError)?;
                        line(&entry.name, entry.value.clone());
                    }
                }
            } else if first & 0x40 != 0 {
                // Section 6.2.1
                let name = self.name(6, &mut block, strings)?;
                let value = string(&mut block, strings)?;
                line(&name, value.clone());
                self.table.insert(name, Bytes::copy_from_slice(&value));
            } else if first & 0x20 != 0 {
                // Section 6.3
                resizes += 1;
                let size = int(5, &mut block)?;
                if resizes > MOST_RESIZES || size > self.limit {
                    return Err(HpackError);
                }
                self.table.resize(size);
                continue;
            } else {
                // Sections 6.2.2 and 6.2.3
                let name = self.name(4, &mut block, strings)?;
                line(&name, string(&mut block, strings)?);
            }
            // Only at the start: section 4.2.
            resizes = MOST_RESIZES;
        }
        Ok(())
    }

    fn name(
        &self,
        prefix: u32,
        block: &mut &[u8],
        strings: &mut BytesMut,
    ) -> Result<FieldName, HpackError> {
        let index = int(prefix, block)?;
        if index == 0 {
            let name = string(block, strings)?;
            return Ok(FieldName::parse(&name));
        }
        if let Some((name, _)) = static_entry(index) {
            return Ok(name.clone());
        }
        Ok(self.table.entry(dynamic(index)?).ok_or(HpackError)?.name.clone())
    }
}

fn static_entry(index: usize) -> Option<&'static (FieldName, &'static str)> {
    ENTRIES.get(index.checked_sub(1)?)
}

/// The place in the dynamic table that an index beyond the static one means; there is no index 0.
fn dynamic(index: usize) -> Result<usize, HpackError> {
    index.checked_sub(ENTRIES.len() + 1).ok_or(HpackError)
}

fn int(prefix: u32, block: &mut &[u8]) -> Result<usize, HpackError> {
    let value = prefix_int::decode(prefix, block).map_err(|_| HpackError)?;
    usize::try_from(value).map_err(|_| HpackError)
}

/// Section 5.2
fn string(block: &mut &[u8], strings: &mut BytesMut) -> Result<Bytes, HpackError> {
    let is_coded = block.first().is_some_and(|b| b & 0x80 != 0);
    let len = int(7, block)?;
    let (bytes, rest) = block.split_at_checked(len).ok_or(HpackError)?;
    *block = rest;
    if bytes.is_empty() {
        return Ok(Bytes::new());
    }
    let room = if is_coded { len * 8 / 5 } else { len };
    if strings.capacity() < room {
        strings.reserve(room.max(STRINGS));
    }
    if is_coded {
        huffman::decode(bytes, strings).map_err(|_| HpackError)?;
    } else {
        strings.extend_from_slice(bytes);
    }
    Ok(strings.split().freeze())
}
