//! What several fuzz targets share: feeding a parser in pieces.

use bytes::BytesMut;

/// Splits the first byte off an input, to choose the size of the pieces (1 to 32) by its low bits.
pub fn split_piece_size(input: &[u8]) -> Option<(usize, &[u8])> {
    let (control, rest) = input.split_first()?;
    Some((usize::from(control & 0x1f) + 1, rest))
}

/// Calls `read` on a buffer that grows by pieces of `size` bytes, until it gives a value or an
/// error. Bytes that were not fed by then are added to the buffer, which is returned.
pub fn feed<T, E>(
    input: &[u8],
    size: usize,
    mut read: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>,
) -> (Result<Option<T>, E>, BytesMut) {
    let mut buf = BytesMut::new();
    let mut result = Ok(None);
    for piece in input.chunks(size) {
        buf.extend_from_slice(piece);
        if matches!(result, Ok(None)) {
            result = read(&mut buf);
        }
    }
    (result, buf)
}
