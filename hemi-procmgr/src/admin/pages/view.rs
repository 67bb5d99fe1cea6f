//! What the overview shows: made of what components measure, whatever components there are.

mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use hemi_core::clock::{self, Moment};
use hemi_core::metrics::{Histogram, Labels, Measures};
use hemi_core::status::{Pace, StageStatus, Timestamp};

use super::show;
use crate::control::{Event, Overview, What, Worker};
use crate::recent;

/// The part of the page that changes.
#[derive(Template)]
#[template(path = "live.html")]
pub(crate) struct Live {
    now: Now,
    processes: Vec<Process>,
    restarts: String,
    last_end: Option<String>,
    stages: Vec<Stage>,
    load: Option<Load>,
    servers: Vec<Server>,
    rules: Vec<Rule>,
    tables: Vec<Table>,
    lines: Vec<Line>,
    happened: Vec<Line>,
}

/// The figures at the top.
struct Now {
    requests: String,
    requests_minute: String,
    requests_line: String,
    peak: String,
    errors: String,
    errors_minute: String,
    /// None if there were no errors.
    errors_line: Option<String>,
    failing: bool,
    conns: String,
    accepted: String,
    p99: String,
    times_of: &'static str,
}

struct Process {
    what: &'static str,
    pid: u32,
    state: String,
    mood: &'static str,
    age: String,
    memory: String,
    cpu: String,
    files: String,
}

struct Stage {
    id: u64,
    pid: u32,
    state: String,
    mood: &'static str,
    age: String,
    conns: String,
    digest: String,
}

struct Load {
    refused: bool,
    text: String,
}

struct Server {
    name: String,
    address: String,
    conns: String,
    accepted: String,
    requests: String,
    errors: String,
    limits: String,
    /// Which limits those were.
    which: String,
}

struct Rule {
    webapp: String,
    rule: String,
    requests: String,
    errors: String,
    times: [String; 3],
}

/// What only some stages have.
struct Table {
    title: &'static str,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

struct Line {
    at: String,
    mood: &'static str,
    tag: &'static str,
    text: String,
}

/// How long requests took, of rules by their labels.
type Times = BTreeMap<Labels, Histogram>;

/// What was seen before, so that how long requests take now can be told from how long they took ever.
#[derive(Default)]
pub(crate) struct Past {
    /// The older one first.
    seen: Option<[(Moment, Times); 2]>,
}

/// The times that are shown are those since one or two times this long ago, if somebody watched then.
const SPAN: Duration = Duration::from_secs(30);

impl Past {
    /// The times since what was seen before; all, if nothing was.
    fn lately(&mut self, times: Times) -> (Times, &'static str) {
        let now = clock::now();
        let [older, newer] =
            self.seen.get_or_insert_with(|| [(now, Times::new()), (now, times.clone())]);
        if now.since(newer.0) > SPAN {
            let newest = (now, times.clone());
            *older = std::mem::replace(newer, newest);
        }
        // Nobody has watched for long.
        if older.1.is_empty() || now.since(older.0) > 4 * SPAN {
            return (times, "since the start");
        }
        let since = |(labels, histogram): (Labels, Histogram)| {
            let earlier = older.1.get(&labels);
            let lately = earlier.map_or_else(|| histogram.clone(), |e| histogram.since(e));
            (labels, lately)
        };
        (times.into_iter().map(since).collect(), "in the last minute")
    }
}

impl Live {
    pub(crate) fn of(overview: &Overview, happened: &[Event], past: &mut Past) -> Self {
        let report = overview.worker.as_ref().and_then(|worker| worker.report.as_ref());
        let nothing = Measures::default();
        let measures = report.map_or(&nothing, |report| &report.engine.measures);
        let ever: Times = measures
            .series("hemi_webapp_request_seconds")
            .filter_map(|(labels, value)| Some((labels.clone(), value.histogram()?.clone())))
            .collect();
        let (times, times_of) = past.lately(ever.clone());
        let pace = report.map(|report| report.engine.pace.clone()).unwrap_or_default();
        let active = ACTIVE.iter().flat_map(|family| numbers(measures, family));
        let conns: f64 = active.map(|(_, n)| n).sum();
        let recent = report.map_or(&[][..], |report| &report.recent);
        let mut lines: Vec<_> = recent.iter().chain(&overview.leader.recent).collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.at));
        Self {
            now: Now::of(&pace, conns, &times, times_of),
            processes: processes(overview),
            restarts: restarts(&overview.restarts),
            last_end: overview
                .last_end
                .as_ref()
                .map(|end| format!("{} {}, at {}.", end.pid, end.reason, show::clock(end.at))),
            stages: stages(overview),
            load: overview.last_load.as_ref().map(|load| {
                let at = show::clock(load.at);
                let text = match &load.refused {
                    Some(_) => format!("The config of {at} was refused: see the page Config."),
                    None => format!("The config was last loaded at {at}."),
                };
                Load { refused: load.refused.is_some(), text }
            }),
            servers: servers(measures),
            rules: rules(measures, &ever, &times),
            tables: tables(measures),
            lines: lines.into_iter().map(Line::logged).collect(),
            happened: happened.iter().map(Line::happened).collect(),
        }
    }
}

