//! The properties of every cronjob.

use std::time::Duration;

use serde::Deserialize;

use super::Schedule;
use crate::config::{Diagnostic, Diagnostics, Span, Spanned};
use crate::{Explain, Result};

/// Properties of every cronjob.
#[derive(Clone, Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct CronjobConfig {
    /// How long from one start to the next, 1ms or more; the first comes after as long. Either this or
    /// `cron` must be set.
    pub every: Option<Spanned<Duration>>,
    /// When to start, as in crontab(5): `"minute hour day month weekday"`, with a second before them if
    /// need be, or `"@daily"` and its like.
    pub cron: Option<Spanned<String>>,
    /// Where the clock hangs that `cron` speaks of: a name such as `"Europe/Berlin"`, UTC by default. A
    /// time that this clock skips comes when it has skipped it, and one that it shows twice counts once;
    /// but with `*` for the hours it is the time that really passes that counts.
    pub time_zone: Option<Spanned<String>>,
    /// Starts later than it should by up to this, at random, so that many machines do not start at once.
    /// 0s by default.
    pub jitter: Option<Spanned<Duration>>,
    /// How long a run may take; one that takes longer is given up, and has failed. No limit by default.
    pub timeout: Option<Spanned<Duration>>,
}

impl CronjobConfig {
    /// When the component at `span` is to run.
    ///
    /// # Errors
    /// With all mistakes in the properties.
    pub(super) fn schedule(&self, span: Span) -> Result<Schedule> {
        let mut errors = Diagnostics::default();
        if let (Some(jitter), Some(every)) = (self.jitter, self.every)
            && jitter.value >= every.value
        {
            let message = "the jitter is as long as the time between two starts";
            errors.push(Diagnostic::new(jitter.span, message).note(every.span, "set here"));
        }
        if let Some(timeout) = self.timeout.filter(|timeout| timeout.is_zero()) {
            let message = "no run can end in no time";
            errors.push(Diagnostic::new(timeout.span, message).help("leave it out for no limit"));
        }
        match self.untimed(span) {
            Ok(mut schedule) if errors.is_empty() => {
                schedule.jitter = self.jitter.map(|jitter| jitter.value).unwrap_or_default();
                schedule.timeout = self.timeout.map(|timeout| timeout.value);
                return Ok(schedule);
            }
            Ok(_) => {}
            Err(more) => errors.extend(more),
        }
        Err(errors.into())
    }

    /// The same without what bounds a run.
    fn untimed(&self, span: Span) -> Result<Schedule, Diagnostics> {
        match (&self.every, &self.cron) {
            (None, None) => {
                let help = "add `.every = 1h`, or `.cron = \"0 3 * * *\"` for each night at three";
                Err(Diagnostic::new(span, "nothing says when this cronjob runs").help(help).into())
            }
            (Some(every), Some(cron)) => {
                let message = "both `.cron` and `.every` say when this cronjob runs";
                let diagnostic = Diagnostic::new(cron.span, message).help("remove one of them");
                Err(diagnostic.note(every.span, "the other is here").into())
            }
            (Some(every), None) if every.value < Duration::from_millis(1) => {
                let message = "the time between two starts is too short";
                Err(Diagnostic::new(every.span, message).help("write 1ms or more").into())
            }
            (Some(every), None) => Ok(Schedule::every(every.value)),
            (None, Some(cron)) => {
                let zone = self.time_zone.as_ref();
                Schedule::parse(cron, zone.map_or("UTC", |zone| zone)).map_err(|bad| {
                    let mut errors = Diagnostics::default();
                    errors.extend(
                        bad.cron.map(|e| Diagnostic::new(cron.span, e.to_string()).help(e.hint())),
                    );
                    errors.extend(bad.zone.map(|e| {
                        let at = zone.map_or(span, |zone| zone.span);
                        Diagnostic::new(at, e.to_string()).help(e.hint())
                    }));
                    errors
                })
            }
        }
    }
}
