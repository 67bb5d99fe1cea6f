//! What is known about the runs of a cronjob: kept over reloads, so that two stages never run it at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::warn;

use super::schedule::{Due, Point};
use crate::metrics::Measures;

/// How a cronjob is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether a run is under way.
    pub running: bool,
    /// The last run that is over.
    pub last: Option<LastRun>,
    /// When the next is to start; none while the cronjob does not work, or if the calendar ends before.
    pub next: Option<SystemTime>,
    /// Runs that are over.
    pub runs: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Starts left out, for the run before was still under way.
    pub skips: u64,
}

impl Status {
    pub(super) fn measure(&self, out: &mut Measures) {
        for (name, help, n) in [
            ("hemi_cronjob_runs", "Runs that are over.", self.runs),
            ("hemi_cronjob_failures", "Runs that failed.", self.failures),
            (
                "hemi_cronjob_skips",
                "Starts left out, for the run before was still under way.",
                self.skips,
            ),
        ] {
            out.counter(name, help, &[], n);
        }
        let running = "Whether a run is under way.";
        out.gauge("hemi_cronjob_running", running, &[], u64::from(self.running));
        let seconds = |at: SystemTime| {
            at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
        };
        if let Some(next) = self.next {
            let help = "When the next run is to start, in seconds since 1970.";
            out.gauge("hemi_cronjob_next_start_seconds", help, &[], seconds(next));
        }
        let Some(last) = &self.last else { return };
        let help = "When the last run that is over started, in seconds since 1970.";
        out.gauge("hemi_cronjob_last_start_seconds", help, &[], seconds(last.start));
        let help = "How long it took.";
        out.gauge("hemi_cronjob_last_duration_seconds", help, &[], last.duration.as_secs_f64());
        let help = "Whether it did what it had to.";
        out.gauge("hemi_cronjob_last_success", help, &[], u64::from(last.result.is_ok()));
    }
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// When it started.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// How it ended: why, if it failed.
    pub result: Result<(), String>,
}

/// The runs of a cronjob of one name, in whatever stage.
#[derive(Debug, Default)]
pub(super) struct State(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Counts the stages: the last of them starts the runs.
    stage: u64,
    /// For when the last start was planned that was done or left out.
    seen: Option<Point>,
    status: Status,
}

/// The right of a stage to start runs, until the next has it.
#[derive(Debug)]
pub(super) struct Turn {
    state: Arc<State>,
    stage: u64,
}

/// A run under way. It has failed if it is dropped before it is told how it ended.
#[derive(Debug)]
pub(super) struct UnderWay {
    state: Arc<State>,
    start: SystemTime,
    since: Instant,
    result: Option<Result<(), String>>,
}

/// What has become of a start.
#[derive(Debug)]
pub(super) enum Start {
    Run(UnderWay),
    /// The run before is still under way.
    Skip,
    /// Another stage does it now.
    NotMine,
}

impl State {
    pub(super) fn status(&self) -> Status {
        self.lock().status.clone()
    }

    /// Takes the turn; also says up to which start all is done.
    pub(super) fn take_turn(self: &Arc<Self>) -> (Turn, Point) {
        let mut inner = self.lock();
        inner.stage += 1;
        let seen = *inner.seen.get_or_insert_with(Point::now);
        (Turn { state: self.clone(), stage: inner.stage }, seen)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    fn lock(&self) -> Option<MutexGuard<'_, Inner>> {
        Some(self.state.lock()).filter(|inner| inner.stage == self.stage)
    }

    /// Says when the next start is.
    pub(super) fn announce(&self, due: Option<Due>) {
        if let Some(mut inner) = self.lock() {
            inner.status.next = due.map(|due| due.start.calendar);
        }
    }

    /// Starts the run that was planned for this time.
    pub(super) fn start(&self, planned: Point) -> Start {
        let Some(mut inner) = self.lock() else { return Start::NotMine };
        inner.seen = Some(planned);
        if inner.status.running {
            inner.status.skips += 1;
            return Start::Skip;
        }
        inner.status.running = true;
        let Point { instant: since, calendar: start } = Point::now();
        Start::Run(UnderWay { state: self.state.clone(), start, since, result: None })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.announce(None);
    }
}

impl UnderWay {
    pub(super) fn end(mut self, result: Result<(), String>) {
        self.result = Some(result);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| Err("stopped before its end".into()));
        if let Err(e) = &result {
            warn!("cronjob failed: {e}");
        }
        let mut inner = self.state.lock();
        let status = &mut inner.status;
        status.running = false;
        status.runs += 1;
        status.failures += u64::from(result.is_err());
        let duration = self.since.elapsed();
        status.last = Some(LastRun { start: self.start, duration, result });
    }
}
