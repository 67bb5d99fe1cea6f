//! Waiting for something to become true, with a deadline.
#![expect(clippy::disallowed_methods, reason = "a deadline of a test is measured in real time")]

use std::thread;
use std::time::{Duration, Instant};

/// The longest pause between two looks at a condition.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// Polls `condition` until it holds; `false` if it still doesn't after `within`.
#[must_use = "assert that the condition came true"]
pub fn eventually(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    poll(within, || condition().then_some(())).is_some()
}

/// Polls `attempt` until it yields a value; `None` if it still doesn't after `within`.
///
/// The first looks follow each other closely, so that what is ready soon costs little.
pub fn poll<T>(within: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(pause.min(left));
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// A moment after which an operation has taken too long.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// The time left, never zero; `None` once the deadline has passed.
    pub(crate) fn left(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_again_until_the_condition_holds() {
        let mut looks = 0;
        assert!(eventually(Duration::from_secs(60), || {
            looks += 1;
            looks == 5
        }));
        assert_eq!(looks, 5);
    }

    #[test]
    fn looks_at_least_once_and_gives_up_at_the_deadline() {
        let mut looks = 0;
        assert!(!eventually(Duration::ZERO, || {
            looks += 1;
            false
        }));
        assert_eq!(looks, 1);
    }
}
