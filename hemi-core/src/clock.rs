//! Coarse time, read without a system call.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

use hemi_proto::date::{ISO8601_LEN, format_iso8601};
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
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0
    }

    /// The moment so many milliseconds after that.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
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

/// The same as [`format_iso8601`], which is asked once a second on each core.
#[must_use]
pub fn iso8601(at: SystemTime) -> [u8; ISO8601_LEN] {
    thread_local! {
        static LAST: Cell<(u64, [u8; ISO8601_LEN])> = const { Cell::new((u64::MAX, [0; ISO8601_LEN])) };
    }
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut text) = LAST.get();
    if second != since.as_secs() {
        (second, text) = (since.as_secs(), format_iso8601(at));
        LAST.set((second, text));
    }
    let millis = since.subsec_millis();
    let digit = |n: u32| b'0' + (n % 10) as u8;
    text[20..23].copy_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis)]);
    text
}

/// The same to the nanosecond: for those who measure, at ten times the cost of [`calendar`].
#[must_use]
pub fn exact_calendar() -> SystemTime {
    let t = clock_gettime(ClockId::Realtime);
    SystemTime::UNIX_EPOCH + Duration::new(t.tv_sec.max(0) as u64, t.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_second_is_kept_and_that_of_another_is_not() {
        for millis in [1_795_266_309_123, 1_795_266_309_007, 1_795_266_310_000, 0, u64::MAX >> 20] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(iso8601(at), format_iso8601(at));
        }
    }

    #[test]
    fn moments_compare_and_saturate() {
        let start = now();
        assert!(start.after(Duration::from_secs(1)) > start);
        assert_eq!(start.after(Duration::MAX), Moment::NEVER);
        assert_eq!(start.after(Duration::from_secs(2)).since(start), Duration::from_secs(2));
        assert_eq!(start.since(start.after(Duration::from_secs(2))), Duration::ZERO);
    }
}
