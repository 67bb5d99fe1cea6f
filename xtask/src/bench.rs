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
mod summary;

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
    let bench = Bench::prepare(&plan.all_servers()?)?;
    let mut report = Report::begin(&bench)?;
    let mut failures = Vec::new();
    for row in &plan.rows {
        println!("{}: {}", row.name, row.what);
        match measure(&plan, &bench, row) {
            Ok(outcome) => report.add(row, &outcome),
            Err(error) => failures.push(format!("{}: {error}", row.name)),
        }
    }
    println!("\n{report}");
    // Only figures of our own server are worth keeping.
    if plan.subject.is_none() {
        report.record()?;
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// What to measure, as the command line says.
struct Plan {
    rows: Vec<&'static Row>,
    /// Measured instead of what the rows are about.
    subject: Option<&'static Server>,
    /// Compared with, instead of those that the rows' bars are for.
    peers: Option<Vec<&'static Server>>,
    rounds: usize,
    seconds: u32,
}

impl Plan {
    fn parse(args: &[String]) -> Result<Self> {
        let mut rows = Vec::new();
        let mut plan = Self { rows: Vec::new(), subject: None, peers: None, rounds: 9, seconds: 2 };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--peers" => {
                    let names = value()?.split(',').filter(|name| !name.is_empty());
                    plan.peers = Some(names.map(Server::named).collect::<Result<_>>()?);
                }
                "--subject" => plan.subject = Some(Server::named(value()?)?),
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
        Ok(plan)
    }

    /// The servers of a row. The subject is the first: the one that the bar is for.
    fn servers(&self, row: &Row) -> Result<Vec<&'static Server>> {
        let subject = self.subject.map_or_else(|| Server::named(row.subject), Ok)?;
        let against = || row.measure.against().iter().map(|name| Server::named(name)).collect();
        let peers: Vec<_> = self.peers.clone().map_or_else(against, Ok)?;
        Ok([vec![subject], peers].concat())
    }

    fn all_servers(&self) -> Result<Vec<&'static Server>> {
        let mut all: Vec<&Server> = Vec::new();
        for row in &self.rows {
            for server in self.servers(row)? {
                if all.iter().all(|known| known.name != server.name) {
                    all.push(server);
                }
            }
        }
        Ok(all)
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
            let running = bench.start_all(row, &plan.servers(row)?)?;
            for server in &running {
                load::run(server, load, 1)?;
            }
            let mut rounds: Vec<Vec<Round>> = running.iter().map(|_| Vec::new()).collect();
            for _ in 0..plan.rounds {
                for (server, rounds) in running.iter().zip(&mut rounds) {
                    let pids = server.pids();
                    let before = CpuTime::of(&pids);
                    let done = load::run(server, load, plan.seconds)?;
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
        Measure::IdleMemory { connections, over, .. } => {
            let over = bench.client_config(*over);
            for server in plan.servers(row)? {
                let Some(server) = bench.start(server, row)? else { continue };
                let bytes = idle::bytes_per_connection(&server, *connections, over.as_ref())?;
                println!("  {:8} {bytes:8} bytes per connection", server.name());
                outcome.add_memory(server.name(), bytes);
            }
        }
    }
    outcome.noise = noise.end(servers_time)?;
    Ok(outcome)
}
