//! The rows of the bench: what is asked of the servers, and the bar that gorox has to reach.

use super::servers::OURS;
use crate::Result;

/// One line of the results.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Which of our servers it is about.
    pub(super) subject: &'static str,
    pub(super) measure: Measure,
}

pub(super) enum Measure {
    /// The CPU time per request under a load, compared with the best of the servers named.
    Cpu { load: Load, bar: Bar, against: &'static [&'static str] },
    /// The resident memory that an idle connection costs. The bar is the most that ours may take.
    IdleMemory { connections: u32, over: Over, max_bytes: u64 },
}

impl Measure {
    /// The servers that it is compared with.
    pub(super) fn against(&self) -> &'static [&'static str] {
        match self {
            Self::Cpu { against, .. } => against,
            Self::IdleMemory { .. } => &["nginx"],
        }
    }
}

/// What the subject of a row has to reach.
#[derive(Clone, Copy)]
pub(super) enum Bar {
    /// Its CPU time goes so often, at least, into the other's.
    Ratio(f64),
    /// It takes so many microseconds more than the other, at most.
    Adds(f64),
}

/// What wrk does, or a client of ours.
pub(super) struct Load {
    pub(super) path: &'static str,
    pub(super) style: Style,
    pub(super) over: Over,
    pub(super) connections: u32,
    /// A field line of the requests besides the usual ones.
    pub(super) field: Option<&'static str>,
    /// The file below bench/ that is the content of the requests; GET without one.
    pub(super) content: Option<Content>,
}

/// The content of requests.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// A form with one file of this many bytes.
    Multipart(usize),
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
    /// Messages of a WebSocket instead, this many at once, then all that come back.
    WebSocket(u32),
    /// Each after the answer to the one before, on this many streams of HTTP/2 in each connection, by h2load.
    Http2(u32),
    /// Each after the answer to the one before, on this many streams of HTTP/3 in each connection.
    Http3(u32),
    /// Calls of rpcx instead, by this many callers who share the connections, each after the answer to the one before.
    Rpcx(u32),
    /// The same by HRPC, from servers that speak it.
    Hrpc(u32),
    /// Datagrams there and back instead, this many at once, then all that come back.
    Datagrams(u32),
    /// Each after the answer to the one before, on connections to the origin that the server has opened as a proxy, or
    /// relays without being asked.
    ByProxy,
    /// Calls of gRPC, by this many callers on each connection, each after the answer to the one before, by h2load.
    Grpc(u32),
}

