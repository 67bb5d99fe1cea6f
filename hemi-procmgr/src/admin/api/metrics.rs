//! What a leader adds to the measures of its worker.

use hemi_core::metrics::Measures;
use hemi_core::status::Timestamp;

use crate::control::Overview;

pub(super) fn measures(overview: &Overview) -> Measures {
    let report = overview.worker.as_ref().and_then(|worker| worker.report.as_ref());
    let mut out = report.map(|report| report.engine.measures.clone()).unwrap_or_default();
    let seconds = |at: Timestamp| at.0 as f64 / 1e3;

    let program = [("name", &*overview.program), ("version", &*overview.version)];
    out.info("hemi_program", "What program it is.", &program);
    let help = "When the leader began, in seconds since 1970.";
    out.gauge("hemi_leader_start_time_seconds", help, &[], seconds(overview.leader.since));
    let help = "Workers, by what they do.";
    let serving = u64::from(report.is_some());
    out.gauge("hemi_leader_workers", help, &[("state", "serving")], serving);
    let draining = overview.retiring.len() as u64;
    out.gauge("hemi_leader_workers", help, &[("state", "draining")], draining);
    let help = "Workers that were started in the place of one that had ended unasked.";
    for (reason, count) in &overview.restarts {
        out.counter("hemi_leader_worker_restarts", help, &[("reason", reason)], *count);
    }
    let help = "Times that the config was loaded, or was to be.";
    out.counter("hemi_config_loads", help, &[], overview.loads);
    if let Some(load) = &overview.last_load {
        let help = "Whether the config was taken the last time.";
        let taken = u64::from(load.refused.is_none());
        out.gauge("hemi_config_last_load_success", help, &[], taken);
        let help = "When that was, in seconds since 1970.";
        out.gauge("hemi_config_last_load_seconds", help, &[], seconds(load.at));
    }
    if let Some(stage) = report.and_then(|report| report.engine.stages.first()) {
        out.info("hemi_config", "The config that is served.", &[("digest", &stage.digest)]);
    }
    out
}
