//! A leader that is made up.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hemi_core::metrics::{Histogram, Measures};
use hemi_core::status::{ComponentName, Pace, StageStatus, Timestamp};
use hemi_core::{BoxFuture, Status};
use tokio::sync::broadcast;

use crate::control::{
    Act, ConfigFile, ConfigView, Control, Done, End, Event, Leader, Load, Mistake, Overview,
    Refused, Report, Worker,
};
use crate::recent::Line;

/// Does nothing, but says that it has.
pub(super) struct Fake {
    acts: Mutex<Vec<Act>>,
    refuses: AtomicBool,
    asked: AtomicU64,
    events: broadcast::Sender<Event>,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            acts: Mutex::default(),
            refuses: AtomicBool::default(),
            asked: AtomicU64::default(),
            events: broadcast::channel(16).0,
        }
    }

    /// What it was asked to do.
    pub(super) fn acts(&self) -> Vec<Act> {
        self.acts.lock().unwrap().clone()
    }

    /// How often it was asked how all stands.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// From now on it refuses everything.
    pub(super) fn refuse(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    pub(super) fn tell(&self, event: Event) {
        self.events.send(event).unwrap();
    }
}

impl Control for Fake {
    fn overview(&self) -> BoxFuture<'_, Overview> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { overview(asked) })
    }

    fn config(&self) -> BoxFuture<'_, ConfigView> {
        let text =
            "stage {\n\thttpxServer \"main\" { .address = \":3080\"  .webapps = (\"w\") }\n}\n";
        let files = vec![ConfigFile { name: "conf/gorox.conf".into(), text: text.into() }];
        let refused = self.refuses.load(Ordering::Relaxed).then(refused);
        let view =
            ConfigView { source: "conf/gorox.conf".into(), digest: "f00d".into(), files, refused };
        Box::pin(async { view })
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<Done, Refused>> {
        if self.refuses.load(Ordering::Relaxed) {
            return Box::pin(async { Err(refused()) });
        }
        self.acts.lock().unwrap().push(act);
        Box::pin(async { Ok(Done { message: "done".into() }) })
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

fn refused() -> Refused {
    let message = "conf/gorox.conf:7:3: error: unknown property `.adress`\n  |\n\
        7 |     .adress = \":3080\"\n  |     ^^^^^^^\n  = help: did you mean `.address`?\n";
    Refused {
        message: message.into(),
        mistakes: vec![Mistake {
            file: "conf/gorox.conf".into(),
            line: 7,
            column: 3,
            message: "unknown property `.adress`".into(),
            help: Some("did you mean `.address`?".into()),
        }],
    }
}

fn ago(seconds: u64) -> Timestamp {
    Timestamp(Timestamp::now().0 - seconds * 1000)
}

fn overview(asked: u64) -> Overview {
    let worker = |pid, since, ends_by, report| Worker { pid, since: ago(since), ends_by, report };
    let draining = Timestamp::now().after(Duration::from_secs(25));
    Overview {
        program: "gorox".into(),
        version: "0.1.0".into(),
        leader: Leader { pid: 1000, since: ago(350_000), recent: Vec::new() },
        worker: Some(worker(1001, 7500, None, Some(report(asked)))),
        retiring: vec![worker(999, 99_000, Some(draining), None)],
        restarts: [("signal".into(), 2)].into(),
        last_end: Some(End {
            pid: 998,
            at: ago(99_000),
            reason: "was killed by signal 9".into(),
            last_lines: vec!["the last line".into()],
        }),
        loads: 3,
        last_load: Some(Load { at: ago(120), refused: None }),
    }
}

fn report(asked: u64) -> Report {
    let names = [("webapp", "shop"), ("server", "main")];
    let names = names.map(|(kind, name)| ComponentName { kind: kind.into(), name: name.into() });
    let stage = |id, digest: &str, ends_by, conns| StageStatus {
        id,
        digest: digest.into(),
        since: ago(120),
        ends_by,
        conns,
        components: names.to_vec(),
    };
    let drains = Some(Timestamp::now().after(Duration::from_secs(12)));
    let wave = |n: u64| 900 + (n * 37 + asked * 11) % 350;
    let mut pace = Pace::default();
    pace.requests = (0..60).map(wave).collect();
    pace.errors = VecDeque::from([0; 59]);
    pace.errors.push_back(3);
    pace.conns = VecDeque::from([4; 60]);
    let line = |error, text: &str| Line { at: ago(30), error, text: text.into() };
    Report {
        engine: Status {
            cores: 2,
            stages: vec![stage(3, "f00d", None, 120), stage(2, "beef", drains, 4)],
            pace,
            measures: measures(),
        },
        recent: vec![
            line(false, "<b> is slow"),
            line(
                true,
                "GET /cart is answered 502: cannot connect: Connection refused (os error 111)",
            ),
        ],
    }
}

fn measures() -> Measures {
    let mut out = Measures::default();
    out.gauge("process_resident_memory_bytes", "Memory.", &[], 36_175_872);
    out.counter("process_cpu_seconds", "Time.", &[], 812.25);
    out.gauge("process_open_fds", "Files.", &[], 148);
    let server = |name| ("server", name);
    for (name, address) in [("main", "127.0.0.1:3080"), ("more", "[2001:db8::1]:443")] {
        out.info("hemi_server", "Where.", &[server(name), ("address", address)]);
        out.gauge("hemi_server_conns_active", "Now.", &[server(name)], 60);
        out.counter("hemi_server_conns_accepted", "Accepted.", &[server(name)], 4321);
        out.counter("hemi_server_requests", "Requests.", &[server(name)], 1_234_567);
        out.counter("hemi_server_errors", "Errors.", &[server(name)], 17);
        let limit = [server(name), ("limit", "head_timeout")];
        out.counter("hemi_server_limit_hits", "Hits.", &limit, 5);
    }
    // A router of datagrams has sessions instead.
    out.info("hemi_server", "Where.", &[server("dns"), ("address", "127.0.0.1:5353")]);
    out.gauge("hemi_router_sessions_active", "Now.", &[server("dns")], 77);
    for (rule, counts) in [("static", [900, 80, 15, 5]), ("cart", [100, 500, 300, 90])] {
        let labels = [("webapp", "shop"), ("rule", rule)];
        let bounds = (&[0.001, 0.01, 0.1][..]).into();
        let histogram = Histogram { bounds, counts: counts.into(), sum: 1.0 };
        out.histogram("hemi_webapp_request_seconds", "Time.", &labels, histogram);
        let failed = [labels[0], labels[1], ("status", "5xx")];
        out.counter("hemi_webapp_requests", "Requests.", &failed, 3);
    }
    for (node, up) in [("a", 1), ("b", 0)] {
        let node = [("backend", "api"), ("node", node), ("address", "127.0.0.1:7001")];
        out.gauge("hemi_backend_node_up", "Up.", &node, up);
        out.counter("hemi_backend_requests", "Requests.", &node, 4711);
        out.gauge("hemi_backend_latency_seconds", "Latency.", &node, 0.0042);
    }
    let certificate = [("webapp", "shop"), ("certificate", "1")];
    let expiry = Timestamp::now().after(Duration::from_secs(60 * 86_400)).0 as f64 / 1e3;
    out.gauge("hemi_tls_certificate_expiry_seconds", "Expiry.", &certificate, expiry);
    let host = [("acme", "main"), ("name", "shop.test")];
    out.gauge("hemi_acme_due_seconds", "Due.", &host, expiry);
    out.gauge("hemi_acme_failures", "Failures.", &host, 2);
    let job = [("cronjob", "clean")];
    let next = Timestamp::now().after(Duration::from_secs(600)).0 as f64 / 1e3;
    out.gauge("hemi_cronjob_next_start_seconds", "Next.", &job, next);
    out.counter("hemi_cronjob_runs", "Runs.", &job, 12);
    out.counter("hemi_logger_lines_written", "Lines.", &[("logger", "access")], 1_234_567);
    out.counter("hemi_logger_lines_dropped", "Lines.", &[("logger", "access")], 0);
    out
}
