//! `cargo xtask flood`: clients that mean harm, one kind after the other, each beside one that behaves well, whose
//! waiting is measured; and the server's memory before, at its worst, and after.
#![expect(clippy::disallowed_methods, reason = "what clients wait is real time")]

mod frames;
mod quic;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hemi_test::process::resident_bytes;
use hemi_test::raw::Client;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{Program, TempDir, free_port, poll};

use crate::Result;
use crate::cargo::{pinned, release};
use frames::FLOODS;

/// Connections of the flood at once.
const ATTACKERS: usize = 4;

/// The good client asks so often.
const EVERY: Duration = Duration::from_millis(2);

/// How long the server has to give back what it took.
const SETTLE: Duration = Duration::from_secs(3);

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
    println!(
        "| flood | sent/s | connections ended | asked beside | p50 µs | p99 µs | failed | MiB before / worst / after |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|---|");
    let served = Served::start(&binary)?;
    served.row("none", within, |_, _| ())?;
    for flood in FLOODS {
        served.row(flood.name, within, |served, tally| flood.run(served.plain, tally))?;
    }
    served.row("QUIC: half-open handshakes", within, |served, tally| {
        quic::half_open(served.tls, tally);
    })
}

/// A server that is told nothing of what awaits it.
struct Served {
    plain: SocketAddr,
    tls: SocketAddr,
    program: Program,
    _ca: Authority,
    _dir: TempDir,
}

/// What the attackers have done.
#[derive(Default)]
struct Tally {
    over: AtomicBool,
    sent: AtomicU64,
    ended: AtomicU64,
}

impl Tally {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn add(&self, sent: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
    }
}

impl Served {
    fn start(binary: &Path) -> Result<Self> {
        let (ca, dir) = (Authority::new("ca"), TempDir::new()?);
        let identity = ca.server(&["localhost"], KeyKind::Ecdsa);
        let [plain, tls] =
            [free_port()?, free_port()?].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let config = dir.write(
            "gorox.conf",
            format!(
                r#"stage {{
    webapp "w" {{
        .hostnames = ("*")  {}
        rule {{ .returnCode = 200  .returnText = "x" }}
    }}
    httpxServer "plain" {{ .address = "{plain}"  .webapps = ("w")  .h2cPriorKnowledge = true  .maxRequestsPerConn = 100000000 }}
    httpxServer "tls" {{ .address = "{tls}"  .webapps = ("w")  .tlsMode = true  .http3 = true }}
}}"#,
                identity.properties()
            ),
        )?;
        let mut command = pinned("0");
        command.arg(binary).args(["serve", "--single", "--config"]).arg(config);
        let program = Program::start(command, plain)?;
        Ok(Self { plain, tls, program, _ca: ca, _dir: dir })
    }

    fn row(&self, name: &str, within: Duration, attack: impl Fn(&Self, &Tally) + Sync) -> Result {
        let tally = Tally::default();
        let memory = || resident_bytes(&self.program.pids()) >> 20;
        let before = memory();
        let (mut waited, mut failed, mut worst) = (Vec::new(), 0_u32, before);
        let began = Instant::now();
        thread::scope(|scope| -> Result {
            for _ in 0..ATTACKERS {
                scope.spawn(|| attack(self, &tally));
            }
            let mut client = Client::connect(self.plain)?;
            while began.elapsed() < within {
                let asked = Instant::now();
                match ask(&mut client) {
                    Ok(()) => waited.push(asked.elapsed()),
                    Err(_) => {
                        failed += 1;
                        client = Client::connect(self.plain)?;
                    }
                }
                if waited.len() % 25 == 0 {
                    worst = worst.max(memory());
                }
                thread::sleep(EVERY);
            }
            tally.over.store(true, Ordering::Relaxed);
            Ok(())
        })?;
        let mut after = u64::MAX;
        poll(SETTLE, || {
            after = after.min(memory());
            None::<()>
        });
        waited.sort_unstable();
        let at = |percent: usize| {
            waited.get(waited.len() * percent / 100).map_or(0, |waited| waited.as_micros())
        };
        let (sent, ended) = (tally.sent.into_inner(), tally.ended.into_inner());
        println!(
            "| {name} | {} | {ended} | {} | {} | {} | {failed} | {before} / {worst} / {after} |",
            sent / within.as_secs().max(1),
            waited.len(),
            at(50),
            at(99)
        );
        Ok(())
    }
}

/// What the client asks that behaves well.
fn ask(client: &mut Client) -> Result {
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
    match client.read_response()?.status {
        200 => Ok(()),
        status => Err(format!("answered {status}").into()),
    }
}

/// Opens connections, says `hello` on each, and sends what `next` makes until the server has enough; what it says is
/// read, and dropped.
fn flood(addr: SocketAddr, hello: &[u8], next: impl Fn(u32, &mut Vec<u8>), tally: &Tally) {
    /// Rounds that are sent in one go.
    const BATCH: u32 = 64;
    while !tally.is_over() {
        let Ok(mut stream) = TcpStream::connect(addr) else { continue };
        let Ok(mut reader) = stream.try_clone() else { continue };
        let reading = thread::spawn(move || {
            let mut buf = [0; 16 << 10];
            while matches!(reader.read(&mut buf), Ok(1..)) {}
        });
        let mut batch = hello.to_vec();
        for round in 0.. {
            next(round, &mut batch);
            if round % BATCH < BATCH - 1 {
                continue;
            }
            match stream.write_all(&batch) {
                Ok(()) => tally.add(BATCH.into()),
                Err(e) => {
                    let reset =
                        matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
                    tally.ended.fetch_add(reset.into(), Ordering::Relaxed);
                    break;
                }
            }
            batch.clear();
            if tally.is_over() {
                break;
            }
        }
        // The server may have closed it already.
        let _ = stream.shutdown(Shutdown::Both);
        let _ = reading.join();
    }
}
