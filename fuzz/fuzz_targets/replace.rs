//! What is replaced does not depend on the pieces that bytes come in. Of texts it is what a plain search
//! finds.
#![no_main]

use std::sync::{Arc, LazyLock};

use hemi_fuzz::split_piece_size;
use hemi_proto::replace::{LONGEST, Patterns, Replacements, Replacer, Texts};
use libfuzzer_sys::fuzz_target;

const TEXTS: [(&str, &str); 6] =
    [("a", "1"), ("ab", "22"), ("abab", ""), ("bab", "ab"), ("aaab", "4"), ("é", "e")];

const PATTERNS: [(&str, &str); 6] = [
    ("a+b", "<$0>"),
    ("(?i)(c)(d*)", "$2$1"),
    ("\\bword\\b", "$$"),
    ("(?m)^x.*$", ""),
    ("(?-u)\\xff+", "f"),
    ("y*", "-"),
];

static ALL_TEXTS: LazyLock<Arc<Replacements>> =
    LazyLock::new(|| Arc::new(Replacements::Texts(Texts::new(TEXTS).expect("texts"))));

static ALL_PATTERNS: LazyLock<Arc<Replacements>> =
    LazyLock::new(|| Arc::new(Replacements::Patterns(Patterns::new(PATTERNS).expect("patterns"))));

fn replaced(what: &Arc<Replacements>, input: &[u8], piece: usize) -> Vec<u8> {
    let (mut replacer, mut out) = (Replacer::new(what.clone()), Vec::new());
    input.chunks(piece).for_each(|piece| replacer.push(piece, &mut out));
    replacer.end(&mut out);
    out
}

/// At each place the longest of the texts.
fn plainly(input: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (input, Vec::new());
    while let [byte, next @ ..] = rest {
        let here = TEXTS.iter().filter(|(text, _)| rest.starts_with(text.as_bytes()));
        match here.max_by_key(|(text, _)| text.len()) {
            Some((text, by)) => {
                out.extend_from_slice(by.as_bytes());
                rest = &rest[text.len()..];
            }
            None => {
                out.push(*byte);
                rest = next;
            }
        }
    }
    out
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, input)) = split_piece_size(input) else { return };
    assert_eq!(replaced(&ALL_TEXTS, input, piece), plainly(input));
    // Long enough to be decided on before the end.
    let long = input.repeat(1 + 3 * LONGEST / input.len().max(256));
    let whole = replaced(&ALL_PATTERNS, &long, long.len().max(1));
    assert_eq!(replaced(&ALL_PATTERNS, &long, piece * 97), whole);
    assert_eq!(replaced(&ALL_PATTERNS, &long, piece), whole);
});
