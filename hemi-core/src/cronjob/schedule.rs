//! When a cronjob runs, and for how long at most.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use hemi_proto::cron::{Cron, CronError};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use tokio::time::Instant;

use crate::config::suggest;
use crate::{Error, Result, clock};

/// So much of the past is not over yet: what a stage was about to start, the next one starts.
const SLACK: Duration = Duration::from_secs(1);

/// A clock that is set back by more than this was wrong: nothing waits until it shows that time again.
const SET_BACK: Duration = Duration::from_secs(3600);

/// When a cronjob runs, and for how long at most.
///
/// ```
/// use std::time::Duration;
/// use hemi_core::cronjob::Schedule;
///
/// let hourly = Schedule::every(Duration::from_secs(3600));
/// let nightly = Schedule::cron("0 3 * * *", "Europe/Berlin")?.timeout(Duration::from_secs(600));
/// # Ok::<(), hemi_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    times: Times,
    pub(super) jitter: Duration,
    pub(super) timeout: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Times {
    Every(Duration),
    Cron(Box<Cron>, TimeZone),
}

/// What is wrong with a cron expression, or its time zone, or both.
#[derive(Debug)]
pub(super) struct BadCron {
    pub(super) cron: Option<CronError>,
    pub(super) zone: Option<ZoneError>,
}

/// A name that no time zone has.
#[derive(Debug)]
pub(super) struct ZoneError {
    name: String,
    near: Option<String>,
}

/// A moment, on the clock that only runs and on that of the calendar, which may be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) instant: Instant,
    pub(super) calendar: SystemTime,
}

/// The next start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// When it should be.
    pub(super) planned: Point,
    /// When it is: later, if there is jitter.
    pub(super) start: Point,
}

impl Schedule {
    /// Runs so long after each other, at least a millisecond.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self::of(Times::Every(every.max(Duration::from_millis(1))))
    }

    /// Runs when a cron expression says, by the clocks of a time zone: see [`hemi_proto::cron`], and
    /// [`CronjobConfig::time_zone`](super::CronjobConfig::time_zone) for the nights they are set in.
    ///
    /// # Errors
    /// When the expression is none, or no time zone has this name.
    pub fn cron(expression: &str, zone: &str) -> Result<Self> {
        Self::parse(expression, zone).map_err(|bad| {
            let cron = bad.cron.map(|e| format!("{e}: {}", e.hint()));
            let zone = bad.zone.map(|e| format!("{e}: {}", e.hint()));
            Error::other(cron.into_iter().chain(zone).collect::<Vec<_>>().join("; "))
        })
    }

    pub(super) fn parse(expression: &str, zone: &str) -> Result<Self, BadCron> {
        match (expression.parse(), find_zone(zone)) {
            (Ok(cron), Ok(zone)) => Ok(Self::of(Times::Cron(Box::new(cron), zone))),
            (cron, zone) => Err(BadCron { cron: cron.err(), zone: zone.err() }),
        }
    }

    fn of(times: Times) -> Self {
        Self { times, jitter: Duration::ZERO, timeout: None }
    }

    /// Starts later by up to this, at random. Zero by default.
    #[must_use]
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// Gives up a run that takes longer. No limit by default.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// The start after the one that was planned for `seen`; none if there is none before the calendar
    /// ends.
    pub(super) fn after(&self, seen: Point, now: Point) -> Option<Due> {
        let planned = match &self.times {
            Times::Every(every) => now.later(seen.instant.checked_add(*every)? - now.instant)?,
            Times::Cron(cron, zone) => {
                let ahead = seen.calendar.duration_since(now.calendar).unwrap_or_default();
                let recent = now.calendar.checked_sub(SLACK)?;
                let from = if ahead > SET_BACK { now.calendar } else { seen.calendar.max(recent) };
                let next = next(cron, zone, Timestamp::try_from(from).ok()?)?;
                let calendar = SystemTime::try_from(next).ok()?;
                Point { instant: now.instant.checked_add(left_until(calendar, now))?, calendar }
            }
        };
        Some(Due { planned, start: planned.later(at_random(self.jitter))? })
    }

    /// Waits for a start. The calendar may be set meanwhile: it is looked at once a minute.
    pub(super) async fn wait(&self, due: Option<Due>) {
        let Some(due) = due else { return std::future::pending().await };
        loop {
            let now = Point::now();
            let left = match self.times {
                Times::Every(_) => due.start.instant - now.instant,
                Times::Cron(..) => left_until(due.start.calendar, now),
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_secs(60))).await;
        }
    }
}

