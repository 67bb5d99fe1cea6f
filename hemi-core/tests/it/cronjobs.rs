//! Cronjobs: again and again, one at a time, whatever happens to one run.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hemi_core::config::Source;
use hemi_core::cronjob::{
    Cronjob, CronjobKind, CronjobRegistry, CronjobStatus, Schedule, Scheduled, Status,
};
use hemi_core::{Component, Engine, Error, Explain, Lifecycle, Parts, Registry, Result, check};
use hemi_test::eventually;
use serde::Deserialize;
use tokio::sync::Notify;

const PATIENCE: Duration = Duration::from_secs(30);

/// Works, in its own manner.
#[derive(Debug, Deserialize, Explain, Component)]
struct Worker {
    /// `well`, `badly`, `panicking`, or `held` until it is let go
    how: String,
}

static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
static LET_GO: Notify = Notify::const_new();

impl Cronjob for Worker {
    async fn work(&self) -> Result<()> {
        match self.how.as_str() {
            "badly" => return Err(Error::other("asked to")),
            "panicking" => panic!("asked to"),
            "held" => {
                BEGUN.fetch_add(1, Ordering::SeqCst);
                LET_GO.notified().await;
                ENDED.fetch_add(1, Ordering::SeqCst);
            }
            "never" => std::future::pending().await,
            _ => {}
        }
        Ok(())
    }
}

struct Stage(Engine);

impl Stage {
    fn of(jobs: &str) -> Self {
        let mut registry = Registry::new();
        registry.cronjob::<Worker>();
        let mut stage = Self(Engine::on(registry, NonZeroUsize::new(2).unwrap()).unwrap());
        stage.load(jobs);
        stage
    }

    fn load(&mut self, jobs: &str) {
        self.0.load(&Source::text("jobs", format!("stage {{ {jobs} }}"))).unwrap();
    }

    fn job(&self, name: &str) -> Arc<dyn CronjobStatus> {
        self.0.stage().unwrap().find::<CronjobKind>(name).unwrap()
    }

    /// What becomes of a job, when it is as it is waited for.
    fn until(&self, name: &str, mut as_expected: impl FnMut(&Status) -> bool) -> Status {
        let job = self.job(name);
        assert!(eventually(PATIENCE, || as_expected(&job.status())), "{:?}", job.status());
        job.status()
    }

    fn quit(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.0.quit());
    }
}

#[test]
fn each_run_has_its_turn_until_the_stage_ends() {
    let how = ["well", "badly", "panicking"];
    let jobs = how.map(|how| format!("worker \"{how}\" {{ .how = \"{how}\"  .every = 10ms }}"));
    let stage = Stage::of(&jobs.concat());
    for (how, error) in how.into_iter().zip([None, Some("asked to"), Some("panicked: asked to")]) {
        let status = stage.until(how, |status| status.runs >= 5);
        assert_eq!(status.failures, if error.is_some() { status.runs } else { 0 }, "{status:?}");
        assert!(status.next.is_some());
        assert_eq!(status.last.unwrap().result.err().as_deref(), error);
        let counters = stage.job(how).counters();
        assert!(counters.iter().any(|(name, count)| *name == "runs" && *count >= 5));
    }
    // When the engine has quit, so has its stage.
    let jobs = how.map(|how| stage.job(how));
    stage.quit();
    let statuses = || jobs.iter().map(|job| job.status()).collect::<Vec<_>>();
    let at_the_end = statuses();
    assert!(at_the_end.iter().all(|status| status.next.is_none()), "{at_the_end:?}");
    assert!(!eventually(Duration::from_millis(50), || statuses() != at_the_end));
}

#[test]
fn a_cron_expression_starts_runs() {
    let job = ".how = \"well\"  .cron = \"* * * * * *\"  .timeZone = \"Asia/Kathmandu\"";
    let stage = Stage::of(&format!("worker \"w\" {{ {job}  .jitter = 100ms }}"));
    let status = stage.until("w", |status| status.runs >= 2);
    assert_eq!((status.failures, status.skips), (0, 0));
}

#[test]
fn a_run_that_takes_too_long_is_given_up() {
    let stage = Stage::of("worker \"w\" { .how = \"never\"  .every = 10ms  .timeout = 20ms }");
    let status = stage.until("w", |status| status.failures >= 2);
    assert_eq!(status.last.unwrap().result, Err("not done after 20ms".to_owned()));
}

