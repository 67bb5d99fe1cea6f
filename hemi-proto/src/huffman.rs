//! The Huffman code of HPACK and QPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: codes of the same length follow each other in the order of their symbols, so that
//! the lengths alone say all. Tables are made of them when this is compiled.

use bytes::BufMut;
use thiserror::Error;

/// Bits of the code of each byte (RFC 7541 appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Bits of the longest codes; that of the end of the string (EOS), which is never sent, is all ones.
const LONGEST: usize = 30;

/// Bytes that do not end as a Huffman-coded string does: with EOS, or padded by more than 7 bits or by zeros.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("malformed Huffman-coded string")]
pub struct HuffmanError;

/// Appends what `bytes` encode to `out`: at most 8/5 times as many.
pub fn decode(mut bytes: &[u8], out: &mut impl BufMut) -> Result<(), HuffmanError> {
    // The next `bits` bits, from the highest on.
    let mut window = 0u64;
    let mut bits = 0u32;
    loop {
        if let Some((next, _)) = bytes.split_first_chunk::<8>() {
            window |= u64::from_be_bytes(*next) >> bits;
            let taken = (63 - bits) / 8;
            bits += taken * 8;
            bytes = bytes.get(taken as usize..).unwrap_or_default();
        } else {
            while bits <= 56
                && let Some((&b, rest)) = bytes.split_first()
            {
                window |= u64::from(b) << (56 - bits);
                bits += 8;
                bytes = rest;
            }
            if bits < LONGEST as u32 {
                return decode_last(window, bits, out);
            }
        }
        while bits >= LONGEST as u32 {
            let (symbol, length) = symbol_at(window).ok_or(HuffmanError)?;
            out.put_u8(symbol);
            window <<= length;
            bits -= length;
        }
    }
}

/// Decodes the last bits, and checks what they are padded by: less than a byte of ones.
fn decode_last(mut window: u64, mut bits: u32, out: &mut impl BufMut) -> Result<(), HuffmanError> {
    // As if the padding went on: no code but that of EOS is that many ones.
    let ones = |bits: u32| u64::MAX.checked_shr(bits).unwrap_or(0);
    while let Some((symbol, length)) = symbol_at(window | ones(bits)) {
        if length > bits {
            break;
        }
        out.put_u8(symbol);
        window <<= length;
        bits -= length;
    }
    if bits < 8 && window | ones(bits) == u64::MAX { Ok(()) } else { Err(HuffmanError) }
}

/// The symbol whose code the window begins with, and the bits of it; `None` for EOS.
#[inline]
fn symbol_at(window: u64) -> Option<(u8, u32)> {
    let (symbol, length) = SHORT[(window >> (64 - SHORT_BITS)) as usize];
    if length > 0 {
        return Some((symbol, u32::from(length)));
    }
    long_symbol_at((window >> 32) as u32)
}

fn long_symbol_at(code: u32) -> Option<(u8, u32)> {
    let length = (SHORT_BITS + 1..=LONGEST).find(|&length| code < CODES.ends[length])?;
    let index = (code - CODES.starts[length]) >> (32 - length);
    let symbol = CODES.symbols.get(usize::from(CODES.firsts[length]) + index as usize)?;
    Some((*symbol, length as u32))
}

/// Bytes that `bytes` are encoded in.
#[must_use]
pub fn encoded_len(bytes: &[u8]) -> usize {
    let bits: usize = bytes.iter().map(|&b| usize::from(LENGTHS[usize::from(b)])).sum();
    bits.div_ceil(8)
}

/// Appends the code of `bytes`.
pub fn encode(bytes: &[u8], out: &mut impl BufMut) {
    // The next `bits` bits to be written, at the low end.
    let mut window = 0u64;
    let mut bits = 0u32;
    for &b in bytes {
        let length = u32::from(LENGTHS[usize::from(b)]);
        window = window << length | u64::from(CODES.codes[usize::from(b)]);
        bits += length;
        if bits >= 32 {
            bits -= 32;
            out.put_u32((window >> bits) as u32);
        }
    }
    while bits >= 8 {
        bits -= 8;
        out.put_u8((window >> bits) as u8);
    }
    if bits > 0 {
        out.put_u8((window << (8 - bits)) as u8 | 0xff >> bits);
    }
}

