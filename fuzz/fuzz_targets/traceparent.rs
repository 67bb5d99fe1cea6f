//! What is read of a `traceparent` field stands in it, and reads the same when it is sent on.
#![no_main]

use hemi_proto::traceparent::{TraceParent, parse_traceparent};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(parent) = parse_traceparent(input) else { return };
    let TraceParent { trace_id, span_id, sampled } = parent;
    assert_eq!((trace_id.len(), span_id.len()), (32, 16));
    for id in [trace_id, span_id] {
        assert!(id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert!(id.bytes().any(|b| b != b'0'));
    }
    let sent_on = format!("00-{trace_id}-{span_id}-{:02x}", u8::from(sampled));
    assert_eq!(parse_traceparent(sent_on.as_bytes()), Some(parent));
});
