//! Load from wrk, which prints what it did through `bench/wrk.lua`, or from clients of ours.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use hemi_test::TempDir;

use super::CLIENT_CORE;
use super::rows::{Content, Load, Over, Style};
use super::servers::{RELAY_CLIENT, Running, package_binary};
use crate::Result;
use crate::cargo::{command, pinned, stdout_of};

/// What wrk did and saw.
#[derive(Debug, PartialEq)]
pub(super) struct Done {
    pub(super) requests: u64,
    /// Failed connections, reads and writes, timeouts, and answers other than 2xx or 3xx.
    pub(super) errors: u64,
    pub(super) microseconds: u64,
    /// Half of the answers came within this time.
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

/// Puts a server under this load.
pub(super) fn run(server: &Running, load: &Load, seconds: u32) -> Result<Done> {
    let addr = server.addr();
    match load.style {
        Style::Datagrams(at_once) => return run_datagrams(addr, load, at_once, seconds),
        Style::ByProxy => return run_by_proxy(server, load, seconds),
        Style::WebSocket(at_once) => return run_websocket(addr, load, at_once, seconds),
        Style::Http2(streams) => return run_http2(addr, load, streams, None, seconds),
        Style::Grpc(streams) => return run_grpc(addr, load, streams, seconds),
        Style::Http3(streams) => return run_http3(addr, load, streams, seconds),
        Style::Rpcx(callers) => return run_rpc(addr, load, "load", callers, seconds),
        Style::Hrpc(callers) => return run_rpc(addr, load, "load-hrpc", callers, seconds),
        _ => {}
    }
    let mut wrk = pinned(CLIENT_CORE);
    wrk.args(["wrk", "--threads=1", "--script=bench/wrk.lua"]);
    wrk.arg(format!("--connections={}", load.connections)).arg(format!("--duration={seconds}s"));
    let depth = match load.style {
        Style::Pipelined(depth) => depth,
        Style::OneEach => {
            wrk.arg("--header=Connection: close");
            1
        }
        _ => 1,
    };
    if let Some(field) = load.field {
        wrk.arg(format!("--header={field}"));
    }
    let scheme = match load.over {
        Over::Tcp => "http",
        Over::Tls | Over::TlsHttp2 => "https",
    };
    wrk.arg(format!("{scheme}://{addr}{}", load.path)).arg("--").arg(depth.to_string());
    if let Some(Content::Multipart(bytes)) = load.content {
        wrk.arg(bytes.to_string());
    }
    stdout_of(&mut wrk)?.parse()
}

/// Load from `bench-websocket`, which takes its messages for requests.
fn run_websocket(addr: SocketAddr, load: &Load, at_once: u32, seconds: u32) -> Result<Done> {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    let client = client(&CLIENT, "bench-websocket")?;
    let mut command = pinned(CLIENT_CORE);
    command.arg(client).arg(addr.to_string()).arg(load.path);
    command.args([load.connections, at_once, seconds].map(|number| number.to_string()));
    stdout_of(&mut command)?.parse()
}

/// Load from `bench-relay`, by datagrams, which it takes for requests when they are back.
fn run_datagrams(addr: SocketAddr, load: &Load, at_once: u32, seconds: u32) -> Result<Done> {
    let numbers = [load.connections, at_once, seconds].map(|number| number.to_string());
    run_relay(["udp".to_owned(), addr.to_string()].into_iter().chain(numbers))
}

/// The same that asks the origin by way of a proxy.
fn run_by_proxy(server: &Running, load: &Load, seconds: u32) -> Result<Done> {
    let origin = server.origin().ok_or("the row is about what is passed on")?;
    let words = [server.way(), &server.addr().to_string(), &origin.to_string(), load.path];
    let numbers = [load.connections, seconds].map(|number| number.to_string());
    run_relay(words.map(str::to_owned).into_iter().chain(numbers))
}

fn run_relay(arguments: impl Iterator<Item = String>) -> Result<Done> {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    let client = client(&CLIENT, RELAY_CLIENT)?;
    stdout_of(pinned(CLIENT_CORE).arg(client).args(arguments))?.parse()
}

/// Load from h2load, which writes a line for each answer.
fn run_http2(
    addr: SocketAddr,
    load: &Load,
    streams: u32,
    call: Option<&Path>,
    seconds: u32,
) -> Result<Done> {
    let mut h2load = pinned(CLIENT_CORE);
    h2load.args(["h2load", "--threads=1", "--log-file=/dev/stdout"]);
    h2load.arg(format!("--clients={}", load.connections)).arg(format!("--duration={seconds}s"));
    h2load.arg(format!("--max-concurrent-streams={streams}"));
    if let Some(call) = call {
        h2load.arg("--data").arg(call);
        h2load.args(["--header=content-type: application/grpc", "--header=te: trailers"]);
    }
    of_lines(&stdout_of(h2load.arg(format!("http://{addr}{}", load.path)))?, seconds)
}

/// Sums up what h2load says of each answer: when it was asked for, its status, and the microseconds it took,
/// between tabs. A stream that failed has no status.
fn of_lines(output: &str, seconds: u32) -> Result<Done> {
    let answers = output.lines().filter_map(|line| {
        let mut columns = line.split('\t').skip(1).map(str::parse::<i64>);
        Some((columns.next()?.ok()?, columns.next()?.ok()?))
    });
    let (mut latencies, mut errors) = (Vec::new(), 0);
    for (status, latency) in answers {
        if (200..400).contains(&status) {
            latencies.push(u64::try_from(latency)?);
        } else {
            errors += 1;
        }
    }
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0);
    let requests = latencies.len() as u64;
    let microseconds = u64::from(seconds) * 1_000_000;
    Ok(Done { requests, errors, microseconds, p50_us: at(50), p99_us: at(99) })
}

