//! An If field says the same with space around it, and asks for no more than all of its tokens and tags.
#![no_main]

use hemi_proto::webdav::if_field::{IfField, Test};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let spaced = [b" ", input, b"\t"].concat();
    let field = IfField::parse(input);
    assert_eq!(field, IfField::parse(&spaced));
    let Some(field) = field else { return };
    let tokens: Vec<_> = field.tokens().collect();
    assert!(tokens.iter().all(|token| !token.is_empty() && !token.contains('>')));
    for answer in [true, false] {
        field.holds(|resource, test| {
            assert!(resource.is_none_or(|uri| !uri.is_empty() && !uri.contains('>')));
            if let Test::Token(token) = test {
                assert!(tokens.contains(&token));
            }
            answer
        });
    }
});
