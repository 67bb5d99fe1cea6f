//! Coarse time, read without a system call.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// A moment of the monotonic clock, to the kernel tick (1 to 10 ms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Later than every other moment.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment that comes `after` this one; [`Moment::NEVER`] if it is out of range.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long it is from `earlier` to here; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Milliseconds since the machine started.
    pub(crate) fn millis(self) -> u64 {
        self.0
    }

    pub(crate) fn from_millis(millis: u64) -> Self {
        Self(millis)
    }
}

/// Now, on the monotonic clock.
#[must_use]
pub fn now() -> Moment {
    let t = clock_gettime(ClockId::MonotonicCoarse);
    Moment(t.tv_sec as u64 * 1000 + t.tv_nsec as u64 / 1_000_000)
}

/// Now, on the monotonic clock, to the nanosecond: for those who measure, at ten times the cost of [`now`].
#[must_use]
#[expect(clippy::disallowed_methods, reason = "here is what others are to call")]
pub fn exact() -> Instant {
    Instant::now()
}

/// Now, as the calendar has it.
#[must_use]
pub fn calendar() -> SystemTime {
    let t = clock_gettime(ClockId::RealtimeCoarse);
    SystemTime::UNIX_EPOCH + Duration::new(t.tv_sec.max(0) as u64, t.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_compare_and_saturate() {
        let start = now();
        assert!(start.after(Duration::from_secs(1)) > start);
        assert_eq!(start.after(Duration::MAX), Moment::NEVER);
        assert_eq!(start.after(Duration::from_secs(2)).since(start), Duration::from_secs(2));
        assert_eq!(start.since(start.after(Duration::from_secs(2))), Duration::ZERO);
    }
}
