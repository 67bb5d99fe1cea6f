//! `cargo xtask overload`: what is answered in time of requests for a node that are 2.5 times as many as it can work
//! on, passed on by a proxy that is told nothing about it, and passed on as they come.
#![expect(clippy::disallowed_methods, reason = "clients and the node's work go by real time")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hemi_test::Program;
use hemi_test::raw::Client;

use crate::Result;
use crate::cargo::release;

/// Requests that the node works on at once, and what each takes.
const WORKERS: usize = 8;
const TAKES: Duration = Duration::from_millis(20);

/// Clients, each with a connection: enough for some to be there whenever the next request is due.
const CLIENTS: u32 = 600;

/// An answer that comes later is of no use.
const IN_TIME: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &[String]) -> Result {
    let (mut seconds, mut binary) = (10, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--seconds" => seconds = value()?.parse()?,
            "--binary" => binary = Some(PathBuf::from(value()?)),
            other => return Err(format!("unexpected argument {other:?}").into()),
        }
    }
    let binary = binary.map_or_else(release, Ok)?;
    let within = Duration::from_secs(seconds);
    let node = node()?;
    // As many clients as the node has hands, twice.
    let capacity = saturate(node, 2 * WORKERS, within / 2)?;
    println!("The node answers {capacity:.0} requests a second.\n");
    println!(
        "| proxy | asked/s | answered in time/s | of what it can | refused/s | late/s | p50 ms | p99 ms |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    for (name, properties) in [
        ("adaptive, as it is by itself", ""),
        ("with neither that nor a bound", ".adaptive = false  .maxPending = 100000"),
    ] {
        let proxy = proxy(&binary, node, properties)?;
        for factor in [0.5, 2.5, 0.5] {
            let rate = capacity * factor;
            let seen = offer(proxy.addr(), rate, within);
            println!("| {name} | {rate:.0} {}", seen.row(capacity, within));
        }
    }
    Ok(())
}

/// Passes all on to the node.
fn proxy(binary: &Path, node: SocketAddr, properties: &str) -> Result<Program> {
    let config = format!(
        r#"stage {{
            http1Backend "b" {{ {properties}  node {{ .address = "{node}" }} }}
            webapp "w" {{ .hostnames = ("*")  rule {{ httpProxy {{ .toBackend = "b" }} }} }}
            httpxServer "s" {{ .address = "127.0.0.1:@PORT@"  .webapps = ("w") }}
        }}"#
    );
    Ok(Program::serve(binary, &config)?)
}

/// A server that works on so many requests at once, while others wait. It serves until the process ends.
fn node() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let free = Arc::new((Mutex::new(WORKERS), Condvar::new()));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let free = free.clone();
            thread::spawn(move || {
                let (count, changed) = &*free;
                let lock = || count.lock().unwrap_or_else(PoisonError::into_inner);
                let mut request = [0; 4096];
                // Requests of this command come in one piece.
                while stream.read(&mut request).is_ok_and(|read| read > 0) {
                    let mut left = lock();
                    while *left == 0 {
                        left = changed.wait(left).unwrap_or_else(PoisonError::into_inner);
                    }
                    *left -= 1;
                    drop(left);
                    thread::sleep(TAKES);
                    *lock() += 1;
                    changed.notify_one();
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                }
            });
        }
    });
    Ok(addr)
}

/// Answers in a second when clients ask one request after the other.
fn saturate(addr: SocketAddr, clients: usize, within: Duration) -> Result<f64> {
    let until = Instant::now() + within;
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            thread::spawn(move || {
                let (mut client, mut answers) = (Client::connect(addr)?, 0_u32);
                while Instant::now() < until {
                    ask(&mut client)?;
                    answers += 1;
                }
                std::io::Result::Ok(answers)
            })
        })
        .collect();
    let mut answers = 0;
    for thread in threads {
        answers += thread.join().map_err(|_| "a client panicked")??;
    }
    Ok(f64::from(answers) / within.as_secs_f64())
}

fn ask(client: &mut Client) -> std::io::Result<u16> {
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    Ok(client.read_response()?.status)
}

/// What clients have seen.
#[derive(Default)]
struct Seen {
    /// How long answers took that came in time.
    good: Vec<Duration>,
    refused: u32,
    late: u32,
}

/// Sends requests at this rate, whether they are answered or not.
fn offer(addr: SocketAddr, rate: f64, within: Duration) -> Seen {
    let (began, all) = (Instant::now() + Duration::from_millis(200), Mutex::<Seen>::default());
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let all = &all;
            let client = move || {
                let (mut seen, mut client) = (Seen::default(), None);
                for turn in 0.. {
                    let due = Duration::from_secs_f64(f64::from(number + turn * CLIENTS) / rate);
                    if due >= within {
                        break;
                    }
                    let due = began + due;
                    let wait = due.saturating_duration_since(Instant::now());
                    // One that is held up for long has let some requests go by: they count as late.
                    if wait.is_zero() && due.elapsed() > IN_TIME {
                        seen.late += 1;
                        continue;
                    }
                    thread::sleep(wait);
                    let open = match &mut client {
                        Some(open) => open,
                        None => match Client::connect(addr) {
                            Ok(open) => client.insert(open.with_timeout(4 * IN_TIME)),
                            Err(_) => {
                                seen.late += 1;
                                continue;
                            }
                        },
                    };
                    match (ask(open), due.elapsed()) {
                        (Ok(200), took) if took <= IN_TIME => seen.good.push(took),
                        (Ok(503), _) => seen.refused += 1,
                        (answer, _) => {
                            seen.late += 1;
                            if answer.is_err() {
                                client = None;
                            }
                        }
                    }
                }
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.good.extend(seen.good);
                all.refused += seen.refused;
                all.late += seen.late;
            };
            let small = thread::Builder::new().stack_size(128 << 10);
            // With fewer clients fewer requests are sent, which is seen.
            let _ = small.spawn_scoped(scope, client);
        }
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    fn row(mut self, capacity: f64, within: Duration) -> String {
        self.good.sort_unstable();
        let seconds = within.as_secs_f64();
        let good = self.good.len() as f64 / seconds;
        let at = |part: f64| {
            let index = (self.good.len() as f64 * part) as usize;
            self.good.get(index).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        let (refused, late) = (f64::from(self.refused) / seconds, f64::from(self.late) / seconds);
        format!(
            "| {good:.0} | {:.0} % | {refused:.0} | {late:.0} | {:.0} | {:.0} |",
            good / capacity * 100.0,
            at(0.5),
            at(0.99)
        )
    }
}
