//! What the rules of a webapp have done: counted per core, as long as somebody collects it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hemi_core::cores::Counters;
use hemi_core::metrics::{Histogram, Measures};
use http::StatusCode;

/// Up to how many seconds the buckets of times hold.
const BOUNDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// The same in nanoseconds.
const BOUNDS_NANOS: [u64; BOUNDS.len()] = {
    let mut nanos = [0; BOUNDS.len()];
    let mut index = 0;
    while index < nanos.len() {
        nanos[index] = (BOUNDS[index] * 1e9) as u64;
        index += 1;
    }
    nanos
};

/// Counters of a rule: first of statuses by their classes, then these.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const RECEIVED: usize = 5;
const SENT: usize = 6;
const NANOS: usize = 7;
const BUCKETS: usize = 8;
const COUNTERS: usize = BUCKETS + BOUNDS.len() + 1;

/// What rules have done, by their labels. It outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<BTreeMap<String, Arc<Counters>>>);

/// The counters of a webapp.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Of each rule, and of requests that no rule has answered, with their labels.
    rules: Vec<(String, Arc<Counters>)>,
}

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// The index of the rule that has answered.
    pub(crate) rule: Option<usize>,
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
    /// Bytes of the request's content.
    pub(crate) received: u64,
    /// Bytes of the answer's.
    pub(crate) sent: u64,
}

impl Meter {
    /// Of rules with these names.
    pub(crate) fn new<'a>(
        names: impl Iterator<Item = Option<&'a str>>,
        kept: &Kept,
        cores: usize,
    ) -> Self {
        let mut labels: Vec<String> = Vec::new();
        for (index, name) in names.enumerate() {
            let mut label = name.map_or_else(|| index.to_string(), str::to_owned);
            if labels.contains(&label) {
                label = format!("{label}#{index}");
            }
            labels.push(label);
        }
        labels.push(String::new());
        let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = labels.into_iter().map(|label| {
            let new = || Arc::new(Counters::new(COUNTERS, cores));
            let counters = kept.entry(label.clone()).or_insert_with(new).clone();
            (label, counters)
        });
        Self { rules: rules.collect() }
    }

    /// Forgets rules that there are no more.
    pub(crate) fn forget_others(&self, kept: &Kept) {
        let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|label, _| self.rules.iter().any(|(known, _)| known == label));
    }

    pub(crate) fn count(&self, done: Done) {
        let index = done.rule.unwrap_or(self.rules.len() - 1);
        let Some((_, counters)) = self.rules.get(index) else { return };
        let mine = counters.mine();
        mine.add(usize::from(done.status.as_u16() / 100).clamp(1, CLASSES.len()) - 1, 1);
        if done.received > 0 {
            mine.add(RECEIVED, done.received);
        }
        mine.add(SENT, done.sent);
        let nanos = u64::try_from(done.took.as_nanos()).unwrap_or(u64::MAX);
        mine.add(NANOS, nanos);
        // Most requests end in one of the first buckets.
        let bucket = BOUNDS_NANOS.iter().position(|bound| nanos <= *bound);
        mine.add(BUCKETS + bucket.unwrap_or(BOUNDS.len()), 1);
    }

    pub(crate) fn measure(&self, out: &mut Measures) {
        for (label, counters) in &self.rules {
            let label = ("rule", &**label);
            for (index, class) in CLASSES.into_iter().enumerate() {
                let (help, labels) = ("Requests answered.", [label, ("status", class)]);
                out.counter("hemi_webapp_requests", help, &labels, counters.sum(index));
            }
            let help = "Bytes of the content of requests.";
            out.counter("hemi_webapp_received_bytes", help, &[label], counters.sum(RECEIVED));
            let help = "Bytes of the content of answers.";
            out.counter("hemi_webapp_sent_bytes", help, &[label], counters.sum(SENT));
            let help = "How long requests took, from the head to the end of the answer.";
            let counts = (BUCKETS..COUNTERS).map(|bucket| counters.sum(bucket)).collect();
            let sum = Duration::from_nanos(counters.sum(NANOS)).as_secs_f64();
            let histogram = Histogram { bounds: BOUNDS.into(), counts, sum };
            out.histogram("hemi_webapp_request_seconds", help, &[label], histogram);
        }
    }
}

#[cfg(test)]
mod tests {
    use hemi_core::metrics::Exposition;

    use super::*;

    #[test]
    fn rules_are_told_apart_and_outlive_reloads() {
        let kept = Kept::default();
        let done = |rule| Done {
            rule,
            status: StatusCode::OK,
            took: Duration::from_micros(100),
            received: 1,
            sent: 2,
        };
        let first = Meter::new([Some("a"), None, Some("a")].into_iter(), &kept, 1);
        [Some(0), Some(1), Some(2), None, Some(9)]
            .into_iter()
            .for_each(|rule| first.count(done(rule)));
        let second = Meter::new([Some("a"), Some("b")].into_iter(), &kept, 1);
        second.forget_others(&kept);
        second.count(Done {
            took: Duration::from_secs(61),
            status: StatusCode::BAD_GATEWAY,
            ..done(Some(0))
        });
        let mut out = Measures::default();
        second.measure(&mut out);
        let text = out.write(Exposition::Prometheus);
        for line in [
            "hemi_webapp_requests_total{rule=\"a\",status=\"2xx\"} 1",
            "hemi_webapp_requests_total{rule=\"a\",status=\"5xx\"} 1",
            "hemi_webapp_requests_total{rule=\"b\",status=\"2xx\"} 0",
            "hemi_webapp_requests_total{rule=\"\",status=\"2xx\"} 1",
            "hemi_webapp_received_bytes_total{rule=\"a\"} 2",
            "hemi_webapp_sent_bytes_total{rule=\"a\"} 4",
            "hemi_webapp_request_seconds_bucket{rule=\"a\",le=\"0.0001\"} 1",
            "hemi_webapp_request_seconds_bucket{rule=\"a\",le=\"60.0\"} 1",
            "hemi_webapp_request_seconds_bucket{rule=\"a\",le=\"+Inf\"} 2",
            "hemi_webapp_request_seconds_sum{rule=\"a\"} 61.0001",
            "hemi_webapp_request_seconds_count{rule=\"a\"} 2",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert_eq!(kept.0.lock().unwrap().len(), 3);
    }
}
