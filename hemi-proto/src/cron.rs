//! Cron expressions, as crontab(5) has them: `minute hour day month weekday`, with a second before them
//! if need be.
//!
//! A field is `*`, a value, a range `a-b`, either of the two with a step as in `*/10` or `8-18/2`, or
//! several of these with commas between. Months and weekdays have names (`JAN`, `sun`); weekday 0 and 7
//! are Sunday. Of day and weekday both must fit if either begins with `*`, else one of them is enough:
//! `0 0 1,15 * MON` is the 1st, the 15th and each Monday. `@hourly`, `@daily` (`@midnight`), `@weekly`,
//! `@monthly` and `@yearly` (`@annually`) stand for their first moment.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};

/// When the clock on the wall starts something: a cron expression. It knows no time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    // Each is a set: bit n stands for the value n.
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    fit: Fit,
}

/// How day and weekday go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Both,
    Either,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronError {
    message: String,
    hint: String,
}

impl CronError {
    fn new(message: String, hint: impl Into<String>) -> Self {
        Self { message, hint: hint.into() }
    }

    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CronError {}

/// A leap day on a weekday comes after 40 years at the latest: a century may lack it.
const YEARS: i16 = 50;

impl Cron {
    /// The first time after this one that fits; none if the calendar, which ends with the year 9999,
    /// has no more of them.
    #[must_use]
    pub fn next_after(&self, after: DateTime) -> Option<DateTime> {
        let whole = after.with().subsec_nanosecond(0).build().ok()?;
        let from = whole.checked_add(1.second()).ok()?;
        let (mut date, mut time) = (from.date(), from.time());
        let last = date.year().saturating_add(YEARS);
        while date.year() <= last {
            let fits = self.has_day(date);
            if let Some(time) = self.time_from(time).filter(|_| fits) {
                return Some(date.to_datetime(time));
            }
            time = Time::midnight();
            date = match has(self.months, date.month()) {
                true => date.tomorrow().ok()?,
                false => date.last_of_month().tomorrow().ok()?,
            };
        }
        None
    }

    /// Whether the hour is left open, so that what it says is how much time lies between, rather than
    /// the time of the day.
    #[must_use]
    pub fn is_for_every_hour(&self) -> bool {
        self.hours == HOUR.all()
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month())
            && match self.fit {
                Fit::Both => day && weekday,
                Fit::Either => day || weekday,
            }
    }

    /// The first time of a day that fits, from this one on.
    fn time_from(&self, from: Time) -> Option<Time> {
        let in_minute = |h, m, from| Some(Time::constant(h, m, first(self.seconds, from)?, 0));
        let in_hour = |h, from: Time| {
            let this = has(self.minutes, from.minute())
                .then(|| in_minute(h, from.minute(), from.second()))
                .flatten();
            this.or_else(|| in_minute(h, first(self.minutes, from.minute() + 1)?, 0))
        };
        let this = has(self.hours, from.hour()).then(|| in_hour(from.hour(), from)).flatten();
        this.or_else(|| {
            let hour = first(self.hours, from.hour() + 1)?;
            in_minute(hour, first(self.minutes, 0)?, 0)
        })
    }
}

fn has(set: u64, value: i8) -> bool {
    set >> value & 1 == 1
}

/// The first value of a set, from this one on.
fn first(set: u64, from: i8) -> Option<i8> {
    let rest = set >> from;
    (rest != 0).then(|| from + rest.trailing_zeros() as i8)
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let text = match text.trim_ascii().strip_prefix('@') {
            Some(name) => nickname(name)?,
            None => text,
        };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [second, minute, hour, day, month, weekday] = match words[..] {
            [minute, hour, day, month, weekday] => ["0", minute, hour, day, month, weekday],
            [second, minute, hour, day, month, weekday] => {
                [second, minute, hour, day, month, weekday]
            }
            _ => {
                let message = format!("a cron expression has 5 or 6 fields, not {}", words.len());
                let hint = "write `minute hour day month weekday`, with a second before them if need be, or `@daily`";
                return Err(CronError::new(message, hint));
            }
        };
        let weekdays = WEEKDAY.set(weekday)?;
        let open = day.starts_with('*') || weekday.starts_with('*');
        let cron = Self {
            seconds: SECOND.set(second)?,
            minutes: MINUTE.set(minute)?,
            hours: HOUR.set(hour)?,
            days: DAY.set(day)?,
            months: MONTH.set(month)?,
            // 7 is Sunday too.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            fit: if open { Fit::Both } else { Fit::Either },
        };
        let longest = (1..=12).filter(|m| has(cron.months, *m)).map(longest).max().unwrap_or(31);
        match first(cron.days, 1) {
            Some(day) if day > longest && cron.fit == Fit::Both => {
                let message = format!("no month of these has a day {day}");
                Err(CronError::new(message, format!("they end with day {longest} at the latest")))
            }
            _ => Ok(cron),
        }
    }
}

