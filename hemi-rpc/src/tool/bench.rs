//! `rpc bench`: makes many calls of a method, and tells how long they took.

mod caller;
mod histogram;

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hemi_core::clock;
use serde_json::json;
use tokio::time::sleep_until;

use self::caller::{Called, Caller};
use self::histogram::Histogram;
use super::args::Said;
use super::{runtime, say};

pub(super) const OPTIONS: &[&str] =
    &["connections", "callers", "for", "count", "rate", "timeout", "codec", "json"];

/// How it is called.
#[derive(Clone, Copy, Debug)]
struct Plan {
    connections: usize,
    callers: usize,
    end: End,
    /// Calls per second that are begun, whether those before are answered or not, as long as there are callers left.
    rate: Option<u64>,
    timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
enum End {
    After(Duration),
    Calls(u64),
}

/// Kinds of errors that are told apart, at most.
const KINDS: usize = 50;

/// What has come of calls.
#[derive(Default)]
struct Tally {
    times: Histogram,
    errors: BTreeMap<String, u64>,
    /// When the last call was answered.
    ended: Option<Instant>,
}

/// What all threads know.
struct Course {
    plan: Plan,
    next: AtomicU64,
    ready: Barrier,
    start: OnceLock<Instant>,
}

/// Calls a method as often as is said.
///
/// # Errors
/// When it can't be called at all.
pub(super) fn run(
    [address, method]: [&str; 2],
    rest: &[&str],
    said: &Said<'_>,
    out: &mut dyn Write,
) -> Result<(), String> {
    let plan = Plan::read(said)?;
    let called = Arc::new(Called::read(address, method, rest, said)?);
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = cores.min(plan.connections).min(plan.callers);
    let (next, ready, start) = (AtomicU64::new(0), Barrier::new(threads), OnceLock::new());
    let course = Course { plan, next, ready, start };
    let (course, called) = (&course, &called);
    let tallies: Vec<_> = thread::scope(|scope| {
        let share = |all: usize, at: usize| all / threads + usize::from(at < all % threads);
        let workers: Vec<_> = (0..threads)
            .map(|at| {
                let (connections, callers) = (share(plan.connections, at), share(plan.callers, at));
                scope.spawn(move || course.work(called, connections, callers))
            })
            .collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|_| Err("a thread has panicked".to_owned()))
        };
        workers.into_iter().map(join).collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.merge(&tally?);
    }
    let began = course.start.get().copied();
    let took = all.ended.zip(began).map_or(Duration::ZERO, |(end, began)| end - began);
    say(out, all.shown(took, said.has("json")).trim_end())
}

impl Plan {
    fn read(said: &Said<'_>) -> Result<Self, String> {
        let number = |name: &str, usual: u64| {
            let number = said.number(name).map(|number| number.unwrap_or(usual));
            number.and_then(|number| usize::try_from(number).map_err(|e| format!("--{name}: {e}")))
        };
        let end = match (said.duration("for")?, said.number("count")?) {
            (Some(_), Some(_)) => return Err("--for and --count are two ends".to_owned()),
            (None, Some(count)) => End::Calls(count),
            (time, None) => End::After(time.unwrap_or(Duration::from_secs(10))),
        };
        let (connections, callers) = (number("connections", 1)?, number("callers", 50)?);
        let timeout = said.duration("timeout")?.unwrap_or(Duration::from_secs(30));
        Ok(Self { connections, callers, end, rate: said.number("rate")?, timeout })
    }

    /// When a call is to begin; none if there are no more.
    fn begins(&self, start: Instant, call: u64) -> Option<Instant> {
        let now = clock::exact();
        let after = |rate: u64| {
            let (seconds, rest) = (call / rate, call % rate);
            let nanos = u128::from(rest) * 1_000_000_000 / u128::from(rate);
            Duration::new(seconds, u32::try_from(nanos).unwrap_or(0))
        };
        let begins = self.rate.map_or(Some(now), |rate| start.checked_add(after(rate)))?;
        let goes_on = match self.end {
            End::After(time) => begins.duration_since(start) < time,
            End::Calls(count) => call < count,
        };
        goes_on.then_some(begins)
    }
}

impl Course {
    /// What one thread does.
    fn work(
        &self,
        called: &Arc<Called>,
        connections: usize,
        callers: usize,
    ) -> Result<Tally, String> {
        let runtime = runtime();
        let first = runtime.as_ref().map_err(Clone::clone).and_then(|runtime| {
            runtime.block_on(async {
                let caller = called.caller(connections, self.plan.timeout).await?;
                // Its connections are there then.
                for _ in 0..connections {
                    caller.try_out().await?;
                }
                Ok(caller)
            })
        });
        // All wait for all, also those that can't go on.
        self.ready.wait();
        let (caller, runtime) = (first?, runtime?);
        let start = *self.start.get_or_init(clock::exact);
        let tally = Mutex::new(Tally::default());
        let tally = runtime.block_on(self.all(caller, callers, start, tally));
        Ok(tally)
    }

