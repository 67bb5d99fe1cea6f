//! Changes a server under load, many times: reloads, reworks, upgrades. Nobody may be let down. Then its worker
//! is killed: what was under way is lost, and nobody is refused.

mod wrk;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hemi_test::process::{CpuTime, resident_bytes};
use hemi_test::raw::Client;
use hemi_test::{Clients, Load, Program, TempDir, eventually, free_port};

use crate::Result;
use crate::cargo::release;

use wrk::Wrk;

/// Bytes of the slow download, and how long it takes.
const DOWNLOAD: (usize, Duration) = (32 << 20, Duration::from_secs(30));

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often each change is made.
const CHANGES: [(&str, usize); 3] = [("reload", 100), ("rework", 20), ("upgrade", 3)];

/// Workers that are killed when they have served for a while; twice as many are killed in a row.
const CRASHES: usize = 5;

/// A worker that has lived so long is replaced at once.
const SETTLED: Duration = Duration::from_secs(11);

/// How long it is looked at while nothing is asked.
const IDLE: Duration = Duration::from_secs(30);

/// Connections that are kept.
const KEPT: usize = 64;

/// Reloads between two looks at the memory.
const QUIET_RELOADS: usize = 1000;

pub(crate) fn run(args: &[String]) -> Result {
    let (mut quick, mut binary) = (false, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => quick = true,
            "--binary" => binary = Some(PathBuf::from(args.next().ok_or("--binary needs a FILE")?)),
            other => return Err(format!("unexpected argument {other:?}").into()),
        }
    }
    let binary = &binary.map_or_else(release, Ok)?;
    let served = Served::start(binary)?;
    for (change, times) in CHANGES {
        served.under_load(change, if quick { times.div_ceil(10) } else { times })?;
    }
    served.crash(if quick { 1 } else { CRASHES })?;
    served.idle()?;
    served.grow(if quick { QUIET_RELOADS / 10 } else { QUIET_RELOADS })?;
    served.act("quit")
}

struct Served {
    binary: PathBuf,
    dir: TempDir,
    addr: SocketAddr,
    _program: Program,
}