/// The days of a month in a leap year.
fn longest(month: i8) -> i8 {
    Date::constant(2000, month, 1).days_in_month()
}

fn nickname(name: &str) -> Result<&'static str, CronError> {
    Ok(match name {
        "hourly" => "0 * * * *",
        "daily" | "midnight" => "0 0 * * *",
        "weekly" => "0 0 * * SUN",
        "monthly" => "0 0 1 * *",
        "yearly" | "annually" => "0 0 1 1 *",
        _ => {
            let message = format!("unknown cron expression `@{name}`");
            let hint = "there are @hourly, @daily, @weekly, @monthly and @yearly";
            return Err(CronError::new(message, hint));
        }
    })
}

/// What may stand at one place of an expression.
struct Field {
    name: &'static str,
    least: i8,
    most: i8,
    /// Of the values from `least` on.
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", least: 0, most: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAY: Field = Field { name: "day", least: 1, most: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEKDAY: Field = Field {
    name: "weekday",
    least: 0,
    most: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"],
};

impl Field {
    fn all(&self) -> u64 {
        between(self.least, self.most, 1)
    }

    fn set(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |set, item| Ok(set | self.item(item)?))
    }

    /// `*`, `a` or `a-b`, with or without a step.
    fn item(&self, item: &str) -> Result<u64, CronError> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (item, None),
        };
        let (least, most) = (self.least, self.most);
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (self.value(from)?, self.last_value(to)?),
            None => (self.value(range)?, self.value(range)?),
        };
        match step {
            _ if from > to => Err(CronError::new(
                format!("the range `{range}` runs backwards"),
                format!("write `{from}-{most},{least}-{to}`"),
            )),
            Some(step) if from == to => Err(CronError::new(
                format!("`{item}` has a step without a range"),
                format!("write `{from}-{most}/{step}`"),
            )),
            step => Ok(between(from, to, step.unwrap_or(1))),
        }
    }

    fn step(&self, text: &str) -> Result<i8, CronError> {
        let most = self.most - self.least;
        number(text).filter(|step| (1..=most).contains(step)).ok_or_else(|| {
            let message = format!("`{text}` is no step of {}s", self.name);
            CronError::new(message, format!("steps are 1-{most}"))
        })
    }

    /// The end of a range: a week that ends with SUN has it as its 7th day.
    fn last_value(&self, word: &str) -> Result<i8, CronError> {
        let value = self.value(word)?;
        let week_ends = self.most == 7 && value == 0 && !word.starts_with('0');
        Ok(if week_ends { 7 } else { value })
    }

    fn value(&self, word: &str) -> Result<i8, CronError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(word));
        let named = named.map(|index| self.least + index as i8);
        let inside = |value: &i8| (self.least..=self.most).contains(value);
        named.or_else(|| number(word).filter(inside)).ok_or_else(|| {
            let Self { name, least, most, names } = self;
            let names = match names {
                [first, .., _, last] if *most == 12 => format!(" or {first}-{last}"),
                [first, .., last, _] => format!(" or {first}-{last}"),
                _ => String::new(),
            };
            let message = format!("`{word}` is no {name}");
            CronError::new(message, format!("{name}s are {least}-{most}{names}"))
        })
    }
}