/// What carries requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Tcp,
    Tls,
    /// HTTP/2, chosen by ALPN.
    TlsHttp2,
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "hello",
        what: "12-byte answer, keep-alive connections",
        subject: OURS,
        measure: cpu("/hello", Style::KeepAlive, 1.05),
    },
    Row {
        name: "pipeline",
        what: "12-byte answer, 16 requests at once",
        subject: OURS,
        measure: cpu("/hello", Style::Pipelined(16), 8.0),
    },
    Row {
        name: "close",
        what: "12-byte answer, one connection per request",
        subject: OURS,
        measure: cpu("/hello", Style::OneEach, 0.95),
    },
    Row {
        name: "static-1k",
        what: "file of 1 KiB, keep-alive connections",
        subject: OURS,
        measure: cpu("/1k.txt", Style::KeepAlive, 1.15),
    },
    Row {
        name: "static-100k",
        what: "file of 100 KiB, keep-alive connections",
        subject: OURS,
        measure: cpu("/100k.txt", Style::KeepAlive, 1.0),
    },
    Row {
        name: "static-10m",
        what: "file of 10 MiB, keep-alive connections",
        subject: OURS,
        // Few connections: what the last answers of a round lack doesn't count as requests.
        measure: Measure::Cpu {
            load: Load { connections: 8, ..Load::get("/10m.bin") },
            bar: Bar::Ratio(1.0),
            against: &["nginx"],
        },
    },
    Row {
        name: "gzip-1",
        what: "page of 20 KiB, compressed for each answer at level 1",
        subject: OURS,
        measure: gzip("/gzip-1/page.html", 1.5),
    },
    Row {
        name: "gzip-6",
        what: "page of 20 KiB, compressed for each answer at level 6",
        subject: OURS,
        measure: gzip("/gzip-6/page.html", 1.5),
    },
    Row {
        name: "gzip-kept",
        what: "page of 20 KiB, as the servers compress it by default",
        subject: OURS,
        measure: gzip("/gzip/page.html", 5.0),
    },
    Row {
        name: "access-log",
        what: "12-byte answer with a line in the access log, against the same without",
        subject: "gorox-log",
        measure: Measure::Cpu { load: Load::get("/hello"), bar: Bar::Adds(0.6), against: &[OURS] },
    },
    Row {
        name: "metrics",
        what: "12-byte answer with metrics kept, against the same without",
        subject: "gorox-metrics",
        measure: Measure::Cpu { load: Load::get("/hello"), bar: Bar::Adds(0.3), against: &[OURS] },
    },
    Row {
        name: "route",
        what: "JSON from a handle with two path parameters, against the same text by a rule",
        subject: "app",
        measure: Measure::Cpu {
            load: Load::get("/shops/7/items/42"),
            bar: Bar::Ratio(0.8),
            against: &[OURS],
        },
    },
    Row {
        name: "axum-inside",
        what: "an axum router inside our server, against the same on its own",
        subject: "app",
        measure: Measure::Cpu {
            load: Load::get("/axum/shops/7/items/42"),
            bar: Bar::Ratio(1.0),
            against: &["axum"],
        },
    },
    Row {
        name: "multipart-1m",
        what: "upload of 1 MiB in a multipart form",
        subject: "app",
        measure: Measure::Cpu {
            load: Load {
                connections: 8,
                content: Some(Content::Multipart(1 << 20)),
                ..Load::get("/upload")
            },
            bar: Bar::Ratio(1.5),
            against: &["axum"],
        },
    },
    Row {
        name: "websocket",
        what: "echo of a 64-byte message by a WebSocket",
        subject: OURS,
        measure: websocket(1),
    },
    Row {
        name: "websocket-16",
        what: "echo of 16 messages of 64 bytes at once by a WebSocket",
        subject: OURS,
        measure: websocket(16),
    },
    Row {
        name: "idle",
        what: "memory of 10,000 idle keep-alive connections, each after one request",
        subject: OURS,
        measure: Measure::IdleMemory { connections: 10_000, over: Over::Tcp, max_bytes: 4096 },
    },
    Row {
        name: "tls-hello",
        what: "12-byte answer over TLS 1.3, keep-alive connections",
        subject: OURS,
        measure: tls("/hello", Style::KeepAlive, 1.2),
    },
    Row {
        name: "tls-100k",
        what: "file of 100 KiB over TLS 1.3, keep-alive connections",
        subject: OURS,
        measure: tls("/100k.txt", Style::KeepAlive, 1.3),
    },
    Row {
        name: "tls-resume",
        what: "12-byte answer over TLS 1.3, each on a connection that resumes a session",
        subject: OURS,
        measure: tls("/hello", Style::OneEach, 1.5),
    },
    Row {
        name: "tls-p256",
        what: "TLS 1.3 handshake with a certificate of P-256, and a 12-byte answer",
        subject: OURS,
        measure: tls("/hello", Style::OneEach, 2.3),
    },
    Row {
        name: "tls-rsa",
        what: "TLS 1.3 handshake with a certificate of RSA-2048, and a 12-byte answer",
        subject: OURS,
        measure: tls("/hello", Style::OneEach, 1.4),
    },
    Row {
        name: "tls-idle",
        what: "memory of 10,000 idle keep-alive connections over TLS, each after one request",
        subject: OURS,
        measure: Measure::IdleMemory { connections: 10_000, over: Over::Tls, max_bytes: 20 << 10 },
    },
    Row {
        name: "http2-hello",
        what: "12-byte answer over HTTP/2 in the clear, connections with a stream each",
        subject: OURS,
        measure: http2("/hello", 32, 1, 1.35),
    },
    Row {
        name: "http2-hello-32",
        what: "12-byte answer over HTTP/2 in the clear, connections with 32 streams each",
        subject: OURS,
        measure: http2("/hello", 8, 32, 4.0),
    },
    Row {
        name: "http2-100k",
        what: "file of 100 KiB over HTTP/2 in the clear, connections with a stream each",
        subject: OURS,
        measure: http2("/100k.txt", 32, 1, 0.9),
    },
    Row {
        name: "http2-100k-32",
        what: "file of 100 KiB over HTTP/2 in the clear, connections with 32 streams each",
        subject: OURS,
        measure: http2("/100k.txt", 8, 32, 1.0),
    },
    Row {
        name: "http2-idle",
        what: "memory of 10,000 idle connections of HTTP/2 over TLS, each after one request",
        subject: OURS,
        measure: Measure::IdleMemory {
            connections: 10_000,
            over: Over::TlsHttp2,
            max_bytes: 32 << 10,
        },
    },
    Row {
        name: "http3-hello",
        what: "12-byte answer over HTTP/3, connections with a stream each",
        subject: OURS,
        measure: http3("/hello", 16, 1, 4.0),
    },
    Row {
        name: "http3-hello-32",
        what: "12-byte answer over HTTP/3, connections with 32 streams each",
        subject: OURS,
        measure: http3("/hello", 4, 32, 7.0),
    },
    Row {
        name: "http3-100k",
        what: "file of 100 KiB over HTTP/3, connections with 8 streams each",
        subject: OURS,
        measure: http3("/100k.txt", 1, 8, 5.0),
    },
    Row {
        name: "rpcx-50",
        what: "call of 581 bytes both ways by rpcx, 50 callers on 10 connections",
        subject: "rpc",
        measure: rpcx(10, 50),
    },
    Row {
        name: "rpcx-500",
        what: "call of 581 bytes both ways by rpcx, 500 callers on 10 connections",
        subject: "rpc",
        measure: rpcx(10, 500),
    },
    Row {
        name: "rpcx-500-each",
        what: "call of 581 bytes both ways by rpcx, 500 callers with a connection each",
        subject: "rpc",
        measure: rpcx(500, 500),
    },
    Row {
        name: "hrpc-50",
        what: "call of 581 bytes both ways by HRPC, against rpcx in Go, 50 callers on 10 connections",
        subject: "rpc",
        measure: hrpc(10, 50),
    },
    Row {
        name: "hrpc-500",
        what: "call of 581 bytes both ways by HRPC, against rpcx in Go, 500 callers on 10 connections",
        subject: "rpc",
        measure: hrpc(10, 500),
    },
    Row {
        name: "grpc-50",
        what: "call of 581 bytes both ways by gRPC, 50 callers on 10 connections",
        subject: "rpc",
        measure: grpc(10, 50),
    },
    Row {
        name: "grpc-500",
        what: "call of 581 bytes both ways by gRPC, 500 callers on 10 connections",
        subject: "rpc",
        measure: grpc(10, 500),
    },
    Row {
        name: "proxy-hello",
        what: "12-byte answer of an origin, passed on",
        subject: OURS,
        measure: proxy(Load::get("/hello"), 1.2),
    },
    Row {
        name: "proxy-100k",
        what: "file of 100 KiB of an origin, passed on",
        subject: OURS,
        measure: proxy(Load::get("/100k.txt"), 1.15),
    },
    Row {
        name: "proxy-10m",
        what: "file of 10 MiB of an origin, passed on",
        subject: OURS,
        measure: proxy(Load { connections: 8, ..Load::get("/10m.bin") }, 0.85),
    },
    Row {
        name: "relay-hello",
        what: "12-byte answer of an origin, relayed below HTTP",
        subject: OURS,
        measure: proxy(Load::get("/hello"), 1.0),
    },
    Row {
        name: "relay-100k",
        what: "file of 100 KiB of an origin, relayed below HTTP",
        subject: OURS,
        measure: proxy(Load::get("/100k.txt"), 1.05),
    },
    Row {
        name: "relay-10m",
        what: "file of 10 MiB of an origin, relayed below HTTP",
        subject: OURS,
        measure: proxy(Load { connections: 8, ..Load::get("/10m.bin") }, 1.8),
    },
    Row {
        name: "relay-close",
        what: "12-byte answer of an origin, relayed below HTTP, one connection per request",
        subject: OURS,
        measure: proxy(Load { style: Style::OneEach, ..Load::get("/hello") }, 1.05),
    },
    Row {
        name: "relay-udp",
        what: "datagram of 100 bytes, relayed there and back, one at once by each client",
        subject: OURS,
        measure: datagrams(64, 1),
    },
    Row {
        name: "relay-udp-16",
        what: "datagram of 100 bytes, relayed there and back, 16 at once by each client",
        subject: OURS,
        measure: datagrams(8, 16),
    },
    Row {
        name: "socks-hello",
        what: "12-byte answer of an origin, by way of SOCKS 5, against the same relayed",
        subject: "gorox-socks",
        measure: by_proxy("/hello", 64),
    },
    Row {
        name: "socks-100k",
        what: "file of 100 KiB of an origin, by way of SOCKS 5, against the same relayed",
        subject: "gorox-socks",
        measure: by_proxy("/100k.txt", 16),
    },
    Row {
        name: "connect-hello",
        what: "12-byte answer of an origin, by way of CONNECT, against the same relayed",
        subject: "gorox-connect",
        measure: by_proxy("/hello", 64),
    },
    Row {
        name: "connect-100k",
        what: "file of 100 KiB of an origin, by way of CONNECT, against the same relayed",
        subject: "gorox-connect",
        measure: by_proxy("/100k.txt", 16),
    },
    Row {
        name: "proxy-tls",
        what: "12-byte answer of an origin, passed on over TLS 1.3",
        subject: OURS,
        measure: proxy(Load { over: Over::Tls, ..Load::get("/hello") }, 1.2),
    },
    Row {
        name: "proxy-http2-32",
        what: "12-byte answer of an origin, passed on over HTTP/2 in the clear with 32 streams each",
        subject: OURS,
        measure: proxy(
            Load { style: Style::Http2(32), connections: 8, ..Load::get("/hello") },
            1.2,
        ),
    },
    Row {
        name: "proxy-nodes",
        what: "12-byte answer of three nodes that are checked, against one that is not",
        subject: "gorox-nodes",
        measure: Measure::Cpu {
            load: Load::get("/hello"),
            bar: Bar::Ratio(0.97),
            against: &[OURS],
        },
    },
    Row {
        name: "fcgi-hello",
        what: "12-byte answer of PHP-FPM, passed on by FastCGI",
        subject: OURS,
        // Each connection that is kept has a worker of PHP-FPM.
        measure: Measure::Cpu {
            load: Load { connections: 16, ..Load::get("/hello.php") },
            bar: Bar::Ratio(1.2),
            against: &["nginx"],
        },
    },
    Row {
        name: "relay-sni",
        what: "TLS relayed by the name that is asked for, against the same without a look, one connection per request",
        subject: "gorox-sni",
        measure: Measure::Cpu {
            load: Load { style: Style::OneEach, over: Over::Tls, ..Load::get("/hello") },
            bar: Bar::Adds(10.0),
            against: &[OURS],
        },
    },
];

