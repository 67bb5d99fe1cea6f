//! What is escaped for a log ends neither its line nor a string in quotes, and can be read back.
#![no_main]

use hemi_core::logger::{escape_json, escape_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = escaped(escape_text, input);
    assert!(text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"'));
    assert_eq!(read_text(&text), input);
    let json = escaped(escape_json, input);
    assert!(!json.contains(char::is_control));
    assert_eq!(read_json(&json), String::from_utf8_lossy(input));
});

fn escaped(escape: fn(&mut Vec<u8>, usize), value: &[u8]) -> String {
    let mut line = b"\"".to_vec();
    line.extend_from_slice(value);
    escape(&mut line, 1);
    String::from_utf8(line.split_off(1)).expect("UTF-8")
}

fn read_text(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut read = Vec::new();
    while let Some(byte) = bytes.next() {
        read.push(match byte {
            b'\\' => {
                assert_eq!(bytes.next(), Some(b'x'));
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).expect("two digits")
            }
            byte => byte,
        });
    }
    read
}

fn read_json(text: &str) -> String {
    let mut chars = text.chars();
    let mut read = String::new();
    while let Some(c) = chars.next() {
        assert_ne!(c, '"');
        read.push(match c {
            '\\' => match chars.next() {
                Some(c @ ('"' | '\\')) => c,
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).expect("four digits");
                    char::from_u32(code).expect("a character")
                }
                other => panic!("\\ before {other:?}"),
            },
            c => c,
        });
    }
    read
}