impl Now {
    fn of(pace: &Pace, conns: f64, times: &Times, times_of: &'static str) -> Self {
        let last = |seconds: &std::collections::VecDeque<u64>| {
            show::count(seconds.back().copied().unwrap_or_default() as f64)
        };
        let minute = |seconds| show::rate(Pace::mean(seconds));
        let peak = pace.requests.iter().chain(&pace.errors).copied().max().unwrap_or_default();
        let mut all: Option<Histogram> = None;
        for histogram in times.values() {
            match &mut all {
                Some(all) => all.add(histogram),
                None => all = Some(histogram.clone()),
            }
        }
        let times_of = if times.is_empty() { "not measured" } else { times_of };
        Self {
            requests: last(&pace.requests),
            requests_minute: minute(&pace.requests),
            requests_line: show::line(&pace.requests, peak),
            peak: show::count(peak as f64),
            errors: last(&pace.errors),
            errors_minute: minute(&pace.errors),
            errors_line: pace.errors.iter().any(|n| *n > 0).then(|| show::line(&pace.errors, peak)),
            failing: pace.errors.back().is_some_and(|errors| *errors > 0),
            conns: show::count(conns),
            accepted: last(&pace.conns),
            p99: show::took(all.and_then(|all| all.quantile(0.99))),
            times_of,
        }
    }
}

fn processes(overview: &Overview) -> Vec<Process> {
    let process = |what, pid, since, state, mood, measures: Option<&Measures>| {
        let figure = |name, show: fn(f64) -> String| {
            let figure = measures.and_then(|measures| numbers(measures, name).next());
            figure.map_or_else(|| "–".to_owned(), |(_, figure)| show(figure))
        };
        Process {
            what,
            pid,
            state,
            mood,
            age: show::age(Timestamp::now().since(since)),
            memory: figure("process_resident_memory_bytes", show::bytes),
            cpu: figure("process_cpu_seconds", |s| format!("{s:.1} s")),
            files: figure("process_open_fds", show::count),
        }
    };
    let leader = &overview.leader;
    // Mostly it is this process.
    let figures = (leader.pid == std::process::id()).then(Measures::of_process);
    let state = "watching".to_owned();
    let leader = process("leader", leader.pid, leader.since, state, "good", figures.as_ref());
    let of = |worker: &Worker| {
        let (state, mood) = match (&worker.ends_by, &worker.report) {
            (Some(by), _) => (draining(*by), "warn"),
            (None, Some(_)) => ("serving".to_owned(), "good"),
            (None, None) => ("no answer".to_owned(), "bad"),
        };
        let measures = worker.report.as_ref().map(|report| &report.engine.measures);
        process("worker", worker.pid, worker.since, state, mood, measures)
    };
    let workers = overview.worker.iter().chain(&overview.retiring);
    [leader].into_iter().chain(workers.map(of)).collect()
}

fn draining(by: Timestamp) -> String {
    format!("draining, {} left", show::age(by.since(Timestamp::now())))
}

fn restarts(restarts: &BTreeMap<String, u64>) -> String {
    match restarts.values().sum::<u64>() {
        0 => "No worker was lost.".to_owned(),
        all => {
            let reasons = restarts.iter().map(|(reason, count)| format!("{reason} {count}"));
            format!("Workers lost: {all} ({}).", reasons.collect::<Vec<_>>().join(", "))
        }
    }
}

