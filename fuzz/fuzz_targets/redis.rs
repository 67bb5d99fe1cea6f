//! What clients of Redis say first has a bound, and what can't be of one can't become so by what follows.
#![no_main]

use hemi_proto::redis::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let whole = read(input);
    for end in 0..input.len().min(64) {
        if read(&input[..end]).is_err() {
            assert!(whole.is_err());
        }
    }
    match whole {
        Ok(None) => assert!(input.len() <= 16 << 10),
        Ok(Some(startup)) => {
            assert!(startup.user.len() + startup.database.len() <= input.len() + 8)
        }
        Err(_) => {}
    }
});
