//! Configs: reading never panics, and the canonical form is a fixed point that reads like the
//! original.
#![no_main]

use hemi_core::config::{Constants, Source, Tree, fmt, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let load = |text: &str| load(&Source::text("fuzz", text), &Constants::default());
    let original = load(text);
    if let Err(error) = &original {
        assert!(!error.to_string().is_empty());
    }
    let Ok(formatted) = fmt("fuzz", text) else { return };
    assert_eq!(fmt("fuzz", &formatted).ok().as_deref(), Some(&*formatted));
    let digest = |tree: Tree| tree.root().digest();
    assert_eq!(load(&formatted).map(digest).ok(), original.map(digest).ok());
});
