//! How long a call may take, as the field `grpc-timeout` says it.

use std::time::Duration;

/// Digits that it may have.
const DIGITS: usize = 8;

/// Reads it: at most eight digits and a unit.
#[must_use]
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count: u64, digit| count * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Writes it, in the finest unit that it fits in.
#[must_use]
pub fn show_timeout(timeout: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let counts = [
        (timeout.as_nanos(), 'n'),
        (timeout.as_micros(), 'u'),
        (timeout.as_millis(), 'm'),
        (u128::from(timeout.as_secs()), 'S'),
        (u128::from(timeout.as_secs() / 60), 'M'),
    ];
    let fitting = counts.into_iter().find(|(count, _)| *count <= MOST);
    let (count, unit) = fitting.unwrap_or((u128::from(timeout.as_secs() / 3600).min(MOST), 'H'));
    format!("{count}{unit}")
}
