//! Medians, ratios, verdicts: the table on the terminal and in `bench/RESULTS.md`.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;

use super::Round;
use super::machine::{self, Share};
use super::rows::{Measure, Row};
use super::servers::Bench;
use crate::Result;
use crate::cargo::{command, output_of, root};

/// What came of a row: one entry per server, the subject's first.
#[derive(Default)]
pub(super) struct Outcome {
    rounds: Vec<(String, Vec<Round>)>,
    memory: Vec<(String, u64)>,
    pub(super) noise: Share,
}

impl Outcome {
    pub(super) fn add_rounds(&mut self, server: &str, rounds: Vec<Round>) {
        self.rounds.push((server.to_owned(), rounds));
    }

    pub(super) fn add_memory(&mut self, server: &str, bytes_per_connection: u64) {
        self.memory.push((server.to_owned(), bytes_per_connection));
    }
}

/// A section of the results.
pub(super) struct Report {
    head: String,
    /// Lines of the table of CPU times.
    cpu: Vec<String>,
    /// Lines of the table of memory.
    memory: Vec<String>,
}

impl Report {
    pub(super) fn begin(bench: &Bench) -> Result<Self> {
        let wrk = output_of(command("wrk").arg("-v"))?.stdout;
        let wrk = String::from_utf8_lossy(&wrk);
        let wrk = wrk.split(' ').nth(1).unwrap_or_default();
        let mut head = format!(
            "## {} UTC\n\n{}; {}; wrk {wrk}",
            machine::date()?,
            machine::description()?,
            bench.versions(),
        );
        if !bench.missing.is_empty() {
            head += &format!("; not installed: {}", bench.missing.join(", "));
        }
        Ok(Self { head, cpu: Vec::new(), memory: Vec::new() })
    }

    pub(super) fn add(&mut self, row: &Row, outcome: Outcome) {
        match &row.measure {
            Measure::Cpu { bar, against, .. } => self.add_cpu(row, outcome, *bar, against),
            Measure::IdleMemory { max_bytes, .. } => self.add_memory(row, outcome, *max_bytes),
        }
    }

    fn add_cpu(&mut self, row: &Row, outcome: Outcome, bar: f64, against: &[&str]) {
        let noise = outcome.noise;
        let entries: Vec<(String, Option<Summary>)> = outcome
            .rounds
            .into_iter()
            .map(|(server, rounds)| (server, Summary::of(&rounds)))
            .collect();
        let cpu_of_subject = entries.first().and_then(|(_, summary)| Some(summary.as_ref()?.cpu));
        let ratio_of = |summary: &Summary| Some(summary.cpu / cpu_of_subject?);
        let best_ratio = entries
            .iter()
            .skip(1)
            .filter(|(server, _)| against.contains(&server.trim_end_matches('\'')))
            .filter_map(|(_, summary)| ratio_of(summary.as_ref()?))
            .min_by(f64::total_cmp);
        let verdict = match best_ratio {
            Some(ratio) if ratio >= bar => "pass",
            Some(_) => "FALLS SHORT",
            None => "not compared",
        };
        for (place, (server, summary)) in entries.iter().enumerate() {
            let (name, bar, verdict, noise) = if place == 0 {
                (row.name, format!("≥ {bar}"), verdict, noise.to_string())
            } else {
                ("", String::new(), "", String::new())
            };
            let figures = summary.as_ref().map_or("all rounds had errors | | | | |".into(), |s| {
                let ratio = ratio_of(s).map_or(String::new(), |ratio| format!("{ratio:.2}"));
                format!(
                    "{:.2} ± {:.0} % | {ratio} | {:.0} | {} | {} | {}",
                    s.cpu,
                    s.spread * 100.0,
                    s.per_second,
                    s.p50_us,
                    s.p99_us,
                    s.rounds
                )
            });
            self.cpu
                .push(format!("| {name} | {server} | {figures} | {bar} | {verdict} | {noise} |"));
        }
    }

    fn add_memory(&mut self, row: &Row, outcome: Outcome, max_bytes: u64) {
        for (place, (server, bytes)) in outcome.memory.iter().enumerate() {
            let (name, bar, verdict) = match place {
                0 if *bytes <= max_bytes => (row.name, format!("≤ {max_bytes}"), "pass"),
                0 => (row.name, format!("≤ {max_bytes}"), "FALLS SHORT"),
                _ => ("", String::new(), ""),
            };
            self.memory.push(format!("| {name} | {server} | {bytes} | {bar} | {verdict} |"));
        }
    }

