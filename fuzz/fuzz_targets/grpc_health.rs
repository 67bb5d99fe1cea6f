//! Answers to a check by gRPC, whatever they are, come to a status or to an error.
#![no_main]

use hemi_proto::grpc_health::{encode_check, read_check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    let _ = read_check(content);
    if let Ok(service) = str::from_utf8(content) {
        // A question is a message, too, whose field is not the one that is looked for.
        let _ = read_check(&encode_check(service)).expect("it is one message");
    }
});
