//! Changes a server under load, many times: reloads, reworks, upgrades and crashes. Nobody may be let down.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hemi_test::process::resident_bytes;
use hemi_test::raw::Client;
use hemi_test::{Clients, Load, Program, TempDir, eventually, free_port};

use crate::Result;
use crate::cargo::release;

/// Bytes of the slow download, and how long it takes.
const DOWNLOAD: (usize, Duration) = (32 << 20, Duration::from_secs(30));

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often each change is made.
const CHANGES: [(&str, usize); 3] = [("reload", 100), ("rework", 20), ("upgrade", 3)];

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
        command.args(["serve", "--grace", "60"]);
        let program = Program::start(command, addr)?;
        let served = Self { binary: binary.to_owned(), dir, addr, _program: program };
        match eventually(PATIENCE, || served.act("pids").is_ok()) {
            true => Ok(served),
            false => Err("it can't be asked".into()),
        }
    }

    /// Makes a change so many times, each with a slow download that begins before it.
    fn under_load(&self, change: &str, times: usize) -> Result {
        let load = Load::start(self.addr, Clients { keep_alive: 64, once: 8 });
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
        let seen = load.finish()?;
        println!(
            "{times} times {change}: {} answers, {} failed, {} connections ended with notice, \
             {whole} of {times} slow downloads whole",
            seen.answers, seen.failed, seen.closed
        );
        match seen.failed == 0 && whole == times {
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

    /// Reloads without any load, and tells the memory before and after.
    fn grow(&self, times: usize) -> Result {
        let memory = || -> Result<String> {
            let text = self.ask("pids")?;
            let pids = text.lines().filter_map(|line| line.split_once(' '));
            Ok(pids
                .map(|(role, pid)| {
                    let kib = pid.parse().map_or(0, |pid| resident_bytes(&[pid])) >> 10;
                    format!("{role} {kib} KiB  ")
                })
                .collect())
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