    /// Adds the section to the end of `bench/RESULTS.md`.
    pub(super) fn record(&self) -> Result {
        let path = root().join("bench/RESULTS.md");
        let is_new = !path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if is_new {
            file.write_all(TITLE.as_bytes())?;
        }
        write!(file, "\n{self}")?;
        Ok(())
    }
}

const TITLE: &str = "\
# What the bench has measured

Written by `cargo xtask bench`, the latest run last. CPU is the time in user and system mode of all
processes of a server per request: the median of the rounds without errors, and how far they lie
apart. The ratio is that time over the time of the first server of the row; the bar is for the
ratio of the best peer. Noise is what the machine did besides.
";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head)?;
        if !self.cpu.is_empty() {
            writeln!(
                f,
                "\n| row | server | CPU µs | ratio | requests/s | p50 µs | p99 µs | rounds | bar | verdict | noise |\n\
                 |---|---|--:|--:|--:|--:|--:|--:|---|---|---|"
            )?;
            self.cpu.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        if !self.memory.is_empty() {
            writeln!(
                f,
                "\n| row | server | bytes per connection | bar | verdict |\n|---|---|--:|---|---|"
            )?;
            self.memory.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

/// The medians of the rounds that count: those without errors.
struct Summary {
    cpu: f64,
    /// Half the distance from the cheapest to the dearest round, as a part of the median.
    spread: f64,
    per_second: f64,
    p50_us: u64,
    p99_us: u64,
    /// How many rounds count, out of how many.
    rounds: String,
}

impl Summary {
    /// `None` when no round counts.
    fn of(rounds: &[Round]) -> Option<Self> {
        let counted: Vec<&Round> = rounds
            .iter()
            .filter(|round| round.load.errors == 0 && round.load.requests > 0)
            .collect();
        let median = |figure: fn(&Round) -> f64| {
            let mut figures: Vec<f64> = counted.iter().map(|round| figure(round)).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied()
        };
        let cpu = median(|round| round.cpu)?;
        let least = counted.iter().map(|round| round.cpu).fold(f64::INFINITY, f64::min);
        let most = counted.iter().map(|round| round.cpu).fold(0.0, f64::max);
        Some(Self {
            cpu,
            spread: (most - least) / 2.0 / cpu,
            per_second: median(|round| round.load.per_second())?,
            p50_us: median(|round| round.load.p50_us as f64)? as u64,
            p99_us: median(|round| round.load.p99_us as f64)? as u64,
            rounds: format!("{}/{}", counted.len(), rounds.len()),
        })
    }
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
        let summary = Summary::of(&[round(9.0, 0), round(1.0, 3), round(10.0, 0), round(11.0, 0)]);
        let summary = summary.unwrap();
        assert_eq!((summary.cpu, summary.spread), (10.0, 0.1));
        assert_eq!((summary.rounds.as_str(), summary.p99_us), ("3/4", 9));
        assert!(Summary::of(&[round(1.0, 1)]).is_none());
    }

    #[test]
    fn the_bar_is_for_the_best_of_the_peers_it_names() {
        for (peer, bar, verdict) in
            [(10.4, 1.05, "FALLS SHORT"), (10.6, 1.05, "pass"), (9.6, 0.95, "pass")]
        {
            let mut outcome = Outcome::default();
            outcome.add_rounds("gorox", vec![round(10.0, 0)]);
            outcome.add_rounds("nginx", vec![round(peer, 0)]);
            outcome.add_rounds("other", vec![round(1.0, 0)]);
            let mut report = Report { head: String::new(), cpu: vec![], memory: vec![] };
            report.add_cpu(Row::named("hello").unwrap(), outcome, bar, &["nginx"]);
            let first = report.cpu.first().unwrap();
            assert!(first.contains(&format!("| {verdict} |")), "{peer}: {first}");
        }
    }

    #[test]
    fn memory_is_judged_for_the_subject_only() {
        let mut outcome = Outcome::default();
        outcome.add_memory("gorox", 4097);
        outcome.add_memory("nginx", 500);
        let mut report = Report { head: String::new(), cpu: vec![], memory: vec![] };
        report.add_memory(Row::named("idle").unwrap(), outcome, 4096);
        assert_eq!(
            report.memory,
            ["| idle | gorox | 4097 | ≤ 4096 | FALLS SHORT |", "|  | nginx | 500 |  |  |"]
        );
    }
}
