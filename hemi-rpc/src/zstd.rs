//! Payloads as zstd (RFC 8878), within bounds.

use std::cell::RefCell;

use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, compress_bound};

/// Quick: what is spared is time on a network between machines of one place.
const LEVEL: i32 = 1;

/// Nobody needs to look back further than 8 MiB (RFC 9659, 3): who says so could have much memory taken by a few bytes.
const WINDOW_LOG: u32 = 23;

/// Bytes that are made room for in one go, at most.
const ROOM: usize = 64 << 10;

thread_local! {
    /// Each is some hundred KiB: one is kept for the next payload.
    static COMPRESSING: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
}

/// A payload that is no zstd, or becomes too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnzstdError {
    /// It is no zstd, or looks back too far.
    #[error("the payload is no zstd")]
    Malformed,
    /// It breaks off.
    #[error("the payload's zstd breaks off")]
    Cut,
    /// It becomes more than may be.
    #[error("the payload becomes more than {0} bytes when it is decompressed")]
    TooLong(usize),
}

/// Compresses a payload; none if there is no memory for that.
pub(crate) fn zstd(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut context = match COMPRESSING.with_borrow_mut(Option::take) {
        Some(context) => context,
        None => {
            let mut context = CCtx::try_create()?;
            context.set_parameter(CParameter::CompressionLevel(LEVEL)).ok()?;
            context
        }
    };
    let mut out = Vec::with_capacity(compress_bound(bytes.len()));
    context.compress2(&mut out, bytes).ok()?;
    COMPRESSING.set(Some(context));
    Some(out)
}

/// Decompresses a payload to at most `most` bytes.
///
/// # Errors
/// When it is no zstd, or becomes more.
pub(crate) fn unzstd(bytes: &[u8], most: usize) -> Result<Vec<u8>, UnzstdError> {
    let mut out = Vec::new();
    if bytes.is_empty() {
        return Ok(out);
    }
    let mut context = DCtx::try_create().ok_or(UnzstdError::Malformed)?;
    let limited = context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG));
    limited.map_err(|_| UnzstdError::Malformed)?;
    let mut input = InBuffer::around(bytes);
    loop {
        let (start, taken) = (out.len(), input.pos());
        // One byte more, to see whether there are more than may be.
        out.reserve((bytes.len() * 4).clamp(256, ROOM).min(most - start + 1));
        let mut output = OutBuffer::around_pos(&mut out, start);
        let left = context.decompress_stream(&mut output, &mut input);
        let left = left.map_err(|_| UnzstdError::Malformed)?;
        if out.len() > most {
            return Err(UnzstdError::TooLong(most));
        }
        let (all_taken, full) = (input.pos() == bytes.len(), out.len() == out.capacity());
        match left {
            // There may be several frames in a row.
            0 if all_taken => return Ok(out),
            _ if full || out.len() > start || input.pos() > taken => {}
            _ if all_taken => return Err(UnzstdError::Cut),
            _ => return Err(UnzstdError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for len in [0, 1, 1000, 70_000, 3_000_000] {
            let payload: Vec<u8> = (0..len).map(|n: u32| (n % 251 + n / 9000) as u8).collect();
            let packed = zstd(&payload).unwrap();
            assert_eq!(unzstd(&packed, payload.len()), Ok(payload.clone()), "{len}");
            let twice = [packed.clone(), packed.clone()].concat();
            assert_eq!(unzstd(&twice, usize::MAX / 2).unwrap().len(), payload.len() * 2);
            if len > 0 {
                assert_eq!(
                    unzstd(&packed, payload.len() - 1),
                    Err(UnzstdError::TooLong(payload.len() - 1))
                );
                assert_eq!(
                    unzstd(&packed[..packed.len() - 1], payload.len()),
                    Err(UnzstdError::Cut)
                );
            }
        }
        assert_eq!(unzstd(b"", 0), Ok(Vec::new()));
        assert_eq!(unzstd(b"no zstd at all", 100), Err(UnzstdError::Malformed));
    }

    #[test]
    fn a_few_bytes_get_no_large_window() {
        // A frame that says that it looks back 128 MiB, with one empty block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 1, 0, 0];
        assert_eq!(unzstd(&frame, 1000), Err(UnzstdError::Malformed));
        let modest = [0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 1, 0, 0];
        assert_eq!(unzstd(&modest, 1000), Ok(Vec::new()));
    }
}
