//! Read and write buffers, shared by the connections of a core: one is taken when bytes come and given
//! back when the connection goes idle, so that an idle connection holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes of a buffer of the pool.
pub const BUFFER: usize = 16 << 10;

/// Buffers a core keeps at most: 4 MiB.
const KEPT: usize = 256;

/// Bytes of a large buffer.
pub const LARGE: usize = 128 << 10;

/// Large buffers a core keeps at most: 2 MiB.
const LARGE_KEPT: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static LARGE_POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for at least [`BUFFER`] bytes.
#[must_use]
pub fn take() -> BytesMut {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(BUFFER))
}

/// One with room for [`LARGE`] bytes, for those who expect much.
#[must_use]
pub fn take_large() -> BytesMut {
    LARGE_POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(LARGE))
}

/// Gives a buffer back; what it holds is lost. One that is shared or lent out is dropped, and so is one of
/// another size than the pool's: it may be the end of a larger one, which it would keep from being used.
pub fn give(mut buf: BytesMut) {
    buf.clear();
    if buf.capacity() == 0 || buf.try_reclaim(2 * LARGE + 1) {
        return;
    }
    let (pool, most) = if buf.try_reclaim(LARGE) {
        (&LARGE_POOL, LARGE_KEPT)
    } else if !buf.try_reclaim(2 * BUFFER + 1) && buf.try_reclaim(BUFFER) && is_whole(&buf) {
        (&POOL, KEPT)
    } else {
        return;
    };
    pool.with_borrow_mut(|pool| {
        if pool.len() < most {
            pool.push(buf);
        }
    });
}

/// Whether it is one of the pool's, maybe grown once.
fn is_whole(buf: &BytesMut) -> bool {
    [BUFFER, 2 * BUFFER].contains(&buf.capacity())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_whole() {
        let mut buf = take();
        buf.extend_from_slice(&[7; 100]);
        let head = buf.split_to(60).freeze();
        let start = head.as_ptr();
        drop(head);
        give(buf);
        let again = take();
        assert!(again.is_empty() && again.capacity() >= BUFFER);
        assert_eq!(again.as_ptr(), start);
    }

    #[test]
    fn a_buffer_that_is_still_seen_is_not_used_again() {
        let mut buf = take();
        buf.extend_from_slice(b"kept");
        let kept = buf.split_to(4).freeze();
        give(buf);
        let mut other = take();
        other.extend_from_slice(b"lost");
        assert_eq!(kept, "kept");
    }

    #[test]
    fn the_end_of_a_large_buffer_does_not_keep_it() {
        let mut large = take_large();
        let start = large.as_ptr();
        large.extend_from_slice(&[7; LARGE - 2 * BUFFER + 1]);
        let sent = large.split().freeze();
        // It has the room of a small one.
        give(large);
        give(sent.try_into_mut().unwrap());
        assert_eq!(take_large().as_ptr(), start);
    }

    #[test]
    fn buffers_of_another_size_are_not_kept() {
        for size in [BUFFER + 1, 3 * BUFFER, LARGE - 1, 3 * LARGE] {
            give(BytesMut::with_capacity(size));
            assert_eq!((take().capacity(), take_large().capacity()), (BUFFER, LARGE));
        }
    }
}
