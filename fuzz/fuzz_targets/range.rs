//! Resolved ranges lie inside the representation and ask for no byte twice.
#![no_main]

use hemi_proto::range::{RangeOutcome, Ranges};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((total, value)) = input.split_first_chunk() else { return };
    let total = u64::from_le_bytes(*total);
    let RangeOutcome::Partial(ranges) = Ranges::parse(value, total) else { return };
    let ranges = ranges.as_slice();
    assert!(!ranges.is_empty() && ranges.len() <= 16);
    let mut asked = 0u64;
    for (at, range) in ranges.iter().enumerate() {
        assert!(range.first() <= range.last() && range.last() < total);
        for other in &ranges[at + 1..] {
            assert!(range.last() < other.first() || other.last() < range.first());
        }
        asked = asked.checked_add(range.len()).expect("no byte twice");
    }
    assert!(asked <= total);

    // Written out again they resolve to themselves.
    let specs: Vec<_> =
        ranges.iter().map(|range| format!("{}-{}", range.first(), range.last())).collect();
    let RangeOutcome::Partial(again) =
        Ranges::parse(format!("bytes={}", specs.join(",")).as_bytes(), total)
    else {
        panic!("{specs:?}");
    };
    assert_eq!(again.as_slice(), ranges);
});
