//! Payloads as gzip (RFC 1952), within bounds.

use std::cell::RefCell;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

/// Quick: what is spared is time on a network between machines of one place.
const LEVEL: i32 = 1;

/// The largest window of gzip, and the sign for its head and checksum.
const WINDOW_BITS: u8 = 15 + 16;

/// Bytes that are made room for in one go, at most.
const ROOM: usize = 64 << 10;

thread_local! {
    /// Each is some hundred KiB: one is kept for the next payload.
    static DEFLATE: RefCell<Option<Deflate>> = const { RefCell::new(None) };
}

/// A payload that is no gzip, or becomes too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GunzipError {
    /// It is no gzip.
    #[error("the payload is no gzip")]
    Malformed,
    /// It breaks off.
    #[error("the payload's gzip breaks off")]
    Cut,
    /// It becomes more than may be.
    #[error("the payload becomes more than {0} bytes when it is decompressed")]
    TooLong(usize),
}

/// Compresses a payload.
#[must_use]
pub fn gzip(mut bytes: &[u8]) -> Vec<u8> {
    let kept = DEFLATE.with_borrow_mut(Option::take);
    let mut deflate = kept.unwrap_or_else(|| Deflate::new(LEVEL, true, WINDOW_BITS));
    let mut out = Vec::with_capacity(bytes.len() / 2 + 64);
    loop {
        let start = out.len();
        out.resize(start + (bytes.len() / 2).clamp(64, ROOM), 0);
        let (taken, given) = (deflate.total_in(), deflate.total_out());
        let done = deflate.compress(bytes, &mut out[start..], DeflateFlush::Finish);
        bytes = bytes.get((deflate.total_in() - taken) as usize..).unwrap_or_default();
        out.truncate(start + (deflate.total_out() - given) as usize);
        if matches!(done, Ok(Status::StreamEnd) | Err(_)) {
            break;
        }
    }
    deflate.reset();
    DEFLATE.set(Some(deflate));
    out
}

/// Decompresses a payload to at most `most` bytes.
///
/// # Errors
/// When it is no gzip, or becomes more.
pub fn gunzip(mut bytes: &[u8], most: usize) -> Result<Vec<u8>, GunzipError> {
    let mut out = Vec::new();
    // There may be several members in a row (RFC 1952, 2.2).
    while !bytes.is_empty() {
        let mut member = Inflate::new(true, WINDOW_BITS);
        loop {
            let start = out.len();
            // One byte more, to see whether there are more than may be.
            let room = (bytes.len() * 4).clamp(256, ROOM).min(most - start + 1);
            out.resize(start + room, 0);
            let (taken, given) = (member.total_in(), member.total_out());
            let status = member.decompress(bytes, &mut out[start..], InflateFlush::NoFlush);
            let given = (member.total_out() - given) as usize;
            bytes = bytes.get((member.total_in() - taken) as usize..).unwrap_or_default();
            out.truncate(start + given);
            if out.len() > most {
                return Err(GunzipError::TooLong(most));
            }
            match status.map_err(|_| GunzipError::Malformed)? {
                Status::StreamEnd => break,
                _ if given == room => {}
                _ if bytes.is_empty() => return Err(GunzipError::Cut),
                _ if given == 0 && member.total_in() == taken => {
                    return Err(GunzipError::Malformed);
                }
                _ => {}
            }
        }
    }
    Ok(out)
}
