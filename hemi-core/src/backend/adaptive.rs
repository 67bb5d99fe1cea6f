//! How many requests a node may be made to wait with at once, learnt from how long its answers take to begin.
//!
//! A node that is given more than it can do answers no faster for that: requests wait there, and each of them for
//! as long as all others take. Then fewer are sent to it at once, until answers come about as soon as they did
//! before. Whether requests wait for each other is seen by what those met with that were sent when few others were
//! under way: if they took as long, they did not wait, and what takes long now is what takes long.

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
    /// How long they took, and how many were under way.
    pub(super) trend: Trend,
}

/// Sums over answers: of how many requests were under way when theirs was sent, and of how long they took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trend {
    pub(super) count: f64,
    pub(super) under_way: f64,
    /// Of the squares.
    pub(super) squares: f64,
    /// In any unit.
    pub(super) took: f64,
    /// Of the products.
    pub(super) products: f64,
}

/// What was learnt about a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Adaptive {
    /// Seconds that a usual answer takes to begin where requests do not wait for each other; 0 while unknown.
    base: f64,
    /// There if requests do.
    limit: Option<f64>,
    /// Of late, since answers are late.
    trend: Trend,
    /// Windows since the limit was last changed.
    unchanged: u32,
}

/// Seconds by which an answer may be later than usual, in any case.
const GRACE: f64 = 0.1;

/// Nobody is made to wait while a node has fewer requests than this.
const FLOOR: f64 = 8.0;

/// How many times as long as usual answers may take at the limit.
const STRETCH: f64 = 2.0;

/// To what part of it a limit falls at once, at most.
const CUT: f64 = 0.7;

/// Windows in which a limit is not lowered further, before it is tried whether a higher one helps.
const STUCK: u32 = 10;

/// Answers that take longer by less than this part of it, when one more is under way, do not wait for others: those
/// that do take longer by about all of it.
const APART: f64 = 0.4;

/// Answers that tell.
const ENOUGH: f64 = 30.0;

/// By how much of their mean the numbers of those under way must differ to tell, usually.
const SPREAD: f64 = 0.15;

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
        self.trend.add(&window.trend);
        if self.trend.rises().is_some_and(|rises| rises < APART) {
            // What takes long takes long by itself.
            *self = Self { base: window.usual, ..Self::default() };
        } else {
            self.tighten(&window);
        }
        self.trend.fade();
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
        self.trend = Trend::default();
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

    /// Answers come late, and it seems that requests wait for each other.
    fn tighten(&mut self, window: &Window) {
        let peak = f64::from(window.peak);
        if self.limit.is_none() && peak < FLOOR * 2.0 {
            return;
        }
        let rate = f64::from(window.count) / window.length;
        let now = self.limit.unwrap_or(f64::INFINITY).min(peak);
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
        self.unchanged = 0;
    }
}

impl Trend {
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.under_way += other.under_way;
        self.squares += other.squares;
        self.took += other.took;
        self.products += other.products;
    }

    /// What comes later tells more.
    fn fade(&mut self) {
        let Self { count, under_way, squares, took, products } = self;
        [count, under_way, squares, took, products].into_iter().for_each(|sum| *sum /= 2.0);
    }

    /// By how much longer answers take when more are under way, each as a part of its mean: 1 if each waits for all
    /// others, 0 if none does. None if too few answers, or too little difference, tell.
    fn rises(&self) -> Option<f64> {
        let mean = |sum: f64| sum / self.count.max(1.0);
        let (under_way, took) = (mean(self.under_way), mean(self.took));
        let variance = mean(self.squares) - under_way * under_way;
        if self.count < ENOUGH || variance < (under_way * SPREAD).powi(2) || took <= 0.0 {
            return None;
        }
        let slope = (mean(self.products) - under_way * took) / variance;
        Some(slope * under_way / took)
    }
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
            let answers = f64::from(count);
            let trend = Trend {
                count: answers,
                under_way: answers * sent,
                squares: answers * sent * sent,
                took: answers * latency,
                products: answers * sent * latency,
            };
            known.learn(Window { count, late, length, peak: sent as u32, usual: latency, trend });
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
