//! How many requests a node may be made to wait with at once, learnt from how long its answers take to begin.
//!
//! A node that is given more than it can do answers no faster for that: requests wait there, and each of them for
//! as long as all others take. Then fewer are sent to it at once, until answers come about as soon as they did
//! before. Whether requests wait for each other is seen by what comes of sending fewer or more: if then fewer or
//! more are answered, too, they do not, and what takes long now is what takes long. That shows when those are answered
//! that were sent since.

/// How answers were in a span of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Answers that have begun.
    pub(super) count: u32,
    /// Of these, such as took longer than [`Adaptive::threshold`].
    pub(super) late: u32,
    /// Seconds.
    pub(super) length: f64,
    /// Requests that waited for an answer at the same time, at most.
    pub(super) peak: u32,
    /// Seconds that a usual answer took to begin.
    pub(super) usual: f64,
}

/// What was learnt about a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Adaptive {
    /// Seconds that a usual answer takes to begin where requests do not wait for each other; 0 while unknown.
    base: f64,
    /// There if requests do.
    limit: Option<f64>,
    /// How it was before the limit was last changed.
    before: Option<Window>,
    /// Windows since then.
    unchanged: u32,
    /// How often in a row as many more or fewer were answered as were sent.
    proven: u32,
}

/// Seconds by which an answer may be later than usual, in any case.
const GRACE: f64 = 0.1;

/// Nobody is made to wait while a node has fewer requests than this.
const FLOOR: f64 = 8.0;

/// How many times as long as usual answers may take at the limit.
const STRETCH: f64 = 2.0;

/// To what part of it a limit falls at once, at most.
const CUT: f64 = 0.5;

/// Windows in which a limit is not lowered further, before it is tried whether a higher one helps.
const STUCK: u32 = 10;

/// After so many windows all are answered that were sent before the limit was changed: one takes as long as usual
/// answers do.
const SETTLED: u32 = 2;

/// How often it must be seen that requests do not wait for each other, to be believed.
const PROOF: u32 = 2;

/// By how much what is usual rises in a window, at most: what rises faster is a queue.
const RISE: f64 = 1.001;

/// Windows in which nobody had to wait, before the limit is forgotten.
const CALM: u32 = 20;

impl Adaptive {
    /// Seconds from which on an answer is late.
    pub(super) fn threshold(&self) -> f64 {
        if self.base > 0.0 { self.base + self.base.max(GRACE) } else { f64::INFINITY }
    }

    /// The limit now.
    pub(super) fn limit(&self) -> Option<u32> {
        self.limit.map(|limit| limit as u32)
    }

    /// Learns how it was of late.
    pub(super) fn learn(&mut self, window: Window) {
        self.unchanged += 1;
        if window.late * 2 <= window.count {
            return self.relax(&window);
        }
        if self.before.is_some() && self.unchanged < SETTLED {
            return;
        }
        match self.before {
            Some(before) if is_in_proportion(&before, &window) => self.doubt(&before, window),
            _ => {
                self.proven = 0;
                self.tighten(window);
            }
        }
    }

    /// Answers come in time.
    fn relax(&mut self, window: &Window) {
        let most = match (self.limit, self.base > 0.0) {
            (_, false) => f64::INFINITY,
            // It may still be that some wait for others.
            (Some(_), true) => self.base,
            (None, true) => self.base * RISE,
        };
        self.base = window.usual.min(most);
        (self.before, self.proven) = (None, 0);
        let Some(limit) = &mut self.limit else { return };
        if f64::from(window.peak) < *limit * 0.5 {
            if self.unchanged > CALM {
                self.limit = None;
            }
        } else {
            self.unchanged = 0;
            *limit = *limit * 1.1 + 1.0;
        }
    }

    /// Answers come late, but it may be that they just take longer now.
    fn doubt(&mut self, before: &Window, window: Window) {
        self.proven += 1;
        if self.proven >= PROOF {
            // It was the limit that kept them from being done.
            *self = Self { base: window.usual, ..Self::default() };
            return;
        }
        // To see whether more are answered, too, if more are sent.
        self.limit = Some(f64::from(before.peak.max(window.peak)).max(FLOOR * 1.5));
        self.before = Some(window);
        self.unchanged = 0;
    }