fn number(text: &str) -> Option<i8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn between(from: i8, to: i8, step: i8) -> u64 {
    (from..=to).step_by(step.unsigned_abs().into()).fold(0, |set, value| set | 1 << value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, after: &str) -> String {
        let cron: Cron = expression.parse().unwrap_or_else(|e| panic!("{expression}: {e}"));
        cron.next_after(after.parse().unwrap()).map(|time| time.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_next_time() {
        // 2026-11-21 is a Saturday.
        #[rustfmt::skip]
        let rows = [
            ("* * * * *", "2026-11-21T10:20:30", "2026-11-21T10:21:00"),
            ("* * * * *", "2026-11-21T10:20:59.999", "2026-11-21T10:21:00"),
            ("* * * * * *", "2026-11-21T10:20:30.5", "2026-11-21T10:20:31"),
            ("*/15 * * * *", "2026-11-21T10:45:00", "2026-11-21T11:00:00"),
            ("5-20/5 8-10 * * *", "2026-11-21T10:20:00", "2026-11-22T08:05:00"),
            ("0 0 * * *", "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
            ("59 59 23 31 12 *", "2026-12-31T23:59:58", "2026-12-31T23:59:59"),
            ("59 59 23 31 12 *", "2026-12-31T23:59:59", "2027-12-31T23:59:59"),
            ("30 4 29 2 *", "2026-11-21T00:00:00", "2028-02-29T04:30:00"),
            ("30 4 29 2 *", "2096-02-29T04:30:00", "2104-02-29T04:30:00"),
            ("0 0 29 2 */7", "2088-11-21T00:00:00", "2128-02-29T00:00:00"),
            ("0 0 31 * *", "2026-11-21T00:00:00", "2026-12-31T00:00:00"),
            ("0 9 * * MON-FRI", "2026-11-20T09:00:00", "2026-11-23T09:00:00"),
            ("0 9 * * fri-Sun", "2026-11-22T09:00:00", "2026-11-27T09:00:00"),
            ("0 9 * * 7", "2026-11-21T00:00:00", "2026-11-22T09:00:00"),
            ("0 9 * * 0", "2026-11-21T00:00:00", "2026-11-22T09:00:00"),
            ("0 0 1 jan,Jul *", "2026-11-21T00:00:00", "2027-01-01T00:00:00"),
            // One of the two is enough, unless one is open.
            ("0 0 1,15 * MON", "2026-11-21T00:00:00", "2026-11-23T00:00:00"),
            ("0 0 1,15 * MON", "2026-11-30T00:00:00", "2026-12-01T00:00:00"),
            ("0 0 */2 * MON", "2026-11-21T00:00:00", "2026-11-23T00:00:00"),
            ("0 0 */2 * MON", "2026-11-23T00:00:00", "2026-12-07T00:00:00"),
            ("0 0 30 2 MON", "2026-11-21T00:00:00", "2027-02-01T00:00:00"),
            ("@hourly", "2026-11-21T10:00:00", "2026-11-21T11:00:00"),
            ("@daily", "2026-11-21T10:00:00", "2026-11-22T00:00:00"),
            ("@midnight", "2026-11-21T10:00:00", "2026-11-22T00:00:00"),
            ("@weekly", "2026-11-21T10:00:00", "2026-11-22T00:00:00"),
            ("@monthly", "2026-11-21T10:00:00", "2026-12-01T00:00:00"),
            (" @yearly ", "2026-11-21T10:00:00", "2027-01-01T00:00:00"),
            ("@annually", "2026-11-21T10:00:00", "2027-01-01T00:00:00"),
            ("0 0 1 1 *", "9999-06-01T00:00:00", ""),
            ("* * * * * *", "9999-12-31T23:59:59", ""),
        ];
        for (expression, after, expected) in rows {
            assert_eq!(next(expression, after), expected, "{expression} after {after}");
        }
    }

    #[test]
    fn bad_expressions() {
        #[rustfmt::skip]
        let rows = [
            ("", "a cron expression has 5 or 6 fields, not 0", "write `minute hour"),
            ("* * * *", "a cron expression has 5 or 6 fields, not 4", "write `minute hour"),
            ("* * * * * * *", "a cron expression has 5 or 6 fields, not 7", "write `minute hour"),
            ("@often", "unknown cron expression `@often`", "there are @hourly"),
            ("60 * * * *", "`60` is no minute", "minutes are 0-59"),
            ("99 0 0 * * *", "`99` is no second", "seconds are 0-59"),
            ("0 24 * * *", "`24` is no hour", "hours are 0-23"),
            ("0 0 0 * *", "`0` is no day", "days are 1-31"),
            ("0 0 L * *", "`L` is no day", "days are 1-31"),
            ("0 0 1 13 *", "`13` is no month", "months are 1-12 or JAN-DEC"),
            ("0 0 1 mon *", "`mon` is no month", "months are 1-12 or JAN-DEC"),
            ("0 0 * * 8", "`8` is no weekday", "weekdays are 0-7 or SUN-SAT"),
            ("0 0 * * FRIDAY", "`FRIDAY` is no weekday", "weekdays are 0-7 or SUN-SAT"),
            ("*/0 * * * *", "`0` is no step of minutes", "steps are 1-59"),
            ("*/90 * * * *", "`90` is no step of minutes", "steps are 1-59"),
            ("*/+5 * * * *", "`+5` is no step of minutes", "steps are 1-59"),
            ("5/10 * * * *", "`5/10` has a step without a range", "write `5-59/10`"),
            ("0 22-6 * * *", "the range `22-6` runs backwards", "write `22-23,0-6`"),
            ("0 -5 * * *", "`` is no hour", "hours are 0-23"),
            ("0 1,,2 * * *", "`` is no hour", "hours are 0-23"),
            ("0 1-2-3 * * *", "`2-3` is no hour", "hours are 0-23"),
            ("0 0 30 2 *", "no month of these has a day 30", "they end with day 29"),
            ("0 0 31 4,JUN *", "no month of these has a day 31", "they end with day 30"),
        ];
        for (expression, message, hint) in rows {
            let e = expression.parse::<Cron>().expect_err(expression);
            assert_eq!(e.to_string(), message, "{expression}");
            assert!(e.hint().starts_with(hint), "{expression}: {}", e.hint());
        }
    }
}