impl Point {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), calendar: clock::calendar() }
    }

    fn later(self, by: Duration) -> Option<Self> {
        let instant = self.instant.checked_add(by)?;
        Some(Self { instant, calendar: self.calendar.checked_add(by)? })
    }
}

impl ZoneError {
    pub(super) fn hint(&self) -> String {
        match &self.near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "names are those of the IANA database, such as \"Europe/Berlin\"".into(),
        }
    }
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no time zone is named \"{}\"", self.name)
    }
}

/// Looks into the database that this program brings along: what a config means does not hang on the
/// machine, and to check it reads no file.
fn find_zone(name: &str) -> Result<TimeZone, ZoneError> {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    let zones = ZONES.get_or_init(TimeZoneDatabase::bundled);
    zones.get(name).map_err(|_| {
        let names: Vec<String> = zones.available().map(|name| name.as_str().to_owned()).collect();
        let city = |full: &&String| {
            full.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name))
        };
        let near = names.iter().find(city).map(String::as_str);
        let near = near.or_else(|| suggest(name, names.iter().map(String::as_str)));
        ZoneError { name: name.to_owned(), near: near.map(str::to_owned) }
    })
}

fn left_until(calendar: SystemTime, now: Point) -> Duration {
    calendar.duration_since(now.calendar).unwrap_or_default()
}

fn at_random(most: Duration) -> Duration {
    let share = RandomState::new().hash_one(()) >> 32;
    Duration::try_from_secs_f64(most.as_secs_f64() * share as f64 / f64::from(u32::MAX))
        .unwrap_or(most)
}

/// The first time after this one that an expression means.
fn next(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    if cron.is_for_every_hour() {
        return next_of_real_time(cron, zone, after);
    }
    let mut civil = zone.to_datetime(after);
    loop {
        civil = cron.next_after(civil)?;
        // One that the clock shows for the second time is over.
        let at = when(zone, civil)?;
        if at > after {
            return Some(at);
        }
    }
}

/// When a clock shows this time, first; or, if it skips it, when it has done so.
fn when(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(civil).ok()
        }
        AmbiguousOffset::Gap { before, .. } => {
            let inside = before.to_timestamp(civil).ok()?.checked_add(1.second()).ok()?;
            zone.preceding(inside).next().map(|change| change.timestamp())
        }
    }
}

