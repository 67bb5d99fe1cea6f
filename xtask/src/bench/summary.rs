//! Medians of rounds.

use super::Round;

/// The medians of the rounds that count: those without errors.
pub(super) struct Summary {
    pub(super) cpu: f64,
    /// Half the distance from the cheapest to the dearest round, as a part of the median.
    pub(super) spread: f64,
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// How many rounds count, out of how many.
    pub(super) rounds: String,
}

impl Summary {
    /// `None` when no round counts.
    pub(super) fn of(rounds: &[Round]) -> Option<Self> {
        let counted: Vec<&Round> = rounds.iter().filter(|round| counts(round)).collect();
        let figures = |figure: fn(&Round) -> f64| counted.iter().map(move |round| figure(round));
        let cpu = median(figures(|round| round.cpu))?;
        let least = figures(|round| round.cpu).fold(f64::INFINITY, f64::min);
        let most = figures(|round| round.cpu).fold(0.0, f64::max);
        Some(Self {
            cpu,
            spread: (most - least) / 2.0 / cpu,
            per_second: median(figures(|round| round.load.per_second()))?,
            p50_us: median(figures(|round| round.load.p50_us as f64))?,
            p99_us: median(figures(|round| round.load.p99_us as f64))?,
            rounds: format!("{}/{}", counted.len(), rounds.len()),
        })
    }
}

/// How many times the CPU time of `ours` `theirs` is: the median over the rounds, each compared
/// with the one beside it, so that what slows the machine down for a while slows down both.
pub(super) fn ratio(ours: &[Round], theirs: &[Round]) -> Option<f64> {
    let pairs = ours.iter().zip(theirs).filter(|(ours, theirs)| counts(ours) && counts(theirs));
    median(pairs.map(|(ours, theirs)| theirs.cpu / ours.cpu))
}

/// How many microseconds more `ours` takes than `theirs`, in the same way.
pub(super) fn added(ours: &[Round], theirs: &[Round]) -> Option<f64> {
    let pairs = ours.iter().zip(theirs).filter(|(ours, theirs)| counts(ours) && counts(theirs));
    median(pairs.map(|(ours, theirs)| ours.cpu - theirs.cpu))
}

fn counts(round: &Round) -> bool {
    round.load.errors == 0 && round.load.requests > 0
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let upper = figures.get(figures.len() / 2)?;
    let lower = figures.get(figures.len().saturating_sub(1) / 2)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Done;

    fn round(cpu: f64, errors: u64) -> Round {
        let load = Done { requests: 100, errors, microseconds: 1_000_000, p50_us: 5, p99_us: 9 };
        Round { cpu, load }
    }

    #[test]
    fn rounds_with_errors_do_not_count() {
        let rounds = [round(9.0, 0), round(1.0, 3), round(10.0, 0), round(11.0, 0)];
        let summary = Summary::of(&rounds).unwrap();
        assert_eq!((summary.cpu, summary.spread), (10.0, 0.1));
        assert_eq!((summary.rounds.as_str(), summary.p99_us), ("3/4", 9.0));
        assert!(Summary::of(&[round(1.0, 1)]).is_none());
    }

    #[test]
    fn each_round_is_compared_with_its_neighbour() {
        let ours = [round(10.0, 0), round(20.0, 0), round(1.0, 1), round(10.0, 0)];
        let theirs = [round(12.0, 0), round(24.0, 0), round(9.0, 0), round(99.0, 1)];
        assert_eq!(ratio(&ours, &theirs), Some(1.2));
        assert_eq!(ratio(&ours, &[]), None);
    }

    #[test]
    fn medians() {
        for (figures, expected) in [
            (&[][..], None),
            (&[3.0], Some(3.0)),
            (&[3.0, 1.0], Some(2.0)),
            (&[9.0, 1.0, 2.0], Some(2.0)),
        ] {
            assert_eq!(median(figures.iter().copied()), expected);
        }
    }
}