/// Load from `bench-h3load`.
fn run_http3(addr: SocketAddr, load: &Load, streams: u32, seconds: u32) -> Result<Done> {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    let client = client(&CLIENT, "bench-h3load")?;
    let mut command = pinned(CLIENT_CORE);
    // By the name that the certificates are for.
    command.arg(client).args([&addr.to_string(), "bench", load.path]);
    command.args([load.connections, streams, seconds].map(|number| number.to_string()));
    stdout_of(&mut command)?.parse()
}

/// Load from `bench-rpc`, which takes its calls for requests.
fn run_rpc(addr: SocketAddr, load: &Load, what: &str, callers: u32, seconds: u32) -> Result<Done> {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    let client = client(&CLIENT, "bench-rpc")?;
    let mut command = pinned(CLIENT_CORE);
    command.arg(client).args([what, &addr.to_string()]);
    command.args([load.connections, callers, seconds].map(|number| number.to_string()));
    stdout_of(&mut command)?.parse()
}

/// The same with calls of gRPC, whose message `bench-rpc` writes.
fn run_grpc(addr: SocketAddr, load: &Load, streams: u32, seconds: u32) -> Result<Done> {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    let client = client(&CLIENT, "bench-rpc")?;
    let directory = TempDir::new()?;
    let call = directory.path().join("call");
    stdout_of(command(client).arg("write").arg(&call))?;
    run_http2(addr, load, streams, Some(&call), seconds)
}

/// A client of ours, built when it is first asked for.
fn client<'a>(built: &'a OnceLock<PathBuf>, package: &str) -> Result<&'a PathBuf> {
    match built.get() {
        Some(client) => Ok(client),
        None => {
            let binary = package_binary(package)?;
            Ok(built.get_or_init(|| binary))
        }
    }
}

impl Done {
    pub(super) fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.microseconds.max(1) as f64
    }
}

impl FromStr for Done {
    type Err = Box<dyn std::error::Error>;

    /// Reads the last line of wrk's output.
    fn from_str(output: &str) -> Result<Self> {
        let line = output.lines().last().unwrap_or_default();
        let field = |name: &str| -> Result<u64> {
            let mut words = line.split(' ').filter_map(|word| word.split_once('='));
            let (_, value) = words
                .find(|(key, _)| *key == name)
                .ok_or_else(|| format!("wrk told no {name}: {output}"))?;
            Ok(value.parse()?)
        };
        Ok(Self {
            requests: field("requests")?,
            errors: field("errors")?,
            microseconds: field("microseconds")?,
            p50_us: field("p50")?,
            p99_us: field("p99")?,
        })
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p99_us, errors, .. } = self;
        write!(f, "{:9.0} requests/s  p50 {p50_us} µs  p99 {p99_us} µs", self.per_second())?;
        if *errors > 0 {
            write!(f, "  {errors} ERRORS")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_summed_up() {
        let text = "starting benchmark...\n1\t200\t30\n2\t200\t10\n3\t-1\t5\n4\t404\t5\nfinished\n";
        let done = of_lines(text, 2).unwrap();
        assert_eq!((done.requests, done.errors, done.p50_us, done.p99_us), (2, 2, 30, 30));
        assert_eq!(done.microseconds, 2_000_000);
    }

    #[test]
    fn the_last_line_is_read() {
        let text = "Running 1s test\nrequests=10 errors=2 microseconds=500000 p50=7 p99=9\n";
        let done: Done = text.parse().unwrap();
        assert_eq!(
            done,
            Done { requests: 10, errors: 2, microseconds: 500_000, p50_us: 7, p99_us: 9 }
        );
        assert!((done.per_second() - 20.0).abs() < 1e-9);
        assert!("requests=10 errors=2".parse::<Done>().is_err());
        assert!("".parse::<Done>().is_err());
    }
}