/// The code, as the lengths say it.
struct Codes {
    /// By symbol.
    codes: [u32; 256],
    /// Symbols in the order of their codes.
    symbols: [u8; 256],
    /// By length: where its symbols begin among all,
    firsts: [u16; LONGEST + 1],
    /// its first code, as the highest bits of 32,
    starts: [u32; LONGEST + 1],
    /// and the one after its last code, likewise.
    ends: [u32; LONGEST + 1],
}

static CODES: Codes = {
    let mut codes = Codes {
        codes: [0; 256],
        symbols: [0; 256],
        firsts: [0; LONGEST + 1],
        starts: [0; LONGEST + 1],
        ends: [0; LONGEST + 1],
    };
    let (mut length, mut code, mut count) = (1, 0u32, 0);
    while length <= LONGEST {
        code <<= 1;
        codes.firsts[length] = count as u16;
        codes.starts[length] = code << (32 - length);
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                codes.codes[symbol] = code;
                codes.symbols[count] = symbol as u8;
                code += 1;
                count += 1;
            }
            symbol += 1;
        }
        codes.ends[length] = code << (32 - length);
        length += 1;
    }
    codes
};

/// Codes up to this many bits, as nearly all that are sent, are found by one look.
const SHORT_BITS: usize = 9;

/// By the next bits: symbol and length of the code that they begin with; of length 0 if it is a longer one.
static SHORT: [(u8, u8); 1 << SHORT_BITS] = {
    let mut table = [(0, 0); 1 << SHORT_BITS];
    let mut symbol = 0;
    while symbol < 256 {
        let length = LENGTHS[symbol] as usize;
        if length <= SHORT_BITS {
            let first = (CODES.codes[symbol] as usize) << (SHORT_BITS - length);
            let mut at = 0;
            while at < 1 << (SHORT_BITS - length) {
                table[first + at] = (symbol as u8, length as u8);
                at += 1;
            }
        }
        symbol += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, HuffmanError> {
        let mut out = Vec::new();
        decode(bytes, &mut out).map(|()| out)
    }

    #[test]
    fn examples_of_the_rfc() {
        for (text, code) in [
            ("", &[][..]),
            (
                "www.example.com",
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
            ),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            ("302", &[0x64, 0x02]),
        ] {
            let mut out = Vec::new();
            encode(text.as_bytes(), &mut out);
            assert_eq!(out, code, "{text}");
            assert_eq!(encoded_len(text.as_bytes()), code.len());
            assert_eq!(decoded(code).as_deref(), Ok(text.as_bytes()));
        }
    }

    #[test]
    fn every_byte_is_read_back_wherever_it_stands() {
        let all: Vec<u8> = (0..=255).collect();
        for start in 0..all.len() {
            for len in [1, 2, 3, 9, 256] {
                let text = all.get(start..(start + len).min(256)).unwrap();
                let mut out = Vec::new();
                encode(text, &mut out);
                assert_eq!(out.len(), encoded_len(text));
                assert_eq!(decoded(&out).as_deref(), Ok(text));
            }
        }
    }

    #[test]
    fn wrong_ends() {
        for (bytes, why) in [
            (&[0xff][..], "a byte of padding"),
            (&[0b0001_1111, 0xff], "more than a byte of padding"),
            (&[0b0001_1110], "padding with a zero"),
            (&[0b0001_1000], "padding of zeros"),
            (&[0xff, 0xff, 0xff, 0xff], "EOS"),
            (&[0xff, 0xff, 0xff, 0xfc], "EOS and padding of zeros"),
            (&[0xff, 0xff, 0xff, 0xfd], "part of a long code"),
            (&[0xff; 64], "ones"),
        ] {
            assert_eq!(decoded(bytes), Err(HuffmanError), "{why}");
        }
        assert_eq!(decoded(&[0b0001_1111]).as_deref(), Ok(&b"a"[..]));
    }
}