    async fn all(
        &self,
        caller: Caller,
        callers: usize,
        start: Instant,
        tally: Mutex<Tally>,
    ) -> Tally {
        let calling = (0..callers).map(|_| self.calls(&caller, start, &tally));
        futures_util::future::join_all(calling).await;
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        Tally { ended: Some(clock::exact()), ..tally }
    }

    /// What one caller does.
    async fn calls(&self, caller: &Caller, start: Instant, tally: &Mutex<Tally>) {
        while let Some(begins) = self.plan.begins(start, self.next.fetch_add(1, Ordering::Relaxed))
        {
            if self.plan.rate.is_some() {
                sleep_until(begins.into()).await;
            }
            let result = caller.call().await;
            // By a rate those that could not begin in time have taken longer.
            let took = begins.elapsed();
            tally.lock().unwrap_or_else(PoisonError::into_inner).add(took, result);
        }
    }
}

impl Tally {
    fn add(&mut self, took: Duration, result: Result<(), String>) {
        self.times.add(took);
        if let Err(kind) = result {
            let known = self.errors.len() < KINDS || self.errors.contains_key(&kind);
            *self.errors.entry(if known { kind } else { "others".to_owned() }).or_default() += 1;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.times.merge(&other.times);
        self.ended = self.ended.max(other.ended);
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
    }

    fn shown(&self, took: Duration, as_json: bool) -> String {
        let (calls, seconds) = (self.times.count(), took.as_secs_f64());
        let per_second = if seconds > 0.0 { calls as f64 / seconds } else { 0.0 };
        let quantiles = [("p50", 500), ("p90", 900), ("p99", 990)]
            .map(|(name, thousandths)| (name, self.times.quantile(thousandths)));
        let times = [("mean", self.times.mean())].into_iter().chain(quantiles);
        let times = times.chain([("max", self.times.max())]);
        if as_json {
            let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
            let latency: serde_json::Map<_, _> =
                times.map(|(name, time)| (name.to_owned(), json!(micros(time)))).collect();
            let failed: u64 = self.errors.values().sum();
            return json!({
                "calls": calls,
                "failed": failed,
                "seconds": seconds,
                "callsPerSecond": per_second,
                "latencyMicros": latency,
                "errors": self.errors,
            })
            .to_string();
        }
        let times: Vec<_> = times.map(|(name, time)| format!("{name} {time:.2?}")).collect();
        let mut text = format!("calls    {calls} in {took:.2?}, {per_second:.0} per second\n");
        text += &format!("latency  {}\n", times.join("  "));
        for (kind, count) in &self.errors {
            text += &format!("errors   {count} {kind}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::args;
    use super::*;

    fn plan(options: &[&str]) -> Result<Plan, String> {
        let all: Vec<_> = options.iter().map(ToString::to_string).collect();
        args::read(&all, OPTIONS).and_then(|(_, said)| Plan::read(&said))
    }

    #[test]
    fn a_plan_says_when_calls_begin() {
        let start = clock::exact();
        let open = plan(&["--rate=1000", "--for=2s"]).unwrap();
        let after = |call| open.begins(start, call).map(|begins| begins.duration_since(start));
        assert_eq!(after(0), Some(Duration::ZERO));
        assert_eq!(after(1999), Some(Duration::from_millis(1999)));
        assert_eq!(after(2000), None);
        let counted = plan(&["--count=3"]).unwrap();
        assert!(counted.begins(start, 2).is_some() && counted.begins(start, 3).is_none());
        assert!(plan(&["--count=3", "--for=1s"]).is_err());
        assert!(plan(&["--callers=0"]).is_err());
    }

    #[test]
    fn errors_are_told_by_kind() {
        let mut tally = Tally::default();
        for at in 0..KINDS + 10 {
            tally.add(Duration::from_millis(1), Err(format!("kind {at:03}")));
        }
        tally.add(Duration::from_millis(3), Ok(()));
        let text = tally.shown(Duration::from_secs(1), false);
        assert!(
            text.starts_with("calls    61 in 1.00s, 61 per second\nlatency  mean 1.03ms  p50 ")
        );
        assert!(text.ends_with("errors   10 others\n"), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&tally.shown(Duration::from_secs(2), true)).unwrap();
        assert_eq!((&json["calls"], &json["failed"]), (&json!(61), &json!(60)));
        assert_eq!(json["latencyMicros"]["max"], json!(3000.0));
        assert_eq!(json["errors"]["others"], json!(10));
    }
}
