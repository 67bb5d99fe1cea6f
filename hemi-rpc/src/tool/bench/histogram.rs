//! How often something took how long, to about one in sixty.

use std::time::Duration;

/// Each power of two is divided into so many.
const PARTS: u64 = 64;

/// Times that were measured.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    sum: Duration,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = vec![0; place(u64::MAX) + 1];
        Self { counts, sum: Duration::ZERO, max: Duration::ZERO }
    }
}

/// Where a number of nanoseconds is counted.
fn place(nanos: u64) -> usize {
    if nanos < PARTS {
        return nanos as usize;
    }
    let shift = u64::from(nanos.ilog2() - PARTS.ilog2());
    ((shift + 1) * PARTS + (nanos >> shift) - PARTS) as usize
}

/// The largest number that is counted there.
fn largest(place: usize) -> u64 {
    let place = place as u64;
    if place < PARTS {
        return place;
    }
    let shift = place / PARTS - 1;
    let next = u128::from(place % PARTS + PARTS + 1) << shift;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

impl Histogram {
    pub(super) fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(place(nanos)) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(time);
        self.max = self.max.max(time);
    }

    /// What others have measured, too.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn max(&self) -> Duration {
        self.max
    }

    pub(super) fn mean(&self) -> Duration {
        let count = u32::try_from(self.count()).unwrap_or(u32::MAX);
        self.sum.checked_div(count).unwrap_or_default()
    }

    /// So many thousandths took no longer.
    pub(super) fn quantile(&self, thousandths: u64) -> Duration {
        let wanted = (self.count() * thousandths).div_ceil(1000);
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return Duration::from_nanos(largest(place)).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_has_a_place_that_is_about_it() {
        let mut before = 0;
        for nanos in (0..1000).chain((1..10_000).map(|n| n * 7919 * n)).chain([u64::MAX]) {
            let at = place(nanos);
            assert!(at >= before && largest(at) >= nanos, "{nanos}");
            assert!(largest(at) - nanos <= nanos / PARTS, "{nanos}");
            before = at;
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        for millis in 1..=1000 {
            let half = if millis % 2 == 0 { &mut one } else { &mut other };
            half.add(Duration::from_millis(millis));
        }
        one.merge(&other);
        assert_eq!((one.count(), one.max()), (1000, Duration::from_secs(1)));
        assert_eq!(one.mean(), Duration::from_micros(500_500));
        for (thousandths, millis) in [(500, 500), (900, 900), (990, 990), (999, 999)] {
            let found = one.quantile(thousandths).as_millis();
            assert!((millis..=millis + millis / 60).contains(&found), "{found}");
        }
        assert_eq!(one.quantile(1000), Duration::from_secs(1));
        assert_eq!(Histogram::default().quantile(500), Duration::ZERO);
    }
}
