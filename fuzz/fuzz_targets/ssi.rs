//! A page has the same directives in whatever pieces it comes. Values are bounded, and what is shown as
//! text has no markup.
#![no_main]

use hemi_fuzz::split_piece_size;
use hemi_proto::ssi::{MAX_VALUE, Piece, Scanner, holds, push_entities, substitute};
use libfuzzer_sys::fuzz_target;

/// The pieces of a page, with texts in a row put together.
fn scan(page: &[u8], size: usize) -> Vec<Piece> {
    let (mut scanner, mut pieces) = (Scanner::default(), Vec::<Piece>::new());
    let mut add = |piece: Piece| match (pieces.last_mut(), piece) {
        (Some(Piece::Text(before)), Piece::Text(text)) => {
            *before = [&before[..], &text].concat().into();
        }
        (_, piece) => pieces.push(piece),
    };
    for bytes in page.chunks(size) {
        scanner.push(bytes);
        std::iter::from_fn(|| scanner.take()).for_each(&mut add);
    }
    scanner.end();
    std::iter::from_fn(|| scanner.take()).for_each(&mut add);
    pieces
}

/// Half of the variables are there.
fn variable(name: &str) -> Option<String> {
    (name.len() % 2 == 1).then(|| format!("<{name}>\"$'"))
}

fuzz_target!(|input: &[u8]| {
    let Some((size, page)) = split_piece_size(input) else { return };
    let pieces = scan(page, page.len().max(1));
    assert_eq!(scan(page, size), pieces);
    let directives = pieces.iter().filter_map(|piece| match piece {
        Piece::Directive(directive) => Some(directive),
        _ => None,
    });
    for (name, value) in directives.flat_map(|directive| &directive.attributes) {
        assert!(!name.is_empty());
        let _ = holds(value, &variable);
        let Some(value) = substitute(value, variable) else { continue };
        assert!(value.len() <= MAX_VALUE);
        let mut out = Vec::new();
        push_entities(&mut out, &value);
        assert!(!out.iter().any(|b| b"<>\"'".contains(b)));
    }
});
