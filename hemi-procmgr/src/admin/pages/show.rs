//! Figures as people read them.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use hemi_core::status::Timestamp;

/// `7 s`, `3 min`, `2 h 5 min`, `4 d 1 h`.
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// `13:05:09`, of the day in UTC; with the date, if that is not today.
pub(super) fn clock(at: Timestamp) -> String {
    let text = |at: Timestamp| hemi_core::clock::iso8601(SystemTime::from(at));
    let (at, now) = (text(at), text(Timestamp::now()));
    let part = |from: usize, to: usize| String::from_utf8_lossy(&at[from..to]).into_owned();
    match at[..10] == now[..10] {
        true => part(11, 19),
        false => format!("{} {}", part(0, 10), part(11, 19)),
    }
}

/// `1,234,567`
pub(super) fn count(count: f64) -> String {
    // The sum of no numbers is -0.
    let digits = format!("{:.0}", count + 0.0);
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How often a second: `0`, `0.3`, `12`.
pub(super) fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        rate if rate < 10.0 => format!("{rate:.1}"),
        rate => count(rate),
    }
}

/// `0.25 ms`, `12 ms`, `1.5 s`; a dash for none.
pub(super) fn took(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(s) if s < 0.01 => format!("{:.2} ms", s * 1e3),
        Some(s) if s < 1.0 => format!("{:.0} ms", s * 1e3),
        Some(s) => format!("{s:.1} s"),
    }
}

/// `34.5 MiB`
pub(super) fn bytes(bytes: f64) -> String {
    match bytes {
        b if b < 1024.0 * 1024.0 => format!("{:.0} KiB", b / 1024.0),
        b if b < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", b / 1024.0 / 1024.0),
        b => format!("{:.2} GiB", b / 1024.0 / 1024.0 / 1024.0),
    }
}

/// The points of a line over the last minute, 240 wide and 44 high, of which `most` takes 40.
pub(super) fn line(seconds: &VecDeque<u64>, most: u64) -> String {
    const SECONDS: usize = 60;
    let missing = SECONDS.saturating_sub(seconds.len());
    let points = seconds.iter().enumerate().map(|(index, count)| {
        let x = (missing + index) as f64 * 240.0 / (SECONDS - 1) as f64;
        let y = 42.0 - *count as f64 / most.max(1) as f64 * 40.0;
        format!("{x:.1},{y:.1}")
    });
    // From where it is known to where it is not, it is nothing.
    let start = match missing {
        0 => None,
        missing => Some(format!("0,42 {:.1},42", missing as f64 * 240.0 / (SECONDS - 1) as f64)),
    };
    start.into_iter().chain(points).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        let ages = [(0, "0 s"), (61, "1 min"), (7500, "2 h 5 min"), (350_000, "4 d 1 h")];
        ages.iter().for_each(|(s, text)| assert_eq!(age(Duration::from_secs(*s)), *text));
        let counts = [
            (0.0, "0"),
            (-0.0, "0"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ];
        counts.iter().for_each(|(n, text)| assert_eq!(count(*n), *text));
        assert_eq!([rate(0.0), rate(0.25), rate(1234.5)], ["0", "0.2", "1,234"]);
        let times = [None, Some(0.000_25), Some(0.012), Some(1.5)].map(took);
        assert_eq!(times, ["–", "0.25 ms", "12 ms", "1.5 s"]);
        assert_eq!([bytes(2048.0), bytes(36_175_872.0)], ["2 KiB", "34.5 MiB"]);
        assert_eq!(line(&[0, 5, 10].into(), 10), "0,42 231.9,42 231.9,42.0 235.9,22.0 240.0,2.0");
        assert_eq!(line(&VecDeque::from([1; 60]), 0).split(' ').count(), 60);
        let now = clock(Timestamp::now());
        assert_eq!((now.len(), clock(Timestamp(0))), (8, "1970-01-01 00:00:00".to_owned()));
    }
}
