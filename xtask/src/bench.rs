//! `cargo xtask bench`: the CPU time per request of gorox and of other servers.
//!
//! All servers of a row run at the same time on one core, the client runs on another, and rounds
//! alternate between the servers. So what the machine does besides hits all of them, and the
//! medians can be compared. CPU time is the measure because it is steady on a shared machine,
//! which throughput is not.

mod idle;
mod load;
mod machine;
mod report;
mod rows;
mod servers;

use std::time::Duration;

use hemi_test::process::{self, CpuTime};

use crate::Result;
use machine::Noise;
use report::{Outcome, Report};
use rows::{Measure, ROWS, Row};
use servers::{Bench, Server};

/// The core that the servers share: only one of them has work at a time.
const SERVER_CORE: &str = "0";
/// The core of the client.
const CLIENT_CORE: &str = "1";

pub(crate) fn run(args: &[String]) -> Result {
    let plan = Plan::parse(args)?;
    if std::thread::available_parallelism()?.get() < 2 {
        return Err("the bench needs two cores: one for the server, one for the client".into());
    }
    process::raise_file_limit()?;
    let bench = Bench::prepare(&plan.servers)?;
    let mut report = Report::begin(&bench)?;
    for row in &plan.rows {
        println!("{}: {}", row.name, row.what);
        let outcome = measure(&plan, &bench, row).map_err(|error| format!("{}: {error}", row.name));
        report.add(row, outcome?);
    }
    println!("\n{report}");
    // Only figures of our own server are worth keeping.
    if plan.subject_name == servers::OURS {
        report.record()?;
    }
    Ok(())
}

/// What to measure, as the command line says.
struct Plan {
    rows: Vec<&'static Row>,
    /// The subject first: the one that the bars are for.
    servers: Vec<&'static Server>,
    subject_name: String,
    rounds: usize,
    seconds: u32,
}

impl Plan {
    fn parse(args: &[String]) -> Result<Self> {
        let mut rows = Vec::new();
        let mut peers = "nginx".to_owned();
        let mut plan = Self {
            rows: Vec::new(),
            servers: Vec::new(),
            subject_name: servers::OURS.to_owned(),
            rounds: 5,
            seconds: 3,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--peers" => peers.clone_from(value()?),
                "--subject" => plan.subject_name.clone_from(value()?),
                "--rounds" => plan.rounds = value()?.parse()?,
                "--seconds" => plan.seconds = value()?.parse()?,
                _ if arg.starts_with('-') => return Err(format!("unknown option {arg}").into()),
                _ => rows.push(Row::named(arg)?),
            }
        }
        if plan.rounds == 0 || plan.seconds == 0 {
            return Err("--rounds and --seconds must be at least 1".into());
        }
        plan.rows = if rows.is_empty() { ROWS.iter().collect() } else { rows };
        plan.servers.push(Server::named(&plan.subject_name)?);
        for name in peers.split(',').filter(|name| !name.is_empty()) {
            plan.servers.push(Server::named(name)?);
        }
        Ok(plan)
    }
}

/// What one server did in one round.
struct Round {
    /// CPU time of the server's processes per request, in microseconds.
    cpu: f64,
    load: load::Done,
}

/// Measures one row; the outcome has an entry for each server that can do it.
fn measure(plan: &Plan, bench: &Bench, row: &Row) -> Result<Outcome> {
    let noise = Noise::begin()?;
    let mut servers_time = Duration::ZERO;
    let mut outcome = Outcome::default();
    match &row.measure {
        Measure::Cpu { load, .. } => {
            let running = bench.start_all(row)?;
            for server in &running {
                load::run(server.addr(), load, 1)?;
            }
            let mut rounds: Vec<Vec<Round>> = running.iter().map(|_| Vec::new()).collect();
            for _ in 0..plan.rounds {
                for (server, rounds) in running.iter().zip(&mut rounds) {
                    let pids = server.pids();
                    let before = CpuTime::of(&pids);
                    let done = load::run(server.addr(), load, plan.seconds)?;
                    let spent = CpuTime::of(&pids).since(before);
                    servers_time += spent;
                    let cpu = spent.as_secs_f64() * 1e6 / done.requests.max(1) as f64;
                    println!("  {:8} {cpu:10.2} µs  {done}", server.name());
                    rounds.push(Round { cpu, load: done });
                }
            }
            for (server, rounds) in running.iter().zip(rounds) {
                outcome.add_rounds(server.name(), rounds);
            }
        }
        Measure::IdleMemory { connections, .. } => {
            for server in bench.able(row) {
                let server = bench.start(server, row)?;
                let bytes = idle::bytes_per_connection(&server, *connections)?;
                println!("  {:8} {bytes:8} bytes per connection", server.name());
                outcome.add_memory(server.name(), bytes);
            }
        }
    }
    outcome.noise = noise.end(servers_time)?;
    Ok(outcome)
}