impl Load {
    const fn get(path: &'static str) -> Self {
        let (style, over) = (Style::KeepAlive, Over::Tcp);
        Self { path, style, over, connections: 64, field: None, content: None }
    }
}

const fn cpu(path: &'static str, style: Style, bar: f64) -> Measure {
    let (load, bar) = (Load { style, ..Load::get(path) }, Bar::Ratio(bar));
    Measure::Cpu { load, bar, against: &["nginx"] }
}

const fn datagrams(clients: u32, at_once: u32) -> Measure {
    let style = Style::Datagrams(at_once);
    let load = Load { style, connections: clients, ..Load::get("") };
    Measure::Cpu { load, bar: Bar::Ratio(1.2), against: &["nginx"] }
}

const fn by_proxy(path: &'static str, connections: u32) -> Measure {
    let load = Load { style: Style::ByProxy, connections, ..Load::get(path) };
    Measure::Cpu { load, bar: Bar::Ratio(0.95), against: &[OURS] }
}

const fn tls(path: &'static str, style: Style, bar: f64) -> Measure {
    let load = Load { style, over: Over::Tls, ..Load::get(path) };
    Measure::Cpu { load, bar: Bar::Ratio(bar), against: &["nginx"] }
}

const fn http2(path: &'static str, connections: u32, streams: u32, bar: f64) -> Measure {
    let load = Load { style: Style::Http2(streams), connections, ..Load::get(path) };
    Measure::Cpu { load, bar: Bar::Ratio(bar), against: &["nginx"] }
}

