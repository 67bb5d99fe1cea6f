//! What comes from strangers, made harmless for those who read logs: people at terminals, programs that
//! split lines.

use std::io::Write;

/// Escapes what was appended to `line` from `start` on, so that it can neither end the line or a string
/// in quotes, nor deceive a terminal: all but printable ASCII, `"` and `\` becomes `\xHH`.
pub fn escape_text(line: &mut Vec<u8>, start: usize) {
    rewrite(line, start, |value, line| {
        for &byte in value {
            match byte {
                b' '..=b'~' if byte != b'"' && byte != b'\\' => line.push(byte),
                _ => push(line, format_args!("\\x{byte:02X}")),
            }
        }
    });
}

/// The same for the inside of a string in JSON. Text in UTF-8 stays; what is none becomes U+FFFD, and
/// characters that only serve to deceive are escaped.
pub fn escape_json(line: &mut Vec<u8>, start: usize) {
    rewrite(line, start, |value, line| {
        for chunk in value.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' => line.extend_from_slice(b"\\\""),
                    '\\' => line.extend_from_slice(b"\\\\"),
                    c if is_hidden(c) => push(line, format_args!("\\u{:04x}", u32::from(c))),
                    c => push(line, format_args!("{c}")),
                }
            }
            if !chunk.invalid().is_empty() {
                line.extend_from_slice(b"\\ufffd");
            }
        }
    });
}

/// Controls, line ends, and what changes the direction of the text around it. None needs more than four
/// digits.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Most values are harmless, and stay where they are.
fn rewrite(line: &mut Vec<u8>, start: usize, escape: impl Fn(&[u8], &mut Vec<u8>)) {
    if !line.get(start..).is_none_or(is_plain) {
        let value = line.split_off(start);
        escape(&value, line);
    }
}

/// Whether nothing is to be escaped.
fn is_plain(bytes: &[u8]) -> bool {
    let (pieces, rest) = bytes.as_chunks::<PIECE>();
    let mut last = [b' '; PIECE];
    last[..rest.len()].copy_from_slice(rest);
    pieces.iter().chain([&last]).all(|piece| {
        // Without branches, so that the compiler looks at all of them at once.
        piece.iter().fold(true, |plain, byte| {
            plain & (b' '..=b'~').contains(byte) & (*byte != b'"') & (*byte != b'\\')
        })
    })
}

/// Bytes that are looked at at once.
const PIECE: usize = 16;

fn push(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = line.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: fn(&mut Vec<u8>, usize), value: &[u8]) -> String {
        let mut line = b"\"\n".to_vec();
        line.extend_from_slice(value);
        escape(&mut line, 2);
        assert_eq!(line[..2], *b"\"\n", "what stood before stays");
        String::from_utf8(line.split_off(2)).expect("UTF-8")
    }

    #[test]
    fn what_could_end_the_line_is_escaped() {
        for (value, text, json) in [
            (&b"/plain?a=b"[..], "/plain?a=b", "/plain?a=b"),
            (b"", "", ""),
            (b"0123456789abcdef", "0123456789abcdef", "0123456789abcdef"),
            (b"0123456789abcdef\"", "0123456789abcdef\\x22", "0123456789abcdef\\\""),
            (b"0123456789abcde\n0", "0123456789abcde\\x0A0", "0123456789abcde\\u000a0"),
            (b"a\"b\\c", "a\\x22b\\x5Cc", "a\\\"b\\\\c"),
            (b"\r\n\t\0", "\\x0D\\x0A\\x09\\x00", "\\u000d\\u000a\\u0009\\u0000"),
            (b"\x1b[2J\x7f", "\\x1B[2J\\x7F", "\\u001b[2J\\u007f"),
            ("\u{9b}2J".as_bytes(), "\\xC2\\x9B2J", "\\u009b2J"),
            ("grün".as_bytes(), "gr\\xC3\\xBCn", "grün"),
            (
                "a\u{202e}b\u{2028}".as_bytes(),
                "a\\xE2\\x80\\xAEb\\xE2\\x80\\xA8",
                "a\\u202eb\\u2028",
            ),
            (b"a\xffb\xc3", "a\\xFFb\\xC3", "a\\ufffdb\\ufffd"),
        ] {
            assert_eq!(escaped(escape_text, value), text);
            assert_eq!(escaped(escape_json, value), json);
        }
    }
}
