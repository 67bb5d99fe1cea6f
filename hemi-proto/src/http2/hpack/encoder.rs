//! Encodes field lines. What all answers of a while have in common goes into the table of the client; all
//! else is written out, so that it can be encoded once for many connections.

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderName, HeaderValue, SET_COOKIE};

use super::static_table::index_of;
use crate::ascii::push_decimal;
use crate::huffman;
use crate::prefix_int;

/// The index of the newest entry of the dynamic table.
const NEWEST: u64 = 62;

/// First bits of lines (RFC 7541 section 6).
mod form {
    pub(super) const INDEXED: u8 = 0x80;
    pub(super) const TO_BE_INDEXED: u8 = 0x40;
    pub(super) const NEVER_INDEXED: u8 = 0x10;
    pub(super) const NOT_INDEXED: u8 = 0;
    pub(super) const RESIZE: u8 = 0x20;
}

/// Fields that all answers have for a while, such as `server` and `date`.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    id: u64,
    /// Lines that put them into the table.
    inserting: Bytes,
    /// Lines that leave the table alone.
    plain: Bytes,
    count: u64,
    /// What they take of the table.
    size: u32,
}

impl Standing {
    /// These fields, at most 8. `id` tells them from those of other times and servers, and is never 0.
    pub fn new<'a>(id: u64, fields: impl IntoIterator<Item = (HeaderName, &'a [u8])>) -> Self {
        let (mut inserting, mut plain) = (BytesMut::new(), BytesMut::new());
        let (mut count, mut size) = (0, 0);
        for (name, value) in fields.into_iter().take(8) {
            put_line(&mut inserting, form::TO_BE_INDEXED, 6, &name, value);
            put_line(&mut plain, form::NOT_INDEXED, 4, &name, value);
            count += 1;
            size += (name.as_str().len() + value.len() + 32) as u32;
        }
        Self { id, inserting: inserting.freeze(), plain: plain.freeze(), count, size }
    }
}

/// The state of the compression of what is sent to a client.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// Bytes of the client's table.
    table_size: u32,
    /// The client wants its table smaller than it was: to be confirmed by the next block.
    resized: bool,
    /// The [`Standing`] whose fields are the newest in the table; 0 if there are none.
    standing: u64,
}

/// The size of the table that is made use of, at most.
const MOST_USED: u32 = 4096;

impl Default for Encoder {
    fn default() -> Self {
        Self { table_size: MOST_USED, resized: false, standing: 0 }
    }
}

impl Encoder {
    /// The client has set the size of its table.
    pub fn resize(&mut self, size: u32) {
        // Whatever is in it may be lost, even if the size is as before: it may have been smaller meanwhile.
        *self = Self { table_size: size.min(MOST_USED), resized: true, standing: 0 };
    }

    /// To be called at the start of each block.
    pub fn begin(&mut self, out: &mut BytesMut) {
        if std::mem::take(&mut self.resized) {
            // Emptied: RFC 7541 section 4.2.
            if self.table_size > 0 {
                prefix_int::encode(out, 5, form::RESIZE, 0);
            }
            prefix_int::encode(out, 5, form::RESIZE, self.table_size.into());
        }
    }

    /// Appends the fields that answers have in common.
    pub fn standing(&mut self, standing: &Standing, out: &mut BytesMut) {
        if self.standing == standing.id {
            for index in NEWEST..NEWEST + standing.count {
                prefix_int::encode(out, 7, form::INDEXED, index);
            }
        } else if standing.size <= self.table_size {
            out.put_slice(&standing.inserting);
            self.standing = standing.id;
        } else {
            out.put_slice(&standing.plain);
        }
    }
}

/// Appends the status; the first line of a block.
pub fn encode_status(out: &mut BytesMut, status: StatusCode) {
    let index = match status.as_u16() {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            prefix_int::encode(out, 4, form::NOT_INDEXED, 8);
            put_plain(out, status.as_str().as_bytes());
            return;
        }
    };
    out.put_u8(form::INDEXED | index);
}

/// Appends a field.
pub fn encode_field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    // RFC 7541 section 7.1.3
    let is_secret = value.is_sensitive() || matches!(*name, SET_COOKIE | COOKIE | AUTHORIZATION);
    let form = if is_secret { form::NEVER_INDEXED } else { form::NOT_INDEXED };
    put_line(out, form, 4, name, value.as_bytes());
}

/// Appends the field `content-length`.
pub fn encode_content_length(out: &mut BytesMut, length: u64) {
    let index = index_of(CONTENT_LENGTH.as_str()).unwrap_or_default();
    prefix_int::encode(out, 4, form::NOT_INDEXED, index.into());
    let start = out.len();
    out.put_u8(0);
    push_decimal(out, length);
    let digits = out.len() - start - 1;
    if let Some(len) = out.get_mut(start) {
        *len = digits as u8;
    }
}

fn put_line(out: &mut BytesMut, form: u8, prefix: u32, name: &HeaderName, value: &[u8]) {
    match index_of(name.as_str()) {
        Some(index) => prefix_int::encode(out, prefix, form, index.into()),
        None => {
            out.put_u8(form);
            put_string(out, name.as_str().as_bytes());
        }
    }
    put_string(out, value);
}

/// Appends a string in its shorter form.
fn put_string(out: &mut BytesMut, text: &[u8]) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        prefix_int::encode(out, 7, 0x80, coded as u64);
        huffman::encode(text, out);
    } else {
        put_plain(out, text);
    }
}

fn put_plain(out: &mut BytesMut, text: &[u8]) {
    prefix_int::encode(out, 7, 0, text.len() as u64);
    out.put_slice(text);
}
