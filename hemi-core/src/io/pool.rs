//! Read and write buffers, shared by the connections of a core: one is taken when bytes come and given
//! back when the connection goes idle, so that an idle connection holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes of a buffer of the pool.
pub const BUFFER: usize = 16 << 10;

/// Buffers a core keeps at most: 4 MiB.
const KEPT: usize = 256;

/// Bytes of a large buffer.
const LARGE: usize = 64 << 10;

/// Large buffers a core keeps at most: 2 MiB.
const LARGE_KEPT: usize = 32;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static LARGE_POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for at least [`BUFFER`] bytes.
#[must_use]
pub fn take() -> BytesMut {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(BUFFER))
}

/// One with room for 64 KiB, for those who expect much.
#[must_use]
pub fn take_large() -> BytesMut {
    LARGE_POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(LARGE))
}

/// Gives a buffer back; what it holds is lost. One that is shared, grown or lent out is dropped.
pub fn give(mut buf: BytesMut) {
    buf.clear();
    if buf.capacity() == 0 || !buf.try_reclaim(BUFFER) {
        return;
    }
    if (LARGE..=2 * LARGE).contains(&buf.capacity()) {
        LARGE_POOL.with_borrow_mut(|pool| {
            if pool.len() < LARGE_KEPT {
                pool.push(buf);
            }
        });
        return;
    }
    if buf.capacity() > 2 * BUFFER {
        return;
    }
    POOL.with_borrow_mut(|pool| {
        if pool.len() < KEPT {
            pool.push(buf);
        }
    });
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
}
