//! What a CA answers with: JSON of every kind, and a field that says when to ask again.
#![no_main]

use std::time::SystemTime;

use hemi_proto::acme::{self, Authorization, Directory, Order, Problem, Renewal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = serde_json::from_slice::<Directory>(input);
    if let Ok(order) = serde_json::from_slice::<Order>(input) {
        let _ = order.step();
    }
    if let Ok(authorization) = serde_json::from_slice::<Authorization>(input) {
        let _ = authorization.error();
    }
    if let Ok(problem) = serde_json::from_slice::<Problem>(input) {
        let text = problem.to_string();
        assert!(!text.chars().any(char::is_control) && text.len() < 20_000, "{text:?}");
    }
    if let Ok(Renewal { suggested_window: window }) = serde_json::from_slice(input)
        && let Some(at) = window.at(0.5)
    {
        assert!(window.start <= at && at <= window.end);
    }
    let _ = acme::retry_after(input, SystemTime::UNIX_EPOCH);
    if let Ok(text) = std::str::from_utf8(input)
        && (acme::is_token(text) || acme::is_host(text))
    {
        assert!(!text.contains('/') && !text.starts_with('.') && text.len() < 250);
    }
});