    /// Answers come late.
    fn tighten(&mut self, window: Window) {
        let rate = f64::from(window.count) / window.length;
        let now = self.limit.unwrap_or(f64::INFINITY).min(window.peak.into());
        // So many wait at this rate, if each waits for so long (Little's law).
        let wanted = STRETCH * self.base * rate;
        let lower = wanted.max(now * CUT).max(FLOOR);
        let next = match self.limit {
            Some(limit) if lower >= limit => {
                if self.unchanged < STUCK {
                    return;
                }
                limit * 1.5
            }
            _ => lower,
        };
        self.limit = Some(next);
        self.before = Some(window);
        self.unchanged = 0;
    }
}

/// Whether as many more or fewer were answered as were sent at the same time. Those that were kept from being
/// sent must have been many enough to tell.
fn is_in_proportion(before: &Window, now: &Window) -> bool {
    let sent = f64::from(now.peak) / f64::from(before.peak.max(1));
    let rate = |window: &Window| f64::from(window.count) / window.length;
    let answered = rate(now) / rate(before);
    !(0.85..=1.2).contains(&sent) && (answered - 1.0) / (sent - 1.0) > 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node with so many workers, each of which takes so long for a request, asked by clients that keep so many
    /// requests waiting if they may. Gives how many are answered in a second, and how long they take, in the end.
    fn run(
        known: &mut Adaptive,
        workers: f64,
        takes: f64,
        asked: f64,
        windows: usize,
    ) -> (f64, f64) {
        let mut last = (0.0, 0.0);
        for _ in 0..windows {
            let sent = known.limit().map_or(asked, |limit| asked.min(limit.into()));
            let rate = sent.min(workers) / takes;
            let latency = sent / rate;
            let length = latency.max(0.1).max(30.0 / rate);
            let count = (rate * length) as u32;
            let late = if latency > known.threshold() { count } else { 0 };
            known.learn(Window { count, late, length, peak: sent as u32, usual: latency });
            last = (rate, latency);
        }
        last
    }

    #[test]
    fn nobody_waits_where_there_is_room() {
        let mut known = Adaptive::default();
        for asked in [1.0, 4.0, 8.0, 3.0] {
            run(&mut known, 8.0, 0.02, asked, 50);
            assert_eq!(known.limit(), None);
        }
    }

    #[test]
    fn a_node_with_too_much_to_do_is_kept_busy_and_answers_soon() {
        for (workers, takes) in [(8.0, 0.02), (2.0, 0.2), (64.0, 0.005), (1.0, 0.05)] {
            let mut known = Adaptive::default();
            run(&mut known, workers, takes, workers, 20);
            // Ten seconds' worth of requests at once.
            let asked = workers / takes * 10.0;
            for _ in 0..20 {
                let (rate, latency) = run(&mut known, workers, takes, asked, 50);
                assert!(rate >= workers / takes * 0.99, "{workers} {takes}: {rate}");
                let most =
                    (takes * 4.0).max(takes + GRACE * 3.0).max(takes * FLOOR * 2.0 / workers);
                assert!(latency <= most, "{workers} {takes}: {latency} of {most}");
            }
            // It is over.
            run(&mut known, workers, takes, workers * 0.5, 200);
            assert_eq!(known.limit(), None, "{workers} {takes}");
        }
    }

    #[test]
    fn what_takes_longer_by_itself_is_not_held_back() {
        let mut known = Adaptive::default();
        run(&mut known, 1e9, 0.005, 400.0, 20);
        let (rate, _) = run(&mut known, 1e9, 1.0, 400.0, 20);
        assert_eq!((known.limit(), rate), (None, 400.0));
        // Even if it was held back before there was something to compare with.
        let mut known = Adaptive { limit: Some(FLOOR), base: 0.005, ..known };
        run(&mut known, 1e9, 1.0, 400.0, 100);
        assert_eq!(known.limit(), None);
    }
}
