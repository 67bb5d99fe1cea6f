//! Templates of paths say of any path whether it matches, and what it has for each of their fields.
#![no_main]

use hemi_proto::http_rule::Template;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (template, path) = text.split_once('\n').unwrap_or((text, text));
    let Ok(template) = Template::parse(template) else { return };
    let _ = template.openness();
    if let Some(values) = template.capture(path) {
        assert!(path.starts_with('/'));
        assert_eq!(values.len(), template.fields().count());
        // Nothing is made up: what is captured is there, but for separators that were encoded.
        for value in values {
            assert!(value.contains(['/', '\\']) || path.contains(&*value), "{value}");
        }
    }
});
