//! Medians, ratios, verdicts: the table on the terminal and in `bench/RESULTS.md`.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;

use super::Round;
use super::machine::{self, Share};
use super::rows::{Bar, Measure, Row};
use super::servers::Bench;
use super::summary::{Summary, added, ratio};
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

    pub(super) fn add(&mut self, row: &Row, outcome: &Outcome) {
        match &row.measure {
            Measure::Cpu { bar, against, .. } => self.add_cpu(row, outcome, *bar, against),
            Measure::IdleMemory { max_bytes, .. } => self.add_memory(row, outcome, *max_bytes),
        }
    }

    fn add_cpu(&mut self, row: &Row, outcome: &Outcome, bar: Bar, against: &[&str]) {
        let ours = outcome.rounds.first().map_or(&[][..], |(_, rounds)| rounds);
        let ratios: Vec<Option<f64>> =
            outcome.rounds.iter().map(|(_, theirs)| ratio(ours, theirs)).collect();
        let compared: Vec<_> = outcome
            .rounds
            .iter()
            .skip(1)
            .filter(|(server, _)| against.contains(&server.trim_end_matches('\'')))
            .collect();
        let figures_of = |figure: fn(&[Round], &[Round]) -> Option<f64>| {
            compared.iter().filter_map(move |(_, theirs)| figure(ours, theirs))
        };
        let (wanted, reached) = match bar {
            Bar::Ratio(least) => {
                let ratio = figures_of(ratio).min_by(f64::total_cmp);
                (format!("≥ {least}"), ratio.map(|ratio| ratio >= least))
            }
            Bar::Adds(most) => {
                let added = figures_of(added).max_by(f64::total_cmp);
                let told = added.map_or(String::new(), |added| format!("{added:+.2}, "));
                (format!("{told}≤ +{most} µs"), added.map(|added| added <= most))
            }
        };
        let verdict = match reached {
            Some(true) => "pass",
            Some(false) => "FALLS SHORT",
            None => "not compared",
        };
        for (place, ((server, rounds), ratio)) in outcome.rounds.iter().zip(ratios).enumerate() {
            let judged = if place == 0 {
                format!("{wanted} | {verdict} | {}", outcome.noise)
            } else {
                "| |".to_owned()
            };
            let name = if place == 0 { row.name } else { "" };
            let figures = figures(Summary::of(rounds), ratio);
            self.cpu.push(format!("| {name} | {server} | {figures} | {judged} |"));
        }
    }

    fn add_memory(&mut self, row: &Row, outcome: &Outcome, max_bytes: u64) {
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
apart. The ratio is that time over the time of the first server of the row, the median of the
neighbouring rounds; the bar is for the best peer's. Noise is what the machine did besides.
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

/// The columns of one server, from its CPU time to its rounds.
fn figures(summary: Option<Summary>, ratio: Option<f64>) -> String {
    let Some(summary) = summary else {
        return "all rounds had errors | | | | |".to_owned();
    };
    let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
    // wrk tells 0 where it has lost track, as it can with pipelining.
    let known = |figure: f64| if figure > 0.0 { format!("{figure:.0}") } else { "?".to_owned() };
    format!(
        "{:.2} ± {:.0} % | {ratio} | {:.0} | {} | {} | {}",
        summary.cpu,
        summary.spread * 100.0,
        summary.per_second,
        known(summary.p50_us),
        known(summary.p99_us),
        summary.rounds
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Done;

    fn round(cpu: f64) -> Round {
        let load = Done { requests: 100, errors: 0, microseconds: 1_000_000, p50_us: 5, p99_us: 9 };
        Round { cpu, load }
    }

    #[test]
    fn the_bar_is_for_the_best_of_the_peers_it_names() {
        for (peer, bar, verdict) in
            [(10.4, 1.05, "FALLS SHORT"), (10.6, 1.05, "pass"), (9.6, 0.95, "pass")]
        {
            let mut outcome = Outcome::default();
            outcome.add_rounds("gorox", vec![round(10.0)]);
            outcome.add_rounds("nginx", vec![round(peer)]);
            outcome.add_rounds("other", vec![round(1.0)]);
            let mut report = Report { head: String::new(), cpu: vec![], memory: vec![] };
            report.add_cpu(Row::named("hello").unwrap(), &outcome, Bar::Ratio(bar), &["nginx"]);
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
        report.add_memory(Row::named("idle").unwrap(), &outcome, 4096);
        assert_eq!(
            report.memory,
            ["| idle | gorox | 4097 | ≤ 4096 | FALLS SHORT |", "|  | nginx | 500 |  |  |"]
        );
    }
}
