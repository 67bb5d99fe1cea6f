//! An expression that is read comes again and again, and what is found is the first that fits.
#![no_main]

use hemi_proto::cron::Cron;
use jiff::ToSpan;
use jiff::civil::DateTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((day, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let cron: Cron = match text.parse() {
        Ok(cron) => cron,
        Err(e) => return assert!(!e.to_string().is_empty() && !e.hint().is_empty()),
    };
    let mut after = DateTime::constant(2026, 11, 21, 10, 20, 30, 0) + (i32::from(*day) * 40).days();
    for _ in 0..4 {
        let next = cron.next_after(after).expect("there is always another");
        assert!(next > after);
        let between = after + (next.duration_since(after) / 2);
        assert_eq!(cron.next_after(between), Some(next));
        assert_eq!(cron.next_after(next - 1.second()), Some(next));
        after = next;
    }
});
