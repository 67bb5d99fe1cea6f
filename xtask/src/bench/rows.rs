//! The rows of the bench: what is asked of the servers, and the bar that gorox has to reach.

use crate::Result;

/// One line of the results.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) measure: Measure,
}

pub(super) enum Measure {
    /// The CPU time per request under a load. The bar is the least ratio of the best of the peers
    /// named to ours.
    Cpu { load: Load, bar: f64, against: &'static [&'static str] },
    /// The resident memory that an idle connection costs. The bar is the most that ours may take.
    IdleMemory { connections: u32, max_bytes: u64 },
}

/// What wrk does.
pub(super) struct Load {
    pub(super) path: &'static str,
    pub(super) style: Style,
    pub(super) connections: u32,
    /// A further field line of the requests.
    pub(super) field: Option<&'static str>,
}

/// How requests follow each other on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Each after the answer to the one before.
    KeepAlive,
    /// This many at once, then all the answers.
    Pipelined(u32),
    /// One per connection.
    OneEach,
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "hello",
        what: "12-byte answer, keep-alive connections",
        measure: cpu("/hello", Style::KeepAlive, 1.05),
    },
    Row {
        name: "pipeline",
        what: "12-byte answer, 16 requests at once",
        measure: cpu("/hello", Style::Pipelined(16), 8.0),
    },
    Row {
        name: "close",
        what: "12-byte answer, one connection per request",
        measure: cpu("/hello", Style::OneEach, 0.95),
    },
    Row {
        name: "static-1k",
        what: "file of 1 KiB, keep-alive connections",
        measure: cpu("/1k.txt", Style::KeepAlive, 1.15),
    },
    Row {
        name: "static-100k",
        what: "file of 100 KiB, keep-alive connections",
        measure: cpu("/100k.txt", Style::KeepAlive, 1.0),
    },
    Row {
        name: "static-10m",
        what: "file of 10 MiB, keep-alive connections",
        // Few connections: what the last answers of a round lack doesn't count as requests.
        measure: Measure::Cpu {
            load: Load { path: "/10m.bin", style: Style::KeepAlive, connections: 8, field: None },
            bar: 1.0,
            against: &["nginx"],
        },
    },
    Row {
        name: "gzip-1",
        what: "page of 20 KiB, compressed for each answer at level 1",
        measure: gzip("/gzip-1/page.html", 1.5),
    },
    Row {
        name: "gzip-6",
        what: "page of 20 KiB, compressed for each answer at level 6",
        measure: gzip("/gzip-6/page.html", 1.5),
    },
    Row {
        name: "gzip-kept",
        what: "page of 20 KiB, as the servers compress it by default",
        measure: gzip("/gzip/page.html", 5.0),
    },
    Row {
        name: "idle",
        what: "memory of 10,000 idle keep-alive connections, each after one request",
        measure: Measure::IdleMemory { connections: 10_000, max_bytes: 4096 },
    },
];

const fn cpu(path: &'static str, style: Style, bar: f64) -> Measure {
    let load = Load { path, style, connections: 64, field: None };
    Measure::Cpu { load, bar, against: &["nginx"] }
}

const fn gzip(path: &'static str, bar: f64) -> Measure {
    let field = Some("Accept-Encoding: gzip");
    let load = Load { path, style: Style::KeepAlive, connections: 64, field };
    Measure::Cpu { load, bar, against: &["nginx"] }
}

impl Row {
    pub(super) fn named(name: &str) -> Result<&'static Self> {
        let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        let row = ROWS.iter().find(|row| row.name == name);
        Ok(row.ok_or_else(|| format!("no row {name}; there are {}", names()))?)
    }
}