impl Served {
    fn start(binary: &Path) -> Result<Self> {
        let (dir, port) = (TempDir::new()?, free_port()?);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        File::create(dir.path().join("large"))?.set_len(DOWNLOAD.0 as u64)?;
        let root = dir.path().display();
        dir.write(
            "gorox.conf",
            format!(
                r#"stage {{
    webapp "w" {{
        .hostnames = ("*")  .webRoot = "{root}"
        rule $path == "/" {{ .returnCode = 200  .returnText = "x" }}
        rule {{ static {{}} }}
    }}
    httpxServer "s" {{ .address = "{addr}"  .webapps = ("w") }}
}}"#
            ),
        )?;
        let mut command = command(binary, dir.path());
        // Longer than downloads take on a machine that is busy with their clients.
        command.args(["serve", "--grace", "300"]);
        let program = Program::start(command, addr)?;
        let served = Self { binary: binary.to_owned(), dir, addr, _program: program };
        match eventually(PATIENCE, || served.act("pids").is_ok()) {
            true => Ok(served),
            false => Err("it can't be asked".into()),
        }
    }

    /// Makes a change so many times, each with a slow download that begins before it.
    fn under_load(&self, change: &str, times: usize) -> Result {
        let wrk = Wrk::start(self.addr, KEPT)?;
        let load = Load::start(self.addr, Clients { keep_alive: 8, once: 8 });
        let mut downloads = Vec::new();
        for _ in 0..times {
            downloads.push(self.download()?);
            // An upgrade waits for what drains.
            let mut refused = String::new();
            let done = eventually(PATIENCE, || match self.act(change) {
                Ok(()) => true,
                Err(e) => {
                    refused = e.to_string();
                    false
                }
            });
            if !done {
                return Err(format!("{change}: {refused}").into());
            }
        }
        let mut whole = 0;
        for download in downloads {
            let got = download.join().map_err(|_| "a download panicked")??;
            whole += usize::from(got == DOWNLOAD.0);
        }
        let (seen, done) = (load.finish()?, wrk.finish()?);
        println!(
            "{times} times {change}: wrk {} answers, {} errors; others {} answers, {} failed, none refused, \
             {} connections ended with notice; {whole} of {times} slow downloads whole",
            done.answers, done.errors, seen.answers, seen.failed, seen.closed
        );
        match seen.failed == 0 && done.errors == 0 && whole == times {
            true => Ok(()),
            false => Err(format!("{change} has let clients down").into()),
        }
    }

    /// Begins a download that takes its time.
    fn download(&self) -> Result<JoinHandle<std::io::Result<usize>>> {
        const PIECES: u32 = 60;
        let mut client = Client::connect(self.addr)?.with_timeout(PATIENCE);
        client.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n")?;
        let head = client.read_response_to_head()?;
        assert_eq!(head.status, 200);
        Ok(thread::spawn(move || {
            let piece = DOWNLOAD.0 / PIECES as usize;
            let mut got = 0;
            while got < DOWNLOAD.0 {
                got += client.read_exact(piece.min(DOWNLOAD.0 - got))?.len();
                thread::park_timeout(DOWNLOAD.1 / PIECES);
            }
            Ok(got)
        }))
    }

    /// Kills the worker again and again under load, and tells how long it takes until somebody who comes then
    /// is answered.
    fn crash(&self, times: usize) -> Result {
        let load = Load::start(self.addr, Clients { keep_alive: KEPT, once: 8 });
        let mut waits = Vec::new();
        for _ in 0..times {
            thread::park_timeout(SETTLED);
            waits.push(self.kill_worker()?);
        }
        println!("until the first new answer, a worker that had served for a while: {waits:?}");
        let settled = load.seen();
        let mut waits = Vec::new();
        for _ in 0..2 * times {
            waits.push(self.kill_worker()?);
        }
        println!("until the first new answer, several in a row: {waits:?}");
        let seen = load.finish()?;
        println!(
            "killed {} times: {} answers, none refused, {} requests under way lost, {} of them by the first {times}",
            3 * times,
            seen.answers,
            seen.failed,
            settled.failed
        );
        match seen.failed <= (3 * times * (KEPT + 8)) as u64 {
            true => Ok(()),
            false => Err("more was lost than was under way".into()),
        }
    }

    /// Kills the worker, and waits for the next.
    #[expect(clippy::disallowed_methods, reason = "this measures, and has no coarse clock")]
    fn kill_worker(&self) -> Result<Duration> {
        let worker = || {
            let pids = self.ask("pids").ok()?;
            pids.lines().find_map(|line| line.strip_prefix("worker ")?.parse::<i32>().ok())
        };
        let before = worker().ok_or("no worker serves")?;
        let pid = rustix::process::Pid::from_raw(before).ok_or("no worker serves")?;
        let start = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        let answered = || {
            let ask = || {
                let mut client = Client::connect(self.addr)?.with_timeout(PATIENCE);
                client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
                client.read_response()
            };
            // The one that dies may have taken the connection.
            ask().is_ok_and(|reply| reply.status == 200)
        };
        while !answered() {}
        let waited = start.elapsed();
        match eventually(PATIENCE, || worker().is_some_and(|worker| worker != before)) {
            true => Ok(waited),
            false => Err("no other worker came".into()),
        }
    }

    /// Looks at what both processes use while nothing is asked.
    fn idle(&self) -> Result {
        for (role, pid) in self.pids()? {
            let before = CpuTime::of(&[pid]);
            thread::park_timeout(IDLE);
            let used = CpuTime::of(&[pid]).since(before);
            let status = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let field =
                |name| status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            println!(
                "idle {role}: {used:?} of CPU in {IDLE:?}; {} KiB resident; {}; {}",
                resident_bytes(&[pid]) >> 10,
                field("Pss:"),
                field("Private_Dirty:")
            );
        }
        Ok(())
    }

    /// Who they are, and their ids.
    fn pids(&self) -> Result<Vec<(String, u32)>> {
        let text = self.ask("pids")?;
        let pids = text.lines().filter_map(|line| line.split_once(' '));
        Ok(pids.filter_map(|(role, pid)| Some((role.to_owned(), pid.parse().ok()?))).collect())
    }

    /// Reloads without any load, and tells the memory before and after.
    fn grow(&self, times: usize) -> Result {
        let memory = || -> Result<String> {
            let pids = self.pids()?.into_iter();
            let text = |(role, pid)| format!("{role} {} KiB  ", resident_bytes(&[pid]) >> 10);
            Ok(pids.map(text).collect())
        };
        for _ in 0..times / 10 {
            self.act("reload")?;
        }
        println!("memory after {} reloads: {}", times / 10, memory()?);
        for _ in 0..times {
            self.act("reload")?;
        }
        println!("memory after {times} more: {}", memory()?);
        Ok(())
    }

    fn act(&self, action: &str) -> Result {
        self.ask(action).map(drop)
    }

    fn ask(&self, action: &str) -> Result<String> {
        let output = command(&self.binary, self.dir.path()).arg(action).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(String::from_utf8_lossy(&output.stderr).into()),
        }
    }
}

impl Drop for Served {
    /// Ends what no `Program` knows of, for an upgrade has started it.
    fn drop(&mut self) {
        let _ = self.act("stop");
        let _ = eventually(PATIENCE, || self.act("pids").is_err());
    }
}

fn command(binary: &Path, dir: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("--config").arg(dir.join("gorox.conf")).arg("--var-dir").arg(dir.join("var"));
    command
}