fn stages(overview: &Overview) -> Vec<Stage> {
    let workers = overview.worker.iter().chain(&overview.retiring);
    let of = |worker: &Worker, stage: &StageStatus| {
        let ends_by = stage.ends_by.or(worker.ends_by);
        Stage {
            id: stage.id,
            pid: worker.pid,
            state: ends_by.map_or_else(|| "serving".to_owned(), draining),
            mood: if ends_by.is_some() { "warn" } else { "good" },
            age: show::age(Timestamp::now().since(stage.since)),
            conns: show::count(stage.conns as f64),
            digest: stage.digest.clone(),
        }
    };
    let stages = workers.flat_map(|worker| {
        let stages = worker.report.iter().flat_map(|report| &report.engine.stages);
        stages.map(move |stage| of(worker, stage))
    });
    stages.collect()
}

/// What servers serve now, as each kind of them tells it.
const ACTIVE: [&str; 3] =
    ["hemi_server_conns_active", "hemi_server_quic_conns_active", "hemi_router_sessions_active"];

fn servers(measures: &Measures) -> Vec<Server> {
    let of = |(kind, name): (&str, &str)| {
        let mine = |(labels, n): (&Labels, f64)| {
            (labels.value(kind) == Some(name)).then(|| (labels.clone(), n))
        };
        let one = |family| numbers(measures, family).find_map(mine).map(|(_, number)| number);
        let address = measures.series("hemi_server").find_map(|(labels, _)| {
            labels.value("address").filter(|_| labels.value(kind) == Some(name))
        });
        let hits = numbers(measures, "hemi_server_limit_hits").filter_map(mine);
        let hits: Vec<_> = hits.filter(|(_, n)| *n > 0.0).collect();
        let active = ACTIVE.iter().flat_map(|family| numbers(measures, family).filter_map(mine));
        let accepted = one("hemi_server_conns_accepted").or(one("hemi_router_sessions_opened"));
        let or_dash = |n: Option<f64>| n.map_or_else(|| "–".to_owned(), show::count);
        let which = hits.iter().map(|(labels, n)| {
            format!("{} {}", labels.value("limit").unwrap_or_default(), show::count(*n))
        });
        Server {
            name: name.to_owned(),
            address: address.unwrap_or_default().to_owned(),
            conns: show::count(active.map(|(_, n)| n).sum()),
            accepted: or_dash(accepted),
            requests: or_dash(one("hemi_server_requests")),
            errors: or_dash(one("hemi_server_errors")),
            limits: show::count(hits.iter().map(|(_, n)| n).sum()),
            which: which.collect::<Vec<_>>().join(", "),
        }
    };
    let mut names = Vec::new();
    for family in ["hemi_server"].iter().chain(&ACTIVE) {
        for (labels, _) in measures.series(family) {
            let name = labels.iter().next().unwrap_or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.into_iter().map(of).collect()
}

fn rules(measures: &Measures, ever: &Times, lately: &Times) -> Vec<Rule> {
    let of = |(labels, histogram): (&Labels, &Histogram)| {
        let label = |name| labels.value(name).unwrap_or_default().to_owned();
        let errors = numbers(measures, "hemi_webapp_requests").filter(|(other, _)| {
            ["webapp", "rule"].iter().all(|name| other.value(name) == labels.value(name))
                && other.value("status") == Some("5xx")
        });
        let times = lately.get(labels);
        let quantile = |share| show::took(times.and_then(|times| times.quantile(share)));
        Rule {
            webapp: label("webapp"),
            rule: Some(label("rule")).filter(|rule| !rule.is_empty()).unwrap_or("none".to_owned()),
            requests: show::count(histogram.count() as f64),
            errors: show::count(errors.map(|(_, n)| n).sum()),
            times: [0.5, 0.9, 0.99].map(quantile),
        }
    };
    ever.iter().filter(|(_, histogram)| histogram.count() > 0).map(of).collect()
}

/// A column of a table: its head, the measures it shows, and how.
type Column = (&'static str, &'static str, fn(f64) -> String);

fn tables(measures: &Measures) -> Vec<Table> {
    fn ago(at: f64) -> String {
        format!("{} ago", show::age(Timestamp::now().since(Timestamp((at * 1e3) as u64))))
    }
    fn ahead(at: f64) -> String {
        format!("in {}", show::age(Timestamp((at * 1e3) as u64).since(Timestamp::now())))
    }
    fn yes(n: f64) -> String {
        if n > 0.0 { "yes" } else { "no" }.to_owned()
    }
    fn limit(n: f64) -> String {
        if n > 0.0 { show::count(n) } else { "any".to_owned() }
    }
    let all: [(&'static str, &'static str, &[Column]); 6] = [
        (
            "Backends",
            "Node",
            &[
                ("Up", "hemi_backend_node_up", yes),
                ("Requests", "hemi_backend_requests", show::count),
                ("Failures", "hemi_backend_failures", show::count),
                ("Active", "hemi_backend_active", show::count),
                ("At most", "hemi_backend_limit", limit),
                ("Begins in", "hemi_backend_latency_seconds", |s| show::took(Some(s))),
            ],
        ),
        (
            "Load of backends",
            "Backend",
            &[
                ("Waiting", "hemi_backend_pending", show::count),
                ("Refused", "hemi_backend_shed", show::count),
                ("Sent again", "hemi_backend_retries", show::count),
                ("Not sent again", "hemi_backend_retries_refused", show::count),
            ],
        ),
        (
            "Certificates",
            "Certificate",
            &[("Expires", "hemi_tls_certificate_expiry_seconds", ahead)],
        ),
        (
            "Certificates by ACME",
            "Host",
            &[
                ("Obtained", "hemi_acme_due_seconds", ahead),
                ("Failures since", "hemi_acme_failures", show::count),
            ],
        ),
        (
            "Cronjobs",
            "Cronjob",
            &[
                ("Next", "hemi_cronjob_next_start_seconds", ahead),
                ("Last", "hemi_cronjob_last_start_seconds", ago),
                ("Runs", "hemi_cronjob_runs", show::count),
                ("Failures", "hemi_cronjob_failures", show::count),
                ("Running", "hemi_cronjob_running", yes),
            ],
        ),
        (
            "Logs",
            "Logger",
            &[
                ("Written", "hemi_logger_lines_written", show::count),
                ("Dropped", "hemi_logger_lines_dropped", show::count),
                ("Failures", "hemi_logger_failures", show::count),
            ],
        ),
    ];
    let table = |(title, first, columns): (&'static str, &'static str, &[Column])| {
        let mut rows: BTreeMap<&Labels, Vec<String>> = BTreeMap::new();
        for (index, (_, family, show)) in columns.iter().enumerate() {
            for (labels, number) in numbers(measures, family) {
                let row =
                    rows.entry(labels).or_insert_with(|| vec!["–".to_owned(); columns.len()]);
                row[index] = show(number);
            }
        }
        let head = [first].into_iter().chain(columns.iter().map(|(head, ..)| *head)).collect();
        let rows = rows.into_iter().map(|(labels, figures)| {
            let mut names: Vec<_> = labels.iter().map(|(_, name)| name.to_owned()).collect();
            // A node without a name is called by its address.
            names.dedup();
            [names.join(" ")].into_iter().chain(figures).collect()
        });
        Table { title, head, rows: rows.collect() }
    };
    all.into_iter().map(table).filter(|table| !table.rows.is_empty()).collect()
}

impl Line {
    fn logged(line: &recent::Line) -> Self {
        let (mood, tag) = if line.error { ("bad", "error") } else { ("warn", "warning") };
        Self { at: show::clock(line.at), mood, tag, text: line.text.clone() }
    }

    fn happened(event: &Event) -> Self {
        let (mood, tag) = match event.what {
            What::Started => ("good", "started"),
            What::Loaded => ("good", "loaded"),
            What::Ended => ("", "ended"),
            What::Failed => ("bad", "lost"),
            What::Refused => ("bad", "refused"),
            What::RolledBack => ("warn", "rolled back"),
            What::Ending => ("warn", "ending"),
        };
        Self { at: show::clock(event.at), mood, tag, text: event.message.clone() }
    }
}

/// The numbers of a family.
fn numbers<'a>(
    measures: &'a Measures,
    family: &str,
) -> impl Iterator<Item = (&'a Labels, f64)> + use<'a> {
    measures.series(family).filter_map(|(labels, value)| Some((labels, value.number()?)))
}