const fn http3(path: &'static str, connections: u32, streams: u32, bar: f64) -> Measure {
    let load = Load { style: Style::Http3(streams), connections, ..Load::get(path) };
    Measure::Cpu { load, bar: Bar::Ratio(bar), against: &["caddy"] }
}

const fn websocket(at_once: u32) -> Measure {
    let load = Load { style: Style::WebSocket(at_once), ..Load::get("/echo") };
    Measure::Cpu { load, bar: Bar::Ratio(1.2), against: &["tungstenite", "gws"] }
}

const fn rpcx(connections: u32, callers: u32) -> Measure {
    let load = Load { style: Style::Rpcx(callers), connections, ..Load::get("") };
    Measure::Cpu { load, bar: Bar::Ratio(2.5), against: &["rpcx"] }
}

const fn hrpc(connections: u32, callers: u32) -> Measure {
    let load = Load { style: Style::Hrpc(callers), connections, ..Load::get("") };
    Measure::Cpu { load, bar: Bar::Ratio(2.5), against: &["rpcx"] }
}

const fn grpc(connections: u32, callers: u32) -> Measure {
    let style = Style::Grpc(callers / connections);
    let load = Load { style, connections, ..Load::get("/bench.Bench/Say") };
    Measure::Cpu { load, bar: Bar::Ratio(1.5), against: &["tonic", "grpc-go"] }
}

const fn proxy(load: Load, bar: f64) -> Measure {
    Measure::Cpu { load, bar: Bar::Ratio(bar), against: &["nginx", "haproxy"] }
}

const fn gzip(path: &'static str, bar: f64) -> Measure {
    let load = Load { field: Some("Accept-Encoding: gzip"), ..Load::get(path) };
    Measure::Cpu { load, bar: Bar::Ratio(bar), against: &["nginx"] }
}

impl Row {
    pub(super) fn named(name: &str) -> Result<&'static Self> {
        let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        let row = ROWS.iter().find(|row| row.name == name);
        Ok(row.ok_or_else(|| format!("no row {name}; there are {}", names()))?)
    }
}
