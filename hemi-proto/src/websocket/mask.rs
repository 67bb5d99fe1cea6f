//! The mask on what clients send (RFC 6455, 5.3).

/// Bytes that are masked at once.
const BLOCK: usize = 32;

/// Masks, or unmasks, bytes: the first of them is the `offset`-th of its frame's payload.
pub fn apply(bytes: &mut [u8], mut mask: [u8; 4], offset: u64) {
    mask.rotate_left((offset % 4) as usize);
    let word = u32::from_ne_bytes(mask);
    let double = u64::from(word) << 32 | u64::from(word);
    let mut blocks = bytes.chunks_exact_mut(BLOCK);
    for block in &mut blocks {
        for eight in block.chunks_exact_mut(8) {
            if let Ok(eight) = <&mut [u8; 8]>::try_from(eight) {
                *eight = (u64::from_ne_bytes(*eight) ^ double).to_ne_bytes();
            }
        }
    }
    for (byte, mask) in blocks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_byte_by_byte_wherever_it_begins() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for len in (0..100).chain([1000, 4099]) {
            for offset in 0..9 {
                let plain: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
                let mut masked = plain.clone();
                apply(&mut masked, mask, offset as u64);
                let slowly = plain.iter().enumerate().map(|(n, b)| b ^ mask[(n + offset) % 4]);
                assert!(slowly.eq(masked.iter().copied()), "{len} bytes at {offset}");
                apply(&mut masked, mask, offset as u64);
                assert_eq!(masked, plain);
            }
        }
    }
}