/// The same by a clock that is set, but does not skip or repeat for it.
fn next_of_real_time(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let (mut from, mut civil) = (after, zone.to_datetime(after));
    loop {
        let found = cron.next_after(civil)?;
        let found = zone.to_offset(from).to_timestamp(found).ok();
        match zone.following(from).next().map(|change| change.timestamp()) {
            Some(change) if found.is_none_or(|found| found >= change) => {
                from = change;
                // What it is set to counts too.
                civil = zone.to_datetime(from).checked_sub(1.second()).ok()?;
            }
            _ => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// The next times, by the clocks of the zone.
    fn times(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (expression.parse().unwrap(), find_zone(zone).unwrap());
        let starts =
            std::iter::successors(next(&cron, &zone, at(after)), |last| next(&cron, &zone, *last));
        let shown = |at: Timestamp| {
            let civil = at.to_zoned_datetime(zone.clone());
            civil.strftime("%d %H:%M:%S%:::z").to_string()
        };
        starts.take(count).map(shown).collect()
    }

    #[test]
    fn clocks_that_are_set() {
        #[rustfmt::skip]
        let rows: [(&str, &str, &str, &[&str]); 19] = [
            // Berlin skips from 2:00 to 3:00 on 29 March 2026, and shows 2:00 to 3:00 twice on 25 October.
            ("30 1 * * *", "Europe/Berlin", "2026-03-28T12:00Z", &["29 01:30:00+01", "30 01:30:00+02"]),
            ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", &["29 03:00:00+02", "30 02:30:00+02"]),
            ("0 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", &["29 03:00:00+02", "30 02:00:00+02"]),
            ("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00Z", &["29 03:00:00+02", "30 03:00:00+02"]),
            ("59 59 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", &["29 03:00:00+02", "30 02:59:59+02"]),
            // Many that are skipped come as one, with what falls on the same moment.
            ("*/20 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00Z", &["29 03:00:00+02", "29 03:20:00+02"]),
            ("0 */2 * * *", "Europe/Berlin", "2026-03-28T23:30Z", &["29 03:00:00+02", "29 04:00:00+02"]),
            ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", &["25 02:30:00+02", "26 02:30:00+01"]),
            ("0 3 * * *", "Europe/Berlin", "2026-10-24T12:00Z", &["25 03:00:00+01", "26 03:00:00+01"]),
            // From within the hour that is shown again.
            ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10Z", &["26 02:30:00+01"]),
            ("*/20 2 * * *", "Europe/Berlin", "2026-10-25T00:20Z", &["25 02:40:00+02", "26 02:00:00+01"]),
            // Those of every hour go on as if nothing were.
            ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:10Z", &["29 01:30:00+01", "29 03:00:00+02", "29 03:30:00+02"]),
            ("15 * * * *", "Europe/Berlin", "2026-03-29T00:10Z", &["29 01:15:00+01", "29 03:15:00+02"]),
            ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:10Z", &["25 02:30:00+02", "25 02:00:00+01", "25 02:30:00+01", "25 03:00:00+01"]),
            ("0 * 29 3 *", "Europe/Berlin", "2026-01-01T00:00Z", &["29 00:00:00+01", "29 01:00:00+01", "29 03:00:00+02"]),
            // By half an hour, at midnight, and by a whole day.
            ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", &["04 02:30:00+11", "05 02:15:00+11"]),
            ("0 0 * * *", "America/Havana", "2026-03-07T12:00Z", &["08 01:00:00-04", "09 00:00:00-04"]),
            ("0 12 * * *", "Pacific/Apia", "2011-12-30T00:00Z", &["31 00:00:00+14", "31 12:00:00+14"]),
            ("0 3 * * *", "UTC", "2026-03-28T12:00Z", &["29 03:00:00+00", "30 03:00:00+00"]),
        ];
        for (expression, zone, after, expected) in rows {
            let found = times(expression, zone, after, expected.len());
            assert_eq!(found, expected, "{expression} {zone} after {after}");
        }
    }

    /// A point so many seconds from another, on each clock.
    fn moved(point: Point, instant: u64, calendar: i64) -> Point {
        let by = Duration::from_secs(calendar.unsigned_abs());
        let calendar = if calendar < 0 { point.calendar - by } else { point.calendar + by };
        Point { instant: point.instant + Duration::from_secs(instant), calendar }
    }

    #[test]
    fn from_one_start_to_the_next() {
        let calendar = SystemTime::try_from(at("2026-11-21T10:00:00Z")).unwrap();
        let start = Point { instant: Instant::now(), calendar };
        let minutes = |n: u64| Schedule::every(Duration::from_secs(60 * n));
        let cron = |expression| Schedule::cron(expression, "UTC").unwrap();
        let (day, hour) = (86_400, 3_600);
        #[rustfmt::skip]
        let rows = [
            // what, now (on each clock, from the last start), seconds left
            (minutes(5), (0, 0), 300),
            (minutes(5), (100, 100), 200),
            // Too late: at once. The calendar does not matter.
            (minutes(5), (1000, 1000), 0),
            (minutes(5), (100, 1_000_000), 200),
            (minutes(5), (100, -1_000_000), 200),
            (cron("*/10 * * * *"), (0, 0), 600),
            (cron("*/10 * * * *"), (100, 100), 500),
            // A start of the last second is not over.
            (cron("*/10 * * * *"), (600, 600), 0),
            (cron("*/10 * * * *"), (602, 602), 598),
            // The calendar was set: forward, a little back, far back.
            (cron("*/10 * * * *"), (0, day + 60), 540),
            (cron("*/10 * * * *"), (0, -60), 660),
            (cron("*/10 * * * *"), (0, -hour), hour + 600),
            (cron("*/10 * * * *"), (0, -day - 60), 60),
        ];
        for (schedule, (instant, by), left) in rows {
            let now = moved(start, instant, by);
            let due = schedule.after(start, now).unwrap();
            let found = due.start.calendar.duration_since(now.calendar).unwrap();
            assert_eq!(found.as_secs(), left as u64, "{schedule:?} {instant} {by}");
            assert_eq!(due.start.instant - now.instant, found, "{schedule:?} {instant} {by}");
        }
        assert!(Schedule::every(Duration::MAX).after(start, start).is_none());
        assert!(
            minutes(1)
                .jitter(Duration::MAX)
                .after(start, start)
                .is_none_or(|due| { due.start.instant > start.instant })
        );
    }

    #[test]
    fn jitter_comes_after_and_stays_below_its_bound() {
        let schedule = Schedule::every(Duration::from_secs(60)).jitter(Duration::from_secs(30));
        let now = Point::now();
        let late: Vec<Duration> = (0..100)
            .filter_map(|_| schedule.after(now, now))
            .map(|due| due.start.instant - due.planned.instant)
            .collect();
        assert!(late.len() == 100 && late.iter().all(|late| *late <= Duration::from_secs(30)));
        assert!(late.iter().any(|one| *one != late[0]));
    }
}
