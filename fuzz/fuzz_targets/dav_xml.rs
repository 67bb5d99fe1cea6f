//! XML of WebDAV is the same after it was written and read again.
#![no_main]

use hemi_proto::webdav::xml::{Element, Node};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(element) = Element::parse(input) else { return };
    check(&element, 1);
    let mut written = String::new();
    element.write(&mut written);
    // Written out, all its namespaces count as well.
    if input.len() < 512 {
        assert_eq!(Element::parse(written.as_bytes()).as_ref(), Ok(&element), "{written}");
    }
});

fn check(element: &Element, depth: usize) {
    assert!(depth <= 32);
    assert!(!element.name.local.is_empty() && !element.name.local.contains(['<', '"', ':', ' ']));
    for node in &element.content {
        match node {
            Node::Element(inner) => check(inner, depth + 1),
            Node::Text(text) => assert!(!text.contains('\0')),
        }
    }
}