/// Two of them would take each other's permits.
#[test]
fn runs_never_overlap_not_even_over_a_reload_and_the_last_may_end() {
    let mut stage = Stage::of("worker \"w\" { .how = \"held\"  .every = 10ms }");
    let skipped = stage.until("w", |status| status.running && status.skips >= 3).skips;
    assert_eq!((BEGUN.load(Ordering::SeqCst), ENDED.load(Ordering::SeqCst)), (1, 0));

    stage.load("worker \"w\" { .how = \"held\"  .every = 11ms }");
    let status = stage.until("w", |status| status.skips >= skipped + 3);
    assert!(status.running && status.last.is_none(), "{status:?}");
    LET_GO.notify_one();
    let status = stage.until("w", |status| status.running && status.runs == 1);
    assert!(status.last.unwrap().result.is_ok());
    assert_eq!((BEGUN.load(Ordering::SeqCst), ENDED.load(Ordering::SeqCst)), (2, 1));

    let job = stage.job("w");
    let quitting = std::thread::spawn(move || stage.quit());
    assert!(eventually(PATIENCE, || job.status().next.is_none()));
    assert!(job.status().running);
    LET_GO.notify_one();
    quitting.join().unwrap();
    assert_eq!(job.status().last.unwrap().result, Ok(()));
    assert_eq!(ENDED.load(Ordering::SeqCst), 2);
}

#[test]
fn a_run_is_cut_when_the_grace_is_over() {
    let mut stage = Stage::of("worker \"w\" { .how = \"never\"  .every = 10ms }");
    stage.0 = stage.0.grace(Duration::from_millis(10));
    stage.until("w", |status| status.running);
    let job = stage.job("w");
    stage.quit();
    assert_eq!(job.status().last.unwrap().result, Err("stopped before its end".to_owned()));
}

#[test]
fn code_schedules_them_too() {
    struct Job;
    impl Lifecycle for Job {}
    impl Cronjob for Job {
        async fn work(&self) -> Result<()> {
            Ok(())
        }
    }
    let mut parts = Parts::new();
    let often = Schedule::every(Duration::from_millis(10)).timeout(PATIENCE);
    let often = Scheduled::new(Job, often).install("often", &mut parts).unwrap();
    let yearly = Schedule::cron("@yearly", "Europe/Berlin").unwrap();
    let yearly = Scheduled::new(Job, yearly).install("yearly", &mut parts).unwrap();
    assert!(Scheduled::new(Job, Schedule::every(PATIENCE)).install("often", &mut parts).is_err());
    let mut engine = Engine::on(Registry::new(), NonZeroUsize::MIN).unwrap();
    engine.load_parts(parts).unwrap();
    assert!(eventually(PATIENCE, || often.status().runs > 1 && yearly.status().next.is_some()));
    assert_eq!(yearly.status().runs, 0);

    let error = Schedule::cron("61 * * * *", "Berlin").unwrap_err().to_string();
    let expected = "`61` is no minute: minutes are 0-59; \
                    no time zone is named \"Berlin\": did you mean \"Europe/Berlin\"?";
    assert_eq!(error, expected);
}

#[test]
fn what_makes_no_schedule_is_told_where_it_stands() {
    let mut registry = Registry::new();
    registry.cronjob::<Worker>();
    #[rustfmt::skip]
    let rows = [
        // properties, message, what it points at, help
        ("", "nothing says when this cronjob runs", "worker", "add `.every = 1h`"),
        (".every = 0s", "the time between two starts is too short", "0s", "write 1ms or more"),
        (".every = 5", "expected a duration", "5", ""),
        (".every = 1h  .cron = \"@daily\"", "both `.cron` and `.every` say", "\"@daily\"", "remove one"),
        (".cron = \"0 24 * * *\"", "`24` is no hour", "\"0 24 * * *\"", "hours are 0-23"),
        (".cron = \"@dayly\"", "unknown cron expression `@dayly`", "\"@dayly\"", "there are @hourly"),
        (".cron = \"@daily\"  .timeZone = \"Berlin\"", "no time zone is named \"Berlin\"", "\"Berlin\"", "did you mean \"Europe/Berlin\"?"),
        (".cron = \"@daily\"  .timeZone = \"Europe/Berlni\"", "no time zone is named", "\"Europe/Berlni\"", "did you mean \"Europe/Berlin\"?"),
        (".cron = \"@daily\"  .timeZone = \"?\"", "no time zone is named", "\"?\"", "names are those of the IANA"),
        (".every = 1s  .jitter = 1s", "the jitter is as long as", "1s", ""),
        (".every = 1h  .timeout = 0s", "no run can end in no time", "0s", "leave it out"),
    ];
    for (properties, message, at, help) in rows {
        let text = format!("stage {{ worker \"w\" {{ .how = \"well\"  {properties} }} }}");
        let e = check(&registry, &Source::text("jobs", text), &Default::default()).unwrap_err();
        let shown = e.to_string();
        assert_eq!(e.mistakes().unwrap().diagnostics().len(), 1, "{shown}");
        let first = &e.mistakes().unwrap().diagnostics()[0];
        assert!(first.message.starts_with(message), "{shown}");
        assert!(first.help.as_deref().unwrap_or_default().starts_with(help), "{shown}");
        assert!(shown.contains(&format!("{}\n", "^".repeat(at.len()))), "{at}: {shown}");
    }
    // The rest of the stage may say it for all.
    let text = "stage { .every = 1h  worker \"w\" { .how = \"well\" } }";
    check(&registry, &Source::text("jobs", text), &Default::default()).unwrap();
}
